/** One line of execution: its name, its variables, its agent, and what interrupts it. */
class Branch {
    private static final ThreadLocal<Branch> CURRENT = new ThreadLocal<>()

    final String name
    Map<String, String> variables
    Agent agent
    private Process process
    private final List<Branch> children = [].asSynchronized()
    private Interrupted interruption

    Branch(String name, Branch parent = null) {
        this.name = name
        this.variables = parent ? new LinkedHashMap<>(parent.variables) : [:]
        this.agent = parent?.agent
        parent?.children?.add(this)
    }

    static Branch current() { CURRENT.get() }

    def run(Closure body) {
        CURRENT.set(this)
        body.call()
    }

    /** Run a body with more variables. */
    def with(Map<String, String> more, Closure body) {
        def before = variables
        variables = before + more
        try {
            return body.call()
        } finally {
            variables = before
        }
    }

    /** Stop what runs in it and in its children; their next step throws. */
    synchronized void interrupt(Interrupted why) {
        interruption = why
        if (process?.alive) {
            Agent.signal('TERM', process)
        }
        new ArrayList<>(children).each { it.interrupt(why) }
    }

    /** Know the command that it waits for, to end it; one that starts too late ends at once. */
    synchronized void waitsFor(Process started) {
        process = started
        if (interruption && process) {
            Agent.signal('TERM', process)
        }
    }

    /** Throw, once, what interrupted it. */
    synchronized void check() {
        if (interruption) {
            def why = interruption
            interruption = null
            throw why
        }
    }
}
