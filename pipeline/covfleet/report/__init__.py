"""Reports: coverage.py's own formats, and ours beside them; ``stage.report_build`` is the way in."""
