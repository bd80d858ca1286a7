"""The cache that reports leave for the next build: by branch, in one file, verified before use."""
