"""``covfleet plan``: collect the tests and deal them to the shards."""

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
        ("covfleet plan", "Plan a new build of the project in this folder, and print its id."),
        (
            "covfleet plan --shards 6 --dry-run -- -m 'not slow'",
            "Show what each of 6 shards would get, and store nothing.",
        ),
        (
            "covfleet plan --build $BUILD_NUMBER --json",
            "Plan the build with that id, or print its plan if it has one.",
        ),
    ),
)
def command(call: Call) -> None:
    """Collect the tests, cut them into batches by expected duration, and deal the batches to the shards.

    The plan and the project's sources go to the store, where the later stages find them.
    """
    show_plan(call)
