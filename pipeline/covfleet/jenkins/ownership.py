"""The mark in the description of covfleet's jobs and views: their owner, and the state we left them in.

The mark names the repository that a job comes from, so that two projects on one controller don't take each
other's jobs for their own. Two hashes follow: of the XML that was sent, and of the controller's form of it.
If both still match, nothing has changed on either side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from covfleet.jenkins import xml_forms
from covfleet.jenkins.jobs import OWNED
from covfleet.jenkins.xml_forms import Element

_MARK = re.compile(
    rf"^{OWNED}(?P<owner>\S+): [^\n\[\]]*(?: \[(?P<sent>[0-9a-f]{{12}})(?:-(?P<kept>[0-9a-f]{{12}}))?\])?$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Mark:
    """The owner of a job or view, and the hashes of its XML as it was sent and as the controller keeps it."""

    owner: str  # the repository's URL
    sent: str = ""
    kept: str = ""  # empty: the apply was interrupted before it was known

    def __str__(self) -> str:
        state = f" [{'-'.join(filter(None, (self.sent, self.kept)))}]" if self.sent else ""
        return f"{OWNED}{self.owner}: change its settings or templates, not this.{state}"


def mark_of(root: Element) -> Mark | None:
    """Return the mark in a job's or view's description, or ``None`` if it isn't covfleet's."""
    found = _MARK.search(xml_forms.description(root))
    return Mark(found["owner"], found["sent"] or "", found["kept"] or "") if found else None


def marked(root: Element, mark: Mark) -> Element:
    """Return a copy with the mark as the last line of its description, replacing an earlier one."""
    text = _MARK.sub("", xml_forms.description(root)).strip()
    return xml_forms.with_description(root, f"{text}\n\n{mark}" if text else str(mark))
