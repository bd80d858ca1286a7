/** A machine: a folder with a workspace, in which commands run for real. It may be lost at any moment. */
class Agent {
    final String name
    final File home
    final File workspace
    volatile boolean busy = true
    volatile boolean lost = false
    private final List<Process> running = [].asSynchronized()

    Agent(String name, File home, String job) {
        this.name = name
        this.home = home
        this.workspace = new File(home, "workspace/${job}")
        workspace.mkdirs()
    }

    /** Kill all that it runs, as if the machine had gone. */
    void lose() {
        lost = true
        new ArrayList<>(running).each { signal('KILL', it) }
    }

    void check() {
        if (lost) {
            throw new AgentLost(name)
        }
    }

    /** Run a command in the workspace; `line` gets what it says. Return its exit status. */
    int run(List<String> command, Map<String, String> environment, Branch branch, Closure line) {
        check()
        def builder = new ProcessBuilder(['setsid'] + command).directory(workspace).redirectErrorStream(true)
        builder.environment().clear()
        builder.environment().putAll(environment)
        def process = builder.start()
        process.outputStream.close()
        running << process
        if (lost) {
            signal('KILL', process)
        }
        branch.waitsFor(process)
        try {
            process.inputStream.newReader('UTF-8').eachLine { line.call(it) }
            int status = process.waitFor()
            check()
            branch.check()
            return status
        } finally {
            running.remove(process)
            branch.waitsFor(null)
        }
    }

    /** Signal the whole process group. */
    static void signal(String name, Process process) {
        ['kill', "-${name}", '--', "-${process.pid()}"].execute().waitFor()
    }
}
