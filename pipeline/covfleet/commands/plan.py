"""``covfleet plan``: which tests there are, and who starts with what."""

from __future__ import annotations

from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.planning import show_plan


@options.command(
    "plan",
    *options.PLANNING,
    "pytest_args",
    "dry_run",
    "as_json",
    examples=(
        ("covfleet plan", "Plan a new build of the project in this folder; its id is printed."),
        (
            "covfleet plan --shards 6 --dry-run -- -m 'not slow'",
            "Show what 6 shards would get, and store nothing.",
        ),
        (
            "covfleet plan --build $BUILD_NUMBER --json",
            "Plan a build of that name; the same again if it is planned.",
        ),
    ),
)
def command(call: Call) -> None:
    """Collect the tests, cut them into batches by expected duration, and deal these to shards.

    The plan and the project's sources go to the store, where all later stages find them.
    """
    show_plan(call)
