"""One module per command: turn flags into a stage's arguments, call the stage, print its result.

``covfleet.cli`` loads a module only when its command is called, so that a shard never waits for the imports
of the report.
"""
