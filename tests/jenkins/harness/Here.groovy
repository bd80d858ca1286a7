/** What the steps stand on: the one build of this process, and where the calling branch is. */
class Here {
    static Build build

    static Branch step(boolean needsAgent = false) {
        def branch = Branch.current()
        branch.check()
        if (needsAgent) {
            if (!branch.agent) {
                throw new Abort('a step needs an agent and there is none')
            }
            branch.agent.check()
        }
        return branch
    }

    static void allow(String step, Map options, List<String> known) {
        def unknown = options.keySet() - known
        if (unknown) {
            throw new Unknown("${step} has no ${unknown.join(', ')}")
        }
    }

    static Map<String, String> variables(Branch branch) {
        def machine = (build.config.machine as Map) + [HOME: branch.agent.home.path]
        def given = build.parameters.collectEntries { [it.key, it.value.toString()] }
        machine + given + build.environment + branch.variables
    }

    static List<File> files(String path) {
        def workspace = step(true).agent.workspace
        if (path =~ /[*?\\]/) {
            throw new Unknown("patterns aren't known here: ${path}")
        }
        [new File(workspace, path)].findAll { it.file }
    }

    static xml(File file) {
        def parser = new XmlSlurper(false, false, true)
        parser.setFeature('http://apache.org/xml/features/nonvalidating/load-external-dtd', false)
        parser.parse(file)
    }
}
