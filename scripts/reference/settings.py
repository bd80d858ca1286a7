"""The page of settings: what ``covfleet.settings.schema`` declares."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from covfleet.commands.common import options
from covfleet.settings.load import variable
from covfleet.settings.schema import GroupSettings, Section, Settings
from pydantic.fields import FieldInfo

from reference.markdown import anchor, page, prose, table

_INTRO = """\
covfleet reads its settings from three sources; the later one wins:

1. the table `[tool.covfleet]` in the project's `pyproject.toml`,
2. environment variables whose names begin with `COVFLEET_`,
3. flags of the command.

All faults in all sources are reported together, with the place of each. For an unknown key the message names
the key that was probably meant. In a variable's name two underscores step into a table:
`COVFLEET_IMAGE__BASE` sets `base` in `[tool.covfleet.image]`. A variable that sets a list takes words as a
shell splits them, or JSON; every other list or table is JSON. An empty variable counts as not set.

Tests don't see covfleet's environment: variables whose names begin with `AWS_` or `COVFLEET_` are removed
first. Name what tests do need in `[tool.covfleet.env]`.
"""

_NAMES: Mapping[Any, str] = {
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
}


def settings_page() -> str:
    """Return the page: one section for each table of settings."""
    sections = [_section(name, section) for name, section in _tables("", Settings)]
    groups = f"## `[[tool.covfleet.groups]]` {{#groups}}\n\n{_about(GroupSettings)}\n\n" + table(
        ("key", "values", "meaning"),
        [
            (f"`{name}`", _values(field), field.description or "")
            for name, field in GroupSettings.model_fields.items()
        ],
    )
    return page("Settings", "`pipeline/covfleet/settings/schema.py`", _INTRO, *sections, groups)


def _tables(name: str, section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """Yield every table under its dotted name, the outer one first."""
    yield name, section
    for key, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _tables(f"{name}{key}.", field.annotation)


def _section(prefix: str, section: type[Section]) -> str:
    title = f"tool.covfleet.{prefix}".rstrip(".")
    heading = f"## `[{title}]` {{#{anchor(prefix) or 'covfleet'}}}\n\n{_about(section)}\n\n"
    rows = [_row(f"{prefix}{key}", field) for key, field in section.model_fields.items() if field.description]
    return heading + table(("key", "values", "default", "variable, flag", "meaning"), rows)


def _about(section: type[Section]) -> str:
    """Return what the class says of the table, without the table's name in front."""
    text = prose(section.__doc__ or "").partition(": ")[2]
    return text[:1].upper() + text[1:]


def _row(key: str, field: FieldInfo) -> tuple[str, ...]:
    names = [f"`{variable(key)}`", *(f"`{flag}`" for flag in _flags(key))]
    name = f"`{key.rpartition('.')[2]}`"
    return name, _values(field), _default(field), "<br>".join(names), field.description or ""


def _flags(key: str) -> Iterator[str]:
    """Yield the flag that sets a key, if there is one."""
    for name, dotted in options._KEYS.items():
        if dotted == key:
            yield "-- PYTEST_ARGS" if name == "pytest_args" else "--" + name.replace("_", "-")


def _values(field: FieldInfo) -> str:
    """Say which values a setting takes."""
    kind, bounds = _kind(field.annotation), list(field.metadata)
    if isinstance(kind, tuple):
        kind, inner = kind
        bounds += inner
    low = next((f"from {each.ge:g}" for each in bounds if isinstance(each, Ge)), "")
    low = low or next((f"more than {each.gt:g}" for each in bounds if isinstance(each, Gt)), "")
    high = next((f"to {each.le:g}" for each in bounds if isinstance(each, Le)), "")
    high = high or next((f"less than {each.lt:g}" for each in bounds if isinstance(each, Lt)), "")
    return " ".join(filter(None, (kind, low, high)))


def _kind(annotation: Any) -> Any:
    """Return a type in words; for an annotated one a pair of words and metadata."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is types.UnionType or type(None) in arguments:
        return _kind(next(each for each in arguments if each is not type(None)))
    if origin is tuple:
        inner = _kind(arguments[0])
        inner = inner[0] if isinstance(inner, tuple) else inner
        return f"list of {inner}" if inner.startswith("`") else "list of texts"
    if origin is dict:
        return "table of texts"
    if hasattr(annotation, "__metadata__"):
        inner = _kind(annotation.__origin__)
        bounds = [bound for each in annotation.__metadata__ for bound in getattr(each, "metadata", ())]
        return (inner, bounds)
    return _NAMES.get(annotation, "number")


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    if value in (None, "", (), {}):
        return ""
    return f"`{json.dumps(value) if isinstance(value, bool | tuple) else value}`"
