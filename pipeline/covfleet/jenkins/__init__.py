"""Jenkins: render the files that it reads from templates, and drive the controller from here."""
