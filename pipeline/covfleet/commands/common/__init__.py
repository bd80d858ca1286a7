"""What all commands share: flags, real clients, figures for programs."""
