"""Jenkins: what it reads, rendered from templates, and the controller, driven from here."""
