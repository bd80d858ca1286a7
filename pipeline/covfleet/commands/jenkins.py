"""``covfleet jenkins``: generate the files that Jenkins reads, and drive the controller from here."""

from __future__ import annotations

import click

from covfleet.commands.common.lazy import LazyGroup

_COMMANDS = {
    "The generated files": {
        "render": (
            "jenkins_render:command",
            "Write the files for Jenkins, or check that they are up to date.",
        ),
        "lint": ("jenkins_lint:lint", "Check the Jenkinsfile: syntax, steps, plugins."),
    },
    "The controller": {
        "apply": ("jenkins_apply:apply", "Create or update covfleet's jobs on the controller."),
        "run": ("jenkins_run:run", "Start exactly one build, and follow it."),
        "follow": ("jenkins_run:follow", "Show a queued or running build until it ends."),
        "status": ("jenkins_run:status", "List the latest builds."),
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
    """Run the stages on Jenkins: generate its files, and start and follow its builds from here.

    Settings: [tool.covfleet.jenkins]. The user and the token for the controller come only from JENKINS_USER
    and JENKINS_TOKEN.
    """
