"""Shared by all commands: flags, real clients, figures for programs."""
