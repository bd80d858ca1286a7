"""Settings: their schema, their sources, and checks of the names that they pass on to other systems."""
