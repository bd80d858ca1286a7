"""The acceptance suite, written for unittest: covfleet runs it as a command group."""
