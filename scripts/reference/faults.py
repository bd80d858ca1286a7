"""The page of faults: the table of tests/README.md, in words for readers of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from reference.markdown import page

_SOURCE = Path(__file__).parents[2] / "tests" / "README.md"

_INTRO = """\
What can go wrong, what covfleet does then, and the test that shows it. Each test lives in the named folder
of `tests/`. The end of the page lists what can't be shown on one machine.
"""


def faults_page() -> str:
    """Return the page: the section on faults, with a heading for each group instead of a bold row."""
    text = _SOURCE.read_text("utf-8")
    _, _, section = text.partition("## Faults, and where they are shown\n")
    head = "| fault | outcome | shown in |\n| --- | --- | --- |\n"
    body = section.partition(head)[2]
    grouped = re.sub(r"^\| \*\*(.+?)\*\* \| \| \|\n", rf"\n## \1\n\n{head}", body, flags=re.MULTILINE)
    return page(
        "Faults",
        "`tests/README.md`",
        _INTRO,
        grouped.replace("\n\nNot shown on one", "\n\n## Not shown\n\nNot shown on one"),
    )
