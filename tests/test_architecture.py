"""Imports go one way: cli -> commands -> flow -> beside the stages -> stages -> store, worker -> ports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pipeline" / "covfleet"
WORKER = PACKAGE.parent / "covfleet_worker"

BASE = {"errors", "files", "model", "text"}
SEAMS = BASE | {"settings", "ports"}
SHARED = SEAMS | {"store", "worker"}
STAGES = {"image", "plan", "shard", "combine", "report", "gate", "publish"}
BESIDE = {"watch", "byhand", "doctor", "jenkins"}

ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(BASE, BASE),
    **dict.fromkeys(("settings", "ports"), SEAMS),
    **dict.fromkeys(("store", "worker"), SHARED),
    **dict.fromkeys(STAGES, SHARED),
    **dict.fromkeys(("watch", "byhand", "doctor"), SHARED | STAGES),
    "jenkins": SHARED | {"watch"},
    "adapters": SEAMS,
    "flow": SHARED | STAGES | BESIDE,
    "commands": SHARED | STAGES | BESIDE | {"adapters", "flow"},
    "cli": BASE | {"commands"},
    "__main__": {"cli"},
}
"""For each part: the parts that it may import beside itself."""

EDGES = {"adapters", "commands", "cli"}
"""What may know the libraries that touch the world."""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything from the package that a file imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= (path.parent == WORKER), f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == PACKAGE.name)


def part_of(path: Path) -> str:
    """Return the folder of the package, or the single file, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    """Return the package's files, but for its own docstring."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


def offences(path: Path) -> list[str]:
    """Return what a file imports against the rules, as a reader would look it up."""
    part = part_of(path)
    return [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {part} may not import {name}"
        for line, name in imports(path)
        if "." in name and name.split(".")[1] not in ALLOWED[part] | {part}
    ]


def module_of(path: Path) -> str:
    """Return the dotted name of a file."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def graph() -> dict[str, set[str]]:
    """Return for each module those of the package that it imports."""
    modules = {module_of(path): path for path in files()}
    return {
        module: {
            target
            for _, name in imports(path)
            for target in (name, name.rpartition(".")[0])
            if target in modules and target != module
        }
        for module, path in modules.items()
    }


def test_every_part_has_its_line() -> None:
    assert {part_of(path) for path in files()} == ALLOWED.keys()


def test_imports_go_one_way() -> None:
    found = [offence for path in files() for offence in offences(path)]
    assert not found, "\n".join(found)


def test_no_import_goes_round_in_a_circle() -> None:
    known, done = graph(), set[str]()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for target in sorted(known[module]):
                visit(target, (*way, module))
            done.add(module)

    for module in sorted(known):
        visit(module, ())


def test_commands_and_stages_know_nothing_of_each_other() -> None:
    """What several commands need lies in ``commands/common``, what several stages need in the store."""
    commands = PACKAGE / "commands"
    for path in commands.glob("*.py"):
        for line, name in imports(path):
            other = name.split(".")[2] if name.startswith("covfleet.commands.") else "common"
            assert other == "common", f"{path}:{line}: {name}"
    for part in STAGES:
        assert not ALLOWED[part] & STAGES


def test_rooms_stay_small_enough_to_see() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 9
    for path in [*files(), *WORKER.glob("*.py")]:
        text = path.read_text("utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"


@pytest.mark.parametrize("name", ["docker", "boto3", "botocore", "click", "jenkins", "requests"])
def test_libraries_of_the_edges_stay_at_the_edges(name: str) -> None:
    for path in files():
        if part_of(path) in EDGES:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert name not in {module.split(".")[0] for module in modules}, f"{path} imports {name}"


@pytest.mark.parametrize("path", sorted(WORKER.glob("*.py")), ids=lambda path: path.name)
def test_the_worker_stands_alone(path: Path) -> None:
    """It is mounted into containers that have nothing of covfleet's."""
    assert not list(imports(path))


def test_an_offender_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path / "covfleet")
    path = tmp_path / "covfleet" / "gate" / "stage.py"
    path.parent.mkdir(parents=True)
    path.write_text("def f():\n    from covfleet.adapters.docker.engine import DockerEngine\n")
    assert offences(path) == [
        "covfleet/gate/stage.py:2: gate may not import covfleet.adapters.docker.engine.DockerEngine"
    ]
