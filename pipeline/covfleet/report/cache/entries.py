"""A source's fragment as a cache entry: figures and names in one line of JSON, then texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coverage.html import IndexItem, IndexPage
from coverage.results import Numbers
from pydantic import TypeAdapter, ValidationError

PARTS = 5
"""The parts of a page around its two links, each of which occurs twice."""


@dataclass(frozen=True, slots=True)
class PageText:
    """A page without its links to two others, and coverage.py's record of it with its former links."""

    parts: tuple[bytes, ...]  # between the links
    links: tuple[str, str]
    hash: str
    index: IndexItem


@dataclass(frozen=True, slots=True)
class KeptFragment:
    """The stored form of a fragment."""

    numbers: Numbers
    all_numbers: Numbers
    missing: str
    xml_branches: tuple[int, int]
    indexes: dict[str, IndexPage]
    kinds: tuple[tuple[str, str], ...]
    json: str  # with marks for contexts
    xml_lines: str
    lcov: str
    page: PageText | None


@dataclass(frozen=True, slots=True)
class _Head:
    numbers: Numbers
    all_numbers: Numbers
    missing: str
    xml_branches: tuple[int, int]
    indexes: dict[str, IndexPage]
    kinds: tuple[tuple[str, str], ...]
    links: tuple[str, str]
    hash: str
    index: IndexItem | None  # None: the report has no page of the source
    sizes: tuple[int, ...]  # in bytes: JSON, XML, LCOV, and the parts of the page


_HEAD = TypeAdapter(_Head)


def to_entry(kept: KeptFragment) -> bytes:
    """Return a fragment as bytes. Raises ``ValueError`` if a text can't be encoded."""
    page = kept.page
    texts = [kept.json.encode(), kept.xml_lines.encode(), kept.lcov.encode(), *(page.parts if page else ())]
    head = _Head(
        numbers=kept.numbers,
        all_numbers=kept.all_numbers,
        missing=kept.missing,
        xml_branches=kept.xml_branches,
        indexes=kept.indexes,
        kinds=kept.kinds,
        links=page.links if page else ("", ""),
        hash=page.hash if page else "",
        index=page.index if page else None,
        sizes=tuple(map(len, texts)),
    )
    return b"\n".join((_HEAD.dump_json(head), b"".join(texts)))


def from_entry(content: bytes) -> KeptFragment | None:
    """Return the fragment in an entry, or ``None`` if it is invalid."""
    line, _, rest = content.partition(b"\n")
    try:
        head = _HEAD.validate_json(line)
        texts = _cut(rest, head.sizes)
        text, xml_lines, lcov = (part.decode() for part in texts[:3])
    except (ValidationError, ValueError):
        return None
    if len(texts) != (3 + PARTS if head.index else 3):
        return None
    page = PageText(tuple(texts[3:]), head.links, head.hash, head.index) if head.index else None
    return KeptFragment(
        numbers=head.numbers,
        all_numbers=head.all_numbers,
        missing=head.missing,
        xml_branches=head.xml_branches,
        indexes=head.indexes,
        kinds=head.kinds,
        json=text,
        xml_lines=xml_lines,
        lcov=lcov,
        page=page,
    )


def _cut(content: bytes, sizes: Sequence[int]) -> list[bytes]:
    if sum(sizes) != len(content) or min(sizes, default=-1) < 0:
        raise ValueError("the lengths of the texts don't match")
    texts, begin = [], 0
    for size in sizes:
        texts.append(content[begin : begin + size])
        begin += size
    return texts
