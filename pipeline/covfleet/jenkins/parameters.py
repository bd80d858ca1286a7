"""The parameters of the pipeline job; both its XML and the Jenkinsfile declare them.

Whenever the job is updated, Jenkins drops parameters that only the Jenkinsfile declares until the job has run
again.
"""

from __future__ import annotations

from dataclasses import dataclass

from covfleet.settings.schema import Settings


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter with its default; ``about`` is its description when starting a build."""

    kind: str  # string or bool
    name: str
    default: str | bool
    about: str


def parameters(settings: Settings) -> tuple[Parameter, ...]:
    """Return the parameters of the pipeline job, in the Jenkinsfile's order."""
    return (
        Parameter("string", "SHARDS", f"{settings.shards}", "Number of shards."),
        Parameter("string", "COMMIT", "", "Commit, branch or tag to build; empty: the job's branch."),
        Parameter(
            "bool", "REPLAN", default=False, about="Make a new plan, as a separate build in the store."
        ),
        Parameter("string", "REQUEST_ID", "", "Id by which the requester of a build finds it again."),
    )
