"""How fast data files travel to an S3 server and back, beside ``aws s3 sync`` and ``s3cmd sync``.

All use the same SeaweedFS on this machine, in turns; CPU is that of the clients. What was downloaded is
compared with what was sent.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import venv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from covfleet.adapters.s3.store import S3Store
from covfleet.combine.verify import data_file
from covfleet.model import Batch
from covfleet.settings.schema import S3Settings
from covfleet.store.encoding import to_json
from covfleet.store.keys import BuildKeys

from benchmarks.corpus import Shape, write_corpus
from benchmarks.measure import Cost, Place, middle, run
from benchmarks.plans import planned
from benchmarks.transferring import BATCH, BUILD

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests"))  # the tests' own server

from support.seaweed import REGION, Seaweed, running_seaweed  # noqa: E402

BASE = "aws s3 sync"  # what the others are compared with

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Contender:
    """A way to move a folder: the commands that send it and that bring it back into another one."""

    up: Command
    down: Command


def compare_transfers(arguments: argparse.Namespace) -> None:
    """Send and fetch the same files in turns, and print medians and ratios."""
    corpus = write_corpus(Shape(arguments.files, arguments.sources), arguments.corpora)
    tools = _tools(arguments.corpora.parent / "s3-tools")
    scratch = arguments.corpora / "transfer"
    costs: dict[str, list[tuple[Cost, Cost]]] = defaultdict(list)
    with running_seaweed() as server:
        for number in range(arguments.rounds):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            place = Place(scratch, _environment(server), scratch / "log", frozenset({0}))
            data = scratch / "data"  # the files alone: the tools would also send their manifest
            data.mkdir()
            for path in corpus.glob(".coverage.*"):
                (data / path.name).hardlink_to(path)
            for name, contender in _contenders(server, tools, data, number).items():
                up, down = run(place, contender.up), run(place, contender.down)
                _compare(data, Path(contender.down[-1]))
                costs[name].append((up, down))
                print(
                    f"round {number + 1}: {name}: up {up.wall_s:.2f} s, down {down.wall_s:.2f} s",
                    file=sys.stderr,
                )
            shutil.rmtree(scratch)
    size = sum(path.stat().st_size for path in corpus.glob(".coverage.*")) / 1e6
    print(f"{arguments.files} data files, {size:.1f} MB; ratios to {BASE}, more is faster\n")
    for row in _rows(costs):
        print(row)


def _tools(folder: Path) -> Path:
    """Return the folder of the programs ``aws`` and ``s3cmd``, which are installed once."""
    programs = folder / "bin"
    if not (programs / "s3cmd").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(programs / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        # s3cmd asks for what newer environments no longer bring
        subprocess.run([*pip, "awscli", "setuptools<81", "s3cmd"], check=True, stdout=sys.stderr, timeout=600)
    return programs


def _environment(server: Seaweed) -> Mapping[str, str]:
    foreign = ("AWS_", "COVERAGE_", "COVFLEET_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join(str(ROOT / part) for part in ("scripts", "."))
    return {**clean, **server.environment, "PYTHONPATH": path}


def _contenders(server: Seaweed, tools: Path, data: Path, number: int) -> Mapping[str, Contender]:
    """Return everyone, each with places of its own; the folder that ``down`` fills is its last word."""
    down = data.parent
    bucket, endpoint = f"s3://{server.bucket}", server.endpoint_url
    aws = (tools / "aws", "s3", "sync", "--only-show-errors", "--endpoint-url", endpoint)
    host = endpoint.removeprefix("http://")
    s3cmd = (
        *(tools / "python", tools / "s3cmd", "--config", os.devnull, "--no-ssl", "--region", REGION),
        *("--host", host, f"--host-bucket={host}", "--quiet", "--no-progress", "sync"),
    )
    found = {}
    for compression in ("zstd", "none"):
        commit, store = f"{compression}{number}", f"{bucket}/covfleet"
        _plan(server, commit)
        command = (sys.executable, "-P", "-m", "covfleet", "fetch", commit, "--store", store)
        found[f"covfleet, {compression}"] = Contender(
            (sys.executable, "-m", "benchmarks.transferring", data, store, endpoint, commit, compression),
            (*command, "--endpoint-url", endpoint, down / commit),
        )
    there = f"{bucket}/aws-{number}"
    found[BASE] = Contender((*aws, data, there), (*aws, there, down / f"aws-{number}"))
    there, back = f"{bucket}/s3cmd-{number}/", down / f"s3cmd-{number}"
    back.mkdir()
    found["s3cmd sync"] = Contender((*s3cmd, f"{data}/", there), (*s3cmd, there, f"{back}/"))
    return found


def _plan(server: Seaweed, commit: str) -> None:
    """Store a plan with one batch, whose result is what is sent."""
    plan = planned(commit, BUILD, [Batch(BATCH, (), 1.0)])
    os.environ.update(server.environment)
    store = S3Store(server.bucket, "covfleet", S3Settings(), server.endpoint_url)
    store.put(BuildKeys(commit, BUILD).plan, to_json(plan))


def _compare(sent: Path, got: Path) -> None:
    """Exit if what came back isn't what was sent."""
    names = sorted(path.name for path in sent.iterdir())
    found = sorted(path.name for path in got.iterdir())
    if names != found:
        sys.exit(f"{got} holds {len(found)} files instead of {len(names)}")
    for name in names:
        if data_file(sent / name, name) != data_file(got / name, name):
            sys.exit(f"{got / name} is not what was sent")


def _rows(costs: Mapping[str, Sequence[tuple[Cost, Cost]]]) -> Iterator[str]:
    yield "| | up, wall s | up, CPU s | down, wall s | down, CPU s |"
    yield "| --- | --- | --- | --- | --- |"
    medians = {name: [middle(part) for part in zip(*rounds, strict=True)] for name, rounds in costs.items()}
    for name, parts in medians.items():
        cells = []
        for part, base in zip(parts, medians[BASE], strict=True):
            cells.append(f"{part.wall_s:.2f} (**{base.wall_s / part.wall_s:.1f}x**)")
            cells.append(f"{part.cpu_s:.2f} ({base.cpu_s / part.cpu_s:.1f}x)")
        yield f"| {name} | {' | '.join(cells)} |"
