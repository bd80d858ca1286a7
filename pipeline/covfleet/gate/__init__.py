"""The stage ``gate``: compare a build's coverage with the thresholds."""
