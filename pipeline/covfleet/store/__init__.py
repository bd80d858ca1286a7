"""The door to stored builds and everything behind it: keys, encoding, transfers, data files, sources."""
