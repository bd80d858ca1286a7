"""Imports go one way: cli -> commands -> flow -> stages -> ports, keys, settings, model, errors."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pipeline"
WORKER = "covfleet_worker"  # a package of its own where it runs

SEAMS = {"errors", "model", "keys", "ports", "settings", "controller"}
"""What everyone may know; settings and model least of all know anyone else."""

HELPERS = {
    "builds",
    "data_files",
    "transfer",
    "sources",
    "history",
    "reported",
    "reuse",
    "media",
    "resources",
    "status",
    "worker_client",
    "parallel",
    "soundness",
    "wording",
    "cores",
}
"""What stages share: reading and writing the store's documents, and speaking with a worker."""

ALLOWED: dict[str, set[str]] = {
    WORKER: set(),
    "errors": set(),
    "names": set(),
    "settings": {"model", "names"},
    "model": {"errors"},
    "keys": {"errors"},
    "ports": {"model"},
    "controller": set(),
    "resources": set(),
    "media": set(),
    "parallel": set(),
    "soundness": set(),
    "wording": set(),
    "site_pages": SEAMS | HELPERS,
    **dict.fromkeys(HELPERS - {"resources", "media", "parallel", "soundness", "wording"}, SEAMS | HELPERS),
    **dict.fromkeys(("image", "plan", "shard", "combine", "report", "gate"), SEAMS | HELPERS),
    "publish": SEAMS | HELPERS | {"site_pages"},
    "doctor": SEAMS | HELPERS | {"overhead"},
    "overhead": SEAMS | HELPERS,
    "fetch": SEAMS | HELPERS | {"combine"},
    "recombine": SEAMS | HELPERS | {"combine", "report", "publish"},
    "configure": {"errors", "settings"},
    "progress": {"status"},
    "rehearsal": SEAMS | HELPERS | {"combine", "report"},
    "follow": SEAMS | HELPERS | {"combine", "rehearsal", "progress"},
    "local_shards": SEAMS | HELPERS | {"progress"},
    "jenkins": SEAMS | HELPERS | {"progress"},
    "origin": {"errors", "model"},
    "adapters": SEAMS,
}
"""For each part: the parts that it may import. The rest (cli, commands, flow) may import all."""

ABOVE = {"cli", "commands", "flow"}
"""What nobody below may import."""


def part_of(module: str) -> str:
    """Return the part of the package that a dotted name belongs to."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything from the package that a file imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= (path.parent.name == WORKER), f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "pipeline" else [module]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "pipeline")


def files() -> list[tuple[str, Path]]:
    """Return the package's files with the part that each belongs to."""
    found = [(path.relative_to(PACKAGE), path) for path in sorted(PACKAGE.rglob("*.py"))]
    return [
        (relative.parts[0].removesuffix(".py"), path)
        for relative, path in found
        if relative.parts[0] != "_data"
    ]


def offences(part: str, path: Path) -> list[str]:
    """Return what a file imports against the rules, as a reader would look it up."""
    allowed = ALLOWED.get(part)
    return [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {part} may not import {name}"
        for line, name in imports(path)
        if part_of(name) != part and allowed is not None and part_of(name) not in allowed
    ]


def test_every_part_has_its_place() -> None:
    parts = {part for part, _ in files()} - {"__init__"}
    assert not parts - ALLOWED.keys() - ABOVE, "give each new part a line in ALLOWED"
    assert not ALLOWED.keys() - parts, "these parts are gone"


def test_imports_go_one_way() -> None:
    found = [offence for part, path in files() for offence in offences(part, path)]
    assert not found, "\n".join(found)


def test_flow_knows_no_adapter() -> None:
    for part in ("flow", "doctor"):
        for line, name in imports(PACKAGE / f"{part}.py"):
            assert part_of(name) not in {"adapters", "commands", "cli"}, f"{part}.py:{line}: {name}"


@pytest.mark.parametrize("name", ["docker", "boto3", "botocore", "click", "jenkins", "requests"])
def test_libraries_of_the_edges_stay_at_the_edges(name: str) -> None:
    edges = {"adapters", "commands", "cli"}
    for part, path in files():
        if part in edges:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert name not in {module.split(".")[0] for module in modules}, f"{path} imports {name}"


@pytest.mark.parametrize("path", sorted((PACKAGE / WORKER).glob("*.py")), ids=lambda path: path.name)
def test_the_worker_stands_alone(path: Path) -> None:
    """It is mounted into containers that have nothing of covfleet's."""
    assert not list(imports(path))


def test_an_offender_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path / "pipeline")
    (tmp_path / "pipeline").mkdir()
    path = tmp_path / "pipeline" / "gate.py"
    path.write_text("def f():\n    from pipeline.adapters.docker_engine import DockerEngine\n")
    assert offences("gate", path) == [
        "pipeline/gate.py:2: gate may not import pipeline.adapters.docker_engine"
    ]
