"""One module a command: turn flags into a stage's arguments, call the stage, print what it gave.

``pipeline/cli.py`` loads a module only when its command is called, so that a shard never waits for what the
report needs.
"""
