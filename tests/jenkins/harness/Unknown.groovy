/** The Jenkinsfile uses what this harness doesn't know. An Error: no step of the file may catch it. */
class Unknown extends Error {
    Unknown(String message) { super(message) }
}
