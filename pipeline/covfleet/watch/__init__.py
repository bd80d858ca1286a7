"""Alongside the shards: merge their results as they arrive, rehearse the reports, show progress."""
