"""The door to stored builds, and what lies behind it: keys, documents, transfers, data files, sources."""
