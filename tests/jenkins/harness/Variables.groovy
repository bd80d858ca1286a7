/** `env`: a branch's own variables, then the build's, then its parameters; setting one sets the build's. */
class Variables {
    private final Build build

    Variables(Build build) { this.build = build }

    Object getProperty(String name) {
        if (name == 'build') {
            return this.@build
        }
        def own = Branch.current().variables
        own.containsKey(name) ? own[name] : this.@build.environment[name] ?: this.@build.parameters[name]?.toString()
    }

    void setProperty(String name, Object value) {
        synchronized (this.@build) {
            this.@build.environment[name] = value?.toString()
        }
    }
}
