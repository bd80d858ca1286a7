/** A step refused, or `error` was called: the build fails. */
class Abort extends Exception {
    Abort(String message) { super(message) }
}
