"""Work that ops do by hand, even days after a build: list builds, combine again, fetch the data."""
