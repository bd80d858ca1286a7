"""Write the generated pages of ``docs/reference``, or check that they are up to date."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path

from reference.commands import commands_page
from reference.documents import documents_page
from reference.exit_codes import exit_codes_page
from reference.faults import faults_page
from reference.settings import settings_page
from reference.store import store_page

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def pages() -> Mapping[str, str]:
    """Return every generated page by its name."""
    return {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "json.md": documents_page(),
        "exit-codes.md": exit_codes_page(),
        "store.md": store_page(),
        "faults.md": faults_page(),
    }


def difference() -> str:
    """Return how the pages in ``docs/reference`` differ from the program; empty if they don't."""
    lines: list[str] = []
    for name, text in pages().items():
        path = FOLDER / name
        old = path.read_text("utf-8") if path.exists() else ""
        lines += difflib.unified_diff(
            old.splitlines(), text.splitlines(), f"docs/reference/{name}", "the program", lineterm=""
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` compare them; return the exit status."""
    if "--check" in arguments:
        found = difference()
        print(found, end="\n" if found else "")
        return int(bool(found))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
