"""The page of the store's layout: every key that ``covfleet.store.keys`` makes, made for a sample."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from covfleet.store import keys
from covfleet.store.keys import BuildKeys, CommitKeys, SiteKeys

from reference.markdown import page, prose, table

_INTRO = """\
The store is a folder or an S3 bucket with a prefix; every key below is relative to that prefix. covfleet
writes an object once or replaces it atomically, and never deletes one. The JSON documents are described in
[JSON forms](json.md#stored-documents).

A commit's folder stays readable without covfleet: its data files carry the names that coverage.py gives them,
so downloading the folder and running stock `coverage combine` gives the same result. On S3 they travel
compressed by default and lie one folder deeper; `covfleet fetch` unpacks them.

The commit of a tree with uncommitted changes is its head with a hash of the changes behind it; without git it
is a hash of the content.

In the tables, the commit is `3f9a1c2`, the build `17`, and the branch `main`.
"""

_DATA = ".coverage.host.pid4711.Xabcdef.H0123h"
_ARGUMENTS = {
    "name": _DATA,
    "batch": "b001",
    "shard": 3,
    "path": "html/index.html",
    "build": "17",
    "branch": "main",
}


def store_page() -> str:
    """Return the page: a table for commits, builds, branches and the site."""
    commit, build, site = CommitKeys("3f9a1c2"), BuildKeys("3f9a1c2", "17"), SiteKeys("main")
    branches = [
        (f"`{function('main')}`", _meaning(function))
        for function in (keys.timings, keys.reported, keys.report_cache)
    ]
    probe = (
        f"`{keys.PROBE}`",
        "What `covfleet doctor` writes to see whether the store honours conditional puts.",
    )
    site_rows = [(f"`{keys.TOP_INDEX}`", "The page that lists the branches."), *_rows(site)]
    return page(
        "Store layout",
        "`pipeline/covfleet/store/keys.py`",
        _INTRO,
        "## A commit\n\n" + _table(_rows(commit)),
        "## A build of a commit\n\n" + _table(_rows(build)),
        "## A branch, and the store itself\n\n" + _table([*branches, probe]),
        "## The published site\n\nThe site has a prefix, and usually a bucket, of its own.\n\n"
        + _table(site_rows),
    )


def _table(rows: list[tuple[str, str]]) -> str:
    return table(("key", "what lies there"), rows)


def _rows(of: object) -> list[tuple[str, str]]:
    """Return every public key of an object with its meaning, in the order of the source."""
    return [(f"`{key}`", meaning) for key, meaning in _keys(of) if isinstance(key, str)]


def _keys(of: object) -> Iterator[tuple[object, str]]:
    for name, member in vars(type(of)).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield member.__get__(of), _meaning(member)
        elif inspect.isfunction(member):
            given = [_ARGUMENTS[each] for each in list(inspect.signature(member).parameters)[1:]]
            yield member(of, *given), _meaning(member)


def _meaning(documented: object) -> str:
    """Return the docstring's first line as a noun phrase."""
    line = prose(inspect.cleandoc(documented.__doc__ or "")).split("\n")[0]
    line = line.removeprefix("Return the key of ").removeprefix("Return the prefix of ").split("; `path`")[0]
    return line[:1].upper() + line[1:].rstrip(".") + "."
