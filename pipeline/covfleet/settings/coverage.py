"""coverage.py's settings in the form in which a plan carries them: JSON, option -> value."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING

from covfleet.errors import ConfigurationError, IncompleteDataError

if TYPE_CHECKING:
    from coverage import Coverage


def apply(cov: Coverage, text: str) -> None:
    """Give them to a ``Coverage`` that has read no file of its own.

    Raises:
        ConfigurationError: the application's coverage.py has an option that covfleet's doesn't know.
    """
    from coverage.exceptions import ConfigError  # noqa: PLC0415 - combining does without it

    values = json.loads(text)
    # Plugins come first, as others are options of theirs.
    for option in sorted(values, key=lambda name: (name != "run:plugins", name)):
        try:
            cov.set_option(option, values[option])
        except ConfigError as error:
            raise ConfigurationError(
                f"covfleet's own coverage.py can't follow the project's settings: {error}",
                hint="Install beside covfleet the version of coverage that the project uses.",
            ) from error


def require_same(planned: str, found: str, where: str) -> None:
    """Refuse settings that differ from the planned ones; none at all are no difference.

    Raises:
        IncompleteDataError: with the difference.
    """
    if not found or found == planned:
        return
    lines = difflib.unified_diff(
        planned.splitlines(), found.splitlines(), "the build", where, lineterm="", n=0
    )
    shown = "\n".join(f"  {line}" for line in lines if not line.startswith("@@"))
    raise IncompleteDataError(
        f"coverage's settings in {where} are not those that count for the build:\n{shown}",
        hint="Make the image from this very checkout, and run every shard on the planned commit.",
    )
