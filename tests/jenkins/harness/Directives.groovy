/** Reads one block of directives: each must be known, and most may stand there only once. */
class Directives {
    private static final List<String> REPEATED = ['stage', 'string', 'booleanParam', 'logRotator']

    private final String block
    private final Map<String, Closure> known
    private final Set<String> seen = []

    private Directives(String block, Map<String, Closure> known) {
        this.block = block
        this.known = known
    }

    static void read(String block, Closure body, Map<String, Closure> known) {
        body.delegate = new Directives(block, known)
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body.call()
    }

    def methodMissing(String name, Object arguments) {
        if (!known.containsKey(name)) {
            throw new Unknown("${block} has no directive ${name}")
        }
        if (!(name in REPEATED) && !seen.add(name)) {
            throw new Unknown("${block} has ${name} twice")
        }
        known[name].call(*(arguments as List))
    }

    def propertyMissing(String name) {
        if (name != 'none') {
            throw new Unknown("${block}: what is ${name}?")
        }
        return name
    }
}
