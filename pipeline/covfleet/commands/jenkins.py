"""``covfleet jenkins``: what Jenkins reads, made from templates, and the controller, driven from here."""

from __future__ import annotations

import click

from covfleet.commands.common.lazy import LazyGroup

_COMMANDS = {
    "The generated files": {
        "render": ("jenkins_render:command", "Write what Jenkins reads, or check that it is up to date."),
        "lint": ("jenkins_lint:lint", "Check the Jenkinsfile: syntax, steps, plugins."),
    },
    "The controller": {
        "apply": ("jenkins_apply:apply", "Create or update our jobs on the controller."),
        "run": ("jenkins_run:run", "Start a build, once, and follow it."),
        "follow": ("jenkins_run:follow", "Show a build that is queued or runs, until it ends."),
        "status": ("jenkins_run:status", "Show the last builds."),
    },
}


@click.group(
    "jenkins",
    cls=LazyGroup,
    sections={
        title: {name: (f"covfleet.commands.{place}", what) for name, (place, what) in commands.items()}
        for title, commands in _COMMANDS.items()
    },
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command() -> None:
    """Have Jenkins drive the stages: its files are generated, and its builds started and followed from here.

    Settings: [tool.covfleet.jenkins]. The controller's user and token come from JENKINS_USER and
    JENKINS_TOKEN, and from nowhere else.
    """
