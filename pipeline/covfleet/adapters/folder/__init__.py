"""A store in a folder, and an overlay over a read-only store."""
