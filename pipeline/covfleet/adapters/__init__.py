"""Adapters: the real Docker, S3, folders, processes, git and clock behind `covfleet.ports`."""
