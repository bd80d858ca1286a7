"""``python -m covfleet``: the command, wherever its script isn't on the path."""

from covfleet.cli import main

main()
