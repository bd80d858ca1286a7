/*
 * Execute a Jenkinsfile: groovy -cp HARNESS HARNESS/run.groovy JENKINSFILE CONFIG CREDENTIALS
 *
 * CONFIG and CREDENTIALS are JSON files. Everything that happens lies in CONFIG's `folder` afterwards: `log`,
 * `result.json`, `agents/`. The exit status is 0 however the build ended, and 2 if the file uses what isn't known.
 */
import groovy.json.JsonSlurper
import org.codehaus.groovy.control.CompilerConfiguration

def (jenkinsfile, config, credentials) = args.collect { new File(it) }
def json = new JsonSlurper()
def build = new Build(json.parse(config) as Map, json.parse(credentials) as Map)
Here.build = build
build.watchForKills()
int status = 0
new Branch('').run {
    try {
        Shape.check(jenkinsfile.text)
        def compiled = new CompilerConfiguration(scriptBaseClass: Steps.name)
        new GroovyShell(Steps.classLoader, new Binding(), compiled).evaluate(jenkinsfile)
    } catch (Unknown unknown) {
        System.err.println("harness: ${unknown.message}")
        status = 2
    }
}
build.writeResult()
System.exit(status)
