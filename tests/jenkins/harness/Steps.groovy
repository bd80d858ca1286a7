import java.util.concurrent.TimeUnit

/** The steps that a Jenkinsfile may use here; anything else fails. The file itself is compiled upon this class. */
abstract class Steps extends Script {
    // What a Jenkinsfile reads

    Object getProperty(String name) {
        switch (name) {
            case 'env': return new Variables(Here.build)
            case 'params': return Collections.unmodifiableMap(Here.build.parameters)
            case 'scm': return Scm.ofJob(Here.build.config.scm as Map)
            case 'currentBuild': return new CurrentBuild(Here.build)
            default: throw new Unknown("no such property: ${name}")
        }
    }

    def methodMissing(String name, Object arguments) {
        throw new Unknown("no such DSL method: ${name}(${arguments*.getClass()*.simpleName.join(', ')})")
    }

    void pipeline(Closure body) { new Pipeline(Here.build, this).run(body) }

    // Agents

    def node(String label, Closure body) {
        def branch = Here.step()
        def agent = Here.build.take(label)
        def before = branch.agent
        branch.agent = agent
        try {
            return branch.with([NODE_NAME: agent.name, WORKSPACE: agent.workspace.path], body)
        } finally {
            agent.busy = false
            branch.agent = before
        }
    }

    def agent() { { failure -> failure instanceof AgentLost } }

    def nonresumable() { { failure -> false } }  // this controller never restarts

    def retry(Map options, Closure body) {
        Here.allow('retry', options, ['count', 'conditions'])
        for (int attempt = 1; ; attempt++) {
            Here.step()
            try {
                return body.call()
            } catch (Exception failure) {
                if (attempt == options.count || !options.conditions.any { it.call(failure) }) {
                    throw failure
                }
                Here.build.say("${failure.message}\nRetrying")
            }
        }
    }

    void waitUntil(Map options, Closure body) {
        Here.allow('waitUntil', options, ['initialRecurrencePeriod', 'quiet'])
        while (!body.call()) {
            Here.step()
            Thread.sleep(50)
        }
    }

    def timeout(Map options, Closure body) {
        Here.allow('timeout', options, ['time', 'unit'])
        def branch = Here.step()
        long limit_ms = TimeUnit.valueOf(options.unit as String).toMillis(options.time as long)
        def timer = new Timer(true)
        def why = new Interrupted("Timeout has been exceeded", timer)
        timer.schedule({ branch.interrupt(why) } as TimerTask, limit_ms)
        try {
            return body.call()
        } catch (Interrupted stopped) {
            stopped.actual = stopped.actual && !stopped.by.is(timer)
            throw stopped
        } finally {
            timer.cancel()
        }
    }

    void parallel(Map branches) {
        def parent = Here.step()
        boolean failFast = branches.failFast ?: false
        def failures = [].asSynchronized()
        def started = branches.findAll { it.key != 'failFast' }.collectEntries { name, body ->
            [new Branch(name as String, parent), body]
        }
        started.collect { branch, body ->
            Thread.start {
                try {
                    branch.run(body)
                } catch (Throwable failure) {
                    failures << failure
                    if (failFast) {
                        (started.keySet() - branch).each { it.interrupt(new Interrupted("${branch.name} failed")) }
                    }
                }
            }
        }*.join()
        def unknown = failures.find { it instanceof Error }
        if (unknown || failures) {
            throw unknown ?: failures.first()
        }
    }

    // Variables and credentials

    def withEnv(List<String> pairs, Closure body) {
        Here.step().with(pairs.collectEntries { it.split('=', 2) as List }, body)
    }

    def aws(Map options) {
        Here.allow('aws', options, ['credentialsId', 'accessKeyVariable', 'secretKeyVariable'])
        def found = Here.build.credentials[options.credentialsId]
        if (!found) {
            throw new Abort("Could not find credentials entry with ID '${options.credentialsId}'")
        }
        [(options.accessKeyVariable): found.access_key, (options.secretKeyVariable): found.secret_key]
    }

    def withCredentials(List<Map<String, String>> bindings, Closure body) {
        def values = bindings.inject([:]) { all, one -> all + one }
        Here.build.hide(values.values())
        Here.step().with(values, body)
    }

    // Commands

    def sh(String script) { sh(script: script) }

    def sh(Map options) {
        Here.allow('sh', options, ['script', 'returnStatus', 'returnStdout', 'label'])
        def branch = Here.step(true)
        def agent = branch.agent
        def said = []
        def keep = { line -> options.returnStdout ? said << line : Here.build.say(line) }
        Here.build.commands << [branch: branch.name, agent: agent.name, script: options.script.toString(),
                           began: System.currentTimeMillis()]
        Here.build.say("+ ${options.script}")
        int status = agent.run(['sh', options.returnStdout ? '-e' : '-xe', '-c', options.script.toString()],
                               Here.variables(branch), branch, keep)
        if (options.returnStatus) {
            return status
        }
        if (status != 0) {
            throw new Abort("script returned exit code ${status}")
        }
        return options.returnStdout ? said.collect { "${it}\n" }.join('') : null
    }

    void deleteDir() {
        def workspace = Here.step(true).agent.workspace
        workspace.deleteDir()
        workspace.mkdirs()
    }

    Scm scmGit(Map options) {
        Here.allow('scmGit', options, ['branches', 'extensions', 'userRemoteConfigs'])
        new Scm(options)
    }

    Map checkout(Scm scm) {
        def branch = Here.step(true)
        scm.checkout { String... words ->
            def said = []
            int status = branch.agent.run(words as List, Here.variables(branch), branch) { said << it }
            if (status) {
                throw new Abort("${words.join(' ')}: ${said.join('\n')}")
            }
            said.join('\n')
        }
    }

    // How a build ends

    void echo(String message) {
        Here.step()
        Here.build.say(message)
    }

    void error(String message) {
        Here.step()
        throw new Abort(message)
    }

    void unstable(String message) {
        Here.step()
        Here.build.say("WARNING: ${message}")
        Here.build.worsen('UNSTABLE')
    }

    def catchError(Map options, Closure body) {
        Here.allow('catchError', options, ['buildResult', 'stageResult', 'catchInterruptions', 'message'])
        Here.step()
        try {
            body.call()
        } catch (Interrupted stopped) {
            if (stopped.actual && options.catchInterruptions == false) {
                throw stopped
            }
            Here.build.say("ERROR: ${options.message ?: ''} ${stopped.message}")
            Here.build.worsen(stopped.result)  // whatever buildResult says: so does Jenkins
        } catch (Exception failure) {
            Here.build.say("ERROR: ${options.message ?: ''} ${failure.message}")
            Here.build.worsen(options.buildResult as String ?: 'FAILURE')
        }
    }

    def script(Closure body) { body.call() }

    // Reports

    void junit(Map options) {
        Here.allow('junit', options, ['testResults', 'allowEmptyResults'])
        def found = Here.files(options.testResults as String)
        if (!found && !options.allowEmptyResults) {
            throw new Abort('No test report files were found. Configuration error?')
        }
        found.each { file ->
            def suites = Here.xml(file).'**'.findAll { it.name() == 'testcase' }
            def bad = suites.findAll { it.failure.size() || it.error.size() }
            Here.build.tests << [total: suites.size(), failed: bad.collect { "${it.@classname}::${it.@name}".toString() }]
            if (bad) {
                Here.build.worsen('UNSTABLE')
            }
        }
    }

    void recordCoverage(Map options) {
        Here.allow('recordCoverage', options, ['tools'])
        options.tools.each { tool ->
            Here.allow('recordCoverage.tools', tool, ['parser', 'pattern'])
            if (tool.parser != 'COBERTURA') {
                throw new Unknown("no such parser: ${tool.parser}")
            }
            Here.files(tool.pattern as String).each { file ->
                def root = Here.xml(file)
                if (root.name() != 'coverage') {
                    throw new Abort("${file} is not a Cobertura report")
                }
                Here.build.coverage << [line_rate: root.'@line-rate'.text(), branch_rate: root.'@branch-rate'.text(),
                                   classes: root.'**'.count { it.name() == 'class' }]
            }
        }
    }
}
