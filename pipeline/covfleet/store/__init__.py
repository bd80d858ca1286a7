"""The door to stored builds and everything behind it: keys, documents, transfers, data files, sources."""
