import groovy.json.JsonOutput

/** One build: what it was given, what it does, and how it ends. */
class Build {
    static final List<String> RESULTS = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'NOT_BUILT', 'ABORTED']

    final Map config
    final File folder
    final Map<String, Map<String, String>> credentials
    final Map<String, String> environment  // of the whole build: what `env.X = …` sets
    final Map<String, Object> parameters = [:]
    final List<Map> stages = [].asSynchronized()
    final List<Map> commands = [].asSynchronized()
    final List<Map> agents = [].asSynchronized()
    final List<Map> tests = [].asSynchronized()
    final List<Map> coverage = [].asSynchronized()
    int maskedLines = 0
    private final List<Agent> pool = []
    private final Set<String> secrets = new HashSet<>()
    private final PrintStream log
    private String result = 'SUCCESS'

    Build(Map config, Map credentials) {
        this.config = config
        this.credentials = credentials
        folder = new File(config.folder as String)
        log = new PrintStream(new FileOutputStream(new File(folder, 'log')), true, 'UTF-8')
        environment = [
            JENKINS_URL: 'http://jenkins.invalid/',
            JOB_NAME: config.job,
            BUILD_NUMBER: config.number as String,
            BUILD_TAG: "jenkins-${config.job.replace('/', '-')}-${config.number}".toString(),
        ] + (config.environment ?: [:])
    }

    synchronized String getResult() { result }

    /** A result only ever gets worse. */
    synchronized void worsen(String to) {
        if (!(to in RESULTS)) {
            throw new Abort("there is no result ${to}")
        }
        if (RESULTS.indexOf(to) > RESULTS.indexOf(result)) {
            result = to
        }
    }

    synchronized void say(String line) {
        def shown = secrets.inject(line) { text, secret -> text.replace(secret, '****') }
        maskedLines += shown == line ? 0 : 1
        log.println("[${Branch.current()?.name ?: ''}] ${shown}")
    }

    synchronized void hide(Collection<String> values) { secrets.addAll(values.findAll()) }

    /** Give an agent of the label: one that is free, or a new machine. */
    synchronized Agent take(String label) {
        if (!(label in config.labels)) {
            throw new Unknown("no agent has the label ${label}: this build would wait for ever")
        }
        def free = pool.find { it.name.startsWith("${label}~") && !it.busy && !it.lost }
        if (free) {
            free.busy = true
        } else {
            def name = "${label}~${pool.size() + 1}".toString()
            free = new Agent(name, new File(folder, "agents/${name}"), config.job as String)
            pool << free
        }
        agents << [name: free.name, branch: Branch.current().name]
        return free
    }

    /** Kill the agents in whose folders the paths lie that somebody wrote into files of the folder `kill`. */
    void watchForKills() {
        def orders = new File(folder, 'kill')
        orders.mkdirs()
        Thread.startDaemon {
            while (true) {
                orders.listFiles().findAll { it.name.endsWith('.now') }.each { order ->
                    def path = order.text.trim()
                    order.delete()
                    def agent = new ArrayList<>(pool).find { path.startsWith(it.home.path + '/') }
                    say("killing ${agent?.name}")
                    agent?.lose()
                }
                Thread.sleep(50)
            }
        }
    }

    void writeResult() {
        new File(folder, 'result.json').text = JsonOutput.toJson([
            result: result, stages: stages, commands: commands, agents: agents, tests: tests,
            coverage: coverage, environment: environment, masked_lines: maskedLines,
        ])
        log.close()
    }
}
