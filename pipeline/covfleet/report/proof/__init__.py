"""Whether the one pass still writes what coverage.py does: tried out once, and remembered."""
