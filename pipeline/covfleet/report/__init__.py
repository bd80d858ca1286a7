"""Reports: coverage.py's own formats and ours; ``stage.report_build`` is the entry point."""
