"""Adapters implement the ports: Docker, S3, folders, processes, git, Jenkins and the clock."""
