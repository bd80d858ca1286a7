"""The page of JSON forms: the dataclasses that lie in the store, and what ``--json`` prints."""

from __future__ import annotations

import ast
import inspect
import io
import json
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from covfleet.model import BatchResult, Claim, Heartbeat, Ledger, Plan, ReportManifest
from covfleet.publish.pages import PublishedBuild
from covfleet.report.cache.branch import Reported
from covfleet.store.timings import Timings

from reference.forms import FORMS, Form
from reference.markdown import anchor, page, prose, table

STORED: tuple[tuple[str, type], ...] = (
    ("plan.json", Plan),
    ("claims/<batch>.json", Claim),
    ("shards/<k>.json", Heartbeat),
    ("results/<batch>.json", BatchResult),
    ("reports/ledger.json", Ledger),
    ("reports/manifest.json", ReportManifest),
    ("branches/<branch>/timings.json", Timings),
    ("branches/<branch>/reported.json", Reported),
    ("<branch>/latest.json of the site", PublishedBuild),
)

_INTRO = """\
Programs may rely on these forms. Durations are in seconds, sizes in bytes, percentages from 0 to 100. Each
document carries a `version`; a reader must refuse a version that it doesn't know. New keys may be added
without a new version.
"""

_COMMANDS = """\
## What `--json` prints {#commands}

The JSON is the only thing on standard output. A command that fails may print none: look at its
[exit code](exit-codes.md) first. `covfleet run` and `covfleet shard` print their result even when tests
failed.
"""


def documents_page() -> str:
    """Return the page: commands first, then stored documents, then the types inside them."""
    found = list(
        dict.fromkeys(
            _closure([kind for _, kind in STORED] + [each for form in FORMS for each in form.types])
        )
    )
    stored = [_stored(where, kind) for where, kind in STORED]
    inner = [
        _kind(kind, level=3)
        for kind in sorted(set(found) - {kind for _, kind in STORED}, key=lambda each: each.__name__)
    ]
    return page(
        "JSON forms",
        "the dataclasses of `pipeline/covfleet/` and `scripts/reference/forms.py`",
        _INTRO,
        _COMMANDS,
        *(_form(form) for form in FORMS),
        "## Stored documents {#stored-documents}\n\nWhere each lies is shown in [Store layout](store.md).",
        *stored,
        "## Types inside these documents {#types}",
        *inner,
    )


def _form(form: Form) -> str:
    title = f"### `covfleet {form.command} --json` {{#{anchor(form.command)}-json}}"
    if form.document is not None:
        name = form.document.__name__
        same = {kind: where for where, kind in STORED}
        what = f" ({same[form.document]})" if form.document in same else ""
        return f"{title}\n\nPrints [{name}](#{name.lower()}){what}."
    rows = [(f"`{key}`", meaning) for key, meaning in form.keys.items()]
    note = f"\n{form.note}\n" if form.note else ""
    return f"{title}\n\n" + table(("key", "value"), rows) + note


def _stored(where: str, kind: type) -> str:
    return f"### `{where}`: {kind.__name__} {{#{kind.__name__.lower()}}}\n\n{_body(kind)}"


def _kind(kind: type, *, level: int) -> str:
    return f"{'#' * level} {kind.__name__} {{#{kind.__name__.lower()}}}\n\n{_body(kind)}"


def _body(kind: type) -> str:
    doc = prose(inspect.cleandoc(kind.__doc__ or ""))
    return f"{doc}\n\n" + table(("key", "type", "default", "meaning"), _rows(kind))


def _rows(kind: type) -> Iterator[Sequence[str]]:
    """Yield name, type, default and comment of each field, as the source has them."""
    source = textwrap.dedent(inspect.getsource(kind))
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not token.string.startswith("# noqa")
    }
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    of = {field.name: field for field in fields(kind)}
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            comment = comments.get(node.lineno, "")
            yield f"`{name}`", _type(ast.unparse(node.annotation)), _default(of[name]), comment


def _default(field: Field[Any]) -> str:
    if field.default is not MISSING:
        return f"`{json.dumps(field.default)}`"
    if field.default_factory is MISSING:
        return "required"
    value = field.default_factory()
    return f"`{json.dumps(asdict(value) if is_dataclass(value) else value)}`"


def _type(annotation: str) -> str:
    """Return a type as JSON has it, with links to the types that this page describes."""
    if annotation.startswith("Literal["):
        return f"`{annotation[8:-1].replace(chr(39), '')}`"
    if annotation.startswith("tuple["):
        return f"list of {_type(annotation[6:-1].removesuffix(', ...'))}"
    if annotation.startswith("dict["):
        key, _, value = annotation[5:-1].partition(", ")
        return f"object: {_type(key)} → {_type(value)}"
    if annotation.endswith(" | None"):
        return f"{_type(annotation.removesuffix(' | None'))} or null"
    simple = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "bool": "boolean",
        "Decimal": "text: a decimal",
    }
    if annotation in simple:
        return simple[annotation]
    return _ALIASES[annotation] if annotation in _ALIASES else f"[{annotation}](#{annotation.lower()})"


def _aliases() -> dict[str, str]:
    """Return the named lists of words of the model, such as ``Outcome``."""
    from covfleet import model  # noqa: PLC0415

    return {
        name: ", ".join(f"`{word}`" for word in get_args(value))
        for name, value in vars(model).items()
        if get_args(value) and all(isinstance(word, str) for word in get_args(value))
    }


_ALIASES = _aliases()


def _closure(kinds: Sequence[type]) -> Iterator[type]:
    """Yield the dataclasses, and those that their fields hold."""
    for kind in kinds:
        yield kind
        hints = get_type_hints(kind)
        yield from _closure([each for field in fields(kind) for each in _parts(hints[field.name])])


def _parts(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and is_dataclass(annotation):
        return [annotation]
    return [each for inner in get_args(annotation) for each in _parts(inner)]
