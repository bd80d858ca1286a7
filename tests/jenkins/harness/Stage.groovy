/** A stage: its agent, its steps, and what comes after them in any case. */
class Stage {
    final String name
    private String label
    private Closure steps
    private Closure condition = { true }
    private final Map<String, Closure> post = [:]

    Stage(String name, Closure body) {
        this.name = name
        Directives.read("stage ${name}", body, [
            agent: { Closure agent -> Directives.read('agent', agent, [label: { String wanted -> label = wanted }]) },
            when: { Closure when ->
                Directives.read('when', when, [
                    beforeAgent: { boolean first -> first ?: unknown('an agent before the condition') },
                    expression: { Closure given -> condition = given },
                ])
            },
            steps: { Closure given -> steps = given },
            post: { Closure given ->
                Directives.read('post', given, ['always', 'success', 'unstable', 'failure', 'aborted', 'cleanup']
                    .collectEntries { kind -> [kind, { Closure then -> post[kind] = then }] })
            },
        ])
        if (!steps) {
            throw new Unknown("stage ${name} has no steps")
        }
    }

    private static unknown(String what) { throw new Unknown("unknown here: ${what}") }

    /** Run it; return what failed. */
    Exception run(Build build, Steps script) {
        build.say("Stage \"${name}\"")
        if (!bound(condition, script).call()) {
            build.stages << [name: name, status: 'SKIPPED']
            return null
        }
        def failure = null
        def all = { failure = runAll(build, script) }
        try {
            label ? script.node(label, all) : all.call()
        } catch (Exception lost) {
            failure = noted(build, lost)
        }
        build.stages << [name: name, status: failure ? failure.class.simpleName : 'DONE', result: build.result]
        return failure
    }

    private Exception runAll(Build build, Steps script) {
        def failure = attempt(build, bound(steps, script))
        def last = { failure instanceof Interrupted ? 'ABORTED' : failure ? 'FAILURE' : build.result }
        ['always', 'success', 'unstable', 'failure', 'aborted', 'cleanup'].each { kind ->
            if (post[kind] && (kind in ['always', 'cleanup'] || kind.toUpperCase() == last())) {
                failure = attempt(build, bound(post[kind], script)) ?: failure
            }
        }
        return failure
    }

    private static Exception attempt(Build build, Closure body) {
        try {
            body.call()
            return null
        } catch (Exception failure) {
            return noted(build, failure)
        }
    }

    private static Exception noted(Build build, Exception failure) {
        build.say("ERROR: ${failure.message}")
        build.worsen(failure instanceof Interrupted ? failure.result : 'FAILURE')
        return failure
    }

    /** Steps know the script alone: no directive works among them. */
    private static Closure bound(Closure body, Steps script) {
        body.delegate = script
        body.resolveStrategy = Closure.DELEGATE_ONLY
        return body
    }
}
