"""The generated parts of README.md: the settings, as `pipeline/covfleet/settings/schema.py` declares them."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from covfleet.settings.schema import Settings
from pydantic import BaseModel
from pydantic.fields import FieldInfo

README = Path(__file__).parents[2] / "README.md"
BEGIN = "<!-- settings: written by scripts/readme, checked by the tests -->\n"
END = "<!-- /settings -->\n"


def settings_table() -> str:
    """Return the settings as a Markdown table: key, default, meaning."""
    rows = [f"| `{key}` | {_default(field)} | {field.description} |" for key, field in _fields(Settings)]
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _fields(table: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    later = []
    for name, field in table.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            later.append((field.annotation, f"{prefix}{name}."))
        elif field.description:
            yield f"{prefix}{name}", field
    for section, inner in later:
        yield from _fields(section, inner)


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if value in (None, "", (), {}):
        return ""
    return f"`{json.dumps(value) if isinstance(value, bool | tuple) else value}`"


def updated(text: str) -> str:
    """Return README.md's text with its generated parts made anew."""
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise SystemExit(f"{README.name} lacks the line {BEGIN.strip()} or {END.strip()}")
    return f"{before}{BEGIN}\n{settings_table()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write README.md, or with --check compare it; return the exit status."""
    old = README.read_text("utf-8")
    new = updated(old)
    if "--check" not in arguments:
        README.write_text(new, "utf-8")
        return 0
    difference = difflib.unified_diff(
        old.splitlines(), new.splitlines(), "README.md", "scripts/readme", lineterm=""
    )
    print("\n".join(difference))
    return int(old != new)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
