/** Somebody stopped it. `actual` is false where the cause was dealt with, such as a time limit further in. */
class Interrupted extends Exception {
    final String result = 'ABORTED'
    boolean actual = true
    final Object by

    Interrupted(String message, Object by = null) {
        super(message)
        this.by = by
    }
}
