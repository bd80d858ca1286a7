/** A declarative pipeline: read its directives, refuse those that aren't known here, then go through its stages. */
class Pipeline {
    private final Build build
    private final Steps script
    private final List<Stage> stages = []

    Pipeline(Build build, Steps script) {
        this.build = build
        this.script = script
    }

    void run(Closure body) {
        def read = []
        Directives.read('pipeline', body, [
            agent: { kind -> read << (kind == 'none' ? 'agent' : unknown("agent ${kind}")) },
            options: { Closure options -> readOptions(options) },
            parameters: { Closure declared -> readParameters(declared) },
            stages: { Closure all -> readStages(all) },
        ])
        if (!read || !stages) {
            throw new Unknown('a pipeline needs an agent and stages')
        }
        Exception first = null
        boolean before = build.config.restart != null  // at which stage, of a build that was restarted
        stages.each { stage ->
            before = before && stage.name != build.config.restart
            if (before) {
                build.stages << [name: stage.name, status: 'SKIPPED']
            } else if (first) {
                build.say("Stage \"${stage.name}\" skipped due to earlier failure(s)")
                build.stages << [name: stage.name, status: 'SKIPPED']
            } else {
                first = stage.run(build, script)
            }
        }
    }

    private void readOptions(Closure options) {
        def anything = { Object... ignored -> }
        Directives.read('options', options, [
            timestamps: anything, skipDefaultCheckout: anything, disableConcurrentBuilds: anything,
            logRotator: anything, buildDiscarder: anything, timeout: anything,
        ])
    }

    private void readParameters(Closure declared) {
        def given = build.config.parameters ?: [:]
        def declare = { Map one ->
            build.parameters[one.name] = given.containsKey(one.name) ? given[one.name] : one.defaultValue
        }
        Directives.read('parameters', declared, [string: declare, booleanParam: declare])
        def unknown = given.keySet() - build.parameters.keySet()
        if (unknown) {
            throw new Unknown("the pipeline has no parameters ${unknown.join(', ')}")
        }
    }

    private void readStages(Closure all) {
        Directives.read('stages', all, [stage: { String name, Closure body ->
            if (name in stages*.name) {
                throw new Unknown("two stages are called ${name}")
            }
            stages << new Stage(name, body)
        }])
    }

    private static unknown(String what) { throw new Unknown("unknown here: ${what}") }
}
