"""``covfleet fetch COMMIT [DIR]``: download a commit's data files for stock coverage.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from covfleet.byhand.builds import choose, list_builds
from covfleet.byhand.fetch import fetch_build, fetch_folder
from covfleet.commands.common import options
from covfleet.commands.common.options import Call
from covfleet.commands.common.session import Session
from covfleet.text import counted


@options.command(
    "fetch",
    "build",
    "allow_partial",
    "as_json",
    examples=(
        ("covfleet fetch $SHA data --store s3://bucket/coverage", "The commit's newest complete build."),
        ("cd data && coverage combine --keep && coverage debug data", "Then use stock coverage.py."),
        (
            "covfleet fetch $SHA . && coverage combine && coverage html",
            "All in one, in a checkout of the commit.",
        ),
    ),
)
@click.argument("commit", metavar="COMMIT")
@click.argument(
    "folder",
    metavar="[DIR]",
    required=False,
    type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
)
def command(call: Call, folder: Path | None) -> None:
    """Download the data files of COMMIT into DIR (by default ./COMMIT), ready for stock `coverage combine`.

    Every file is decompressed and checked against its SHA-256; if one is missing or damaged, nothing appears
    in DIR. Files that are already there aren't downloaded again. If the commit has no plan, every data file
    in its folder is downloaded.
    """
    session = Session(call)
    commit, workers = session.commit(session.open_to_read()), session.settings.s3.connections
    into = folder or Path.cwd() / commit.name
    summaries = list_builds(commit, workers=workers)
    if summaries or call.build:
        build = choose(commit, summaries, call.build).build
        fetched = fetch_build(commit.build(build), into, allow_partial=call.allow_partial, workers=workers)
    else:
        build, fetched = "", fetch_folder(commit, into, workers=workers)
    if call.as_json:
        place = {"commit": commit.name, "build": build, "folder": str(into)}
        click.echo(json.dumps({"version": 1, **place, **asdict(fetched)}, indent=2))
        return
    whose = f"of build {build}" if build else "without a plan: some may be missing"
    figures = f"{fetched.size_bytes:,} bytes, {fetched.new:,} new"
    click.echo(f"{counted(fetched.files, 'data file')} {whose}, {figures}: {into}")
