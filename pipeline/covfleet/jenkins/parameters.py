"""The parameters of the pipeline job, which its own XML and the Jenkinsfile declare alike.

Jenkins drops what only the Jenkinsfile declares whenever the job is updated, until it has run again.
"""

from __future__ import annotations

from dataclasses import dataclass

from covfleet.settings.schema import Settings


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter, with its default; ``about`` is shown to who starts a build."""

    kind: str  # string or bool
    name: str
    default: str | bool
    about: str


def parameters(settings: Settings) -> tuple[Parameter, ...]:
    """Return the parameters of the pipeline job, in the Jenkinsfile's order."""
    return (
        Parameter("string", "SHARDS", f"{settings.shards}", "How many shards run the tests."),
        Parameter("string", "COMMIT", "", "What to build: a commit, a branch or a tag; empty: the branch."),
        Parameter(
            "bool", "REPLAN", default=False, about="Plan again, as a build of its own name in the store."
        ),
        Parameter("string", "REQUEST_ID", "", "How the one who starts a build finds it again."),
    )
