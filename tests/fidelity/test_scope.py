"""Every file that the project's settings select is in the figure, or named: small projects, run for real."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import oracle
from support.oracle import PYTEST, SHOP, Figures

VERSION = "__version__ = '1'\n\n\ndef used():\n    return 1\n\n\ndef unused():\n    return 2\n"
USES_VERSION = "from shop._version import used\n\n\ndef test_version():\n    assert used() == 1\n"


@dataclass(frozen=True)
class Layout:
    """A project: coverage.py's settings, files beside the base project's, and what git ignores."""

    run: str
    files: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    pytest: str = PYTEST
    names: tuple[str, ...] = ("shop/__init__.py",)  # that must be in the figure, whatever stock says

    def write(self, root: Path) -> Path:
        return oracle.app(root, f"{self.pytest}[tool.coverage.run]\n{self.run}", self.files, **self.ignored)


SRC = {"shop/__init__.py": "", "src/shop/__init__.py": SHOP}
FROM_SRC = PYTEST.replace('["."]', '["src"]')
GENERATED = {"shop/_version.py": VERSION, "tests/test_v.py": USES_VERSION}
LAYOUTS = {
    "a generated file in source": Layout(
        'source = ["shop"]', GENERATED, {"file": "_version.py"}, names=("shop/_version.py",)
    ),
    "a generated file in a folder of sources": Layout(
        'source = ["src"]',
        {**SRC, "src/shop/_version.py": VERSION, "tests/test_v.py": USES_VERSION},
        {"file": "src/shop/_*"},
        FROM_SRC,
        ("src/shop/_version.py",),
    ),
    "a generated file without source": Layout(
        "", GENERATED, {"file": "_version.py"}, names=("shop/_version.py", "tests/test_v.py")
    ),
    "a generated file that include selects": Layout(
        'include = ["shop/*"]', GENERATED, {"file": "_version.py"}, names=("shop/_version.py",)
    ),
    "a generated file of source_pkgs": Layout(
        'source_pkgs = ["shop"]', GENERATED, {"file": "_version.py"}, names=("shop/_version.py",)
    ),
    "a generated file that nothing imports": Layout(
        'source = ["shop"]', {"shop/_idle.py": VERSION}, {"file": "_idle.py"}, names=("shop/_idle.py",)
    ),
    "an ignored file that omit leaves out": Layout(
        'source = ["shop"]\nomit = ["*/_version.py"]', GENERATED, {"file": "_version.py"}
    ),
    "an ignored folder in source": Layout(
        'source = ["."]',
        {"build/made/mod.py": VERSION, "tests/test_m.py": USES_VERSION.replace("shop._version", "made.mod")},
        {"folder": "build/"},
        PYTEST.replace('["."]', '[".", "build"]'),
        ("build/made/mod.py", "tests/test_m.py"),
    ),
    "packages that nothing imports": Layout(
        'source = ["shop"]',
        {"shop/idle/__init__.py": "X = 1\n", "shop/idle/a.py": VERSION, "shop/idle/b/__init__.py": VERSION},
        names=("shop/idle/b/__init__.py",),
    ),
    "namespace packages that nothing imports": Layout(
        'source = ["ns", "shop"]\n[tool.coverage.report]\ninclude_namespace_packages = true',
        {"ns/a/mod.py": VERSION, "ns/b/deep/mod.py": VERSION},
        names=("ns/a/mod.py", "ns/b/deep/mod.py"),
    ),
    "several roots with different names": Layout(
        'source = ["one", "two"]',
        {**SRC, "one/shop/__init__.py": SHOP, "src/shop/__init__.py": "", "two/store/__init__.py": VERSION},
        pytest=PYTEST.replace('["."]', '["one", "two"]'),
        names=("one/shop/__init__.py", "two/store/__init__.py"),
    ),
    "files of one name in several roots": Layout(
        'source = ["one", "two"]',
        {"shop/__init__.py": "", "one/shop/__init__.py": SHOP, "two/shop/__init__.py": VERSION},
        pytest=PYTEST.replace('["."]', '["one"]'),
        names=("one/shop/__init__.py", "two/shop/__init__.py"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_figure_has_the_files_and_lines_of_a_serial_run(tmp_path: Path, name: str, shards: int) -> None:
    layout = LAYOUTS[name]
    project = layout.write(tmp_path / "app")
    expected = oracle.stock(project, tmp_path)
    assert set(layout.names) <= expected.files.keys()
    done = oracle.run(project, shards)
    assert done.returncode == 0, done.stderr
    assert Figures.read(oracle.reports(project) / "coverage.json") == expected
    assert oracle.ledger(project)["verdict"] == "complete"
    assert_xml_adds_up(project, expected)


def assert_xml_adds_up(project: Path, expected: Figures) -> None:
    """Check that coverage.xml has each statement once, below paths that are the project's."""
    tree = ET.parse(oracle.reports(project) / "coverage.xml").getroot()
    sources = [element.text or "" for element in tree.iter("source")] or [""]
    lines: Counter[tuple[str, int]] = Counter()
    for element in tree.iter("class"):
        places = {_placed(project, source, element.attrib["filename"]) for source in sources} - {""}
        assert len(places) == 1, (sources, element.attrib)
        lines.update((*places, int(line.attrib["number"])) for line in element.iter("line"))
    assert set(lines.values()) == {1}
    assert len(lines) == int(tree.attrib["lines-valid"]) == expected.total["num_statements"]
    assert int(tree.attrib["lines-covered"]) == expected.total["covered_lines"]


def _placed(project: Path, source: str, filename: str) -> str:
    """Return the file that a reader finds, from the repository's root; empty if there is none."""
    path = Path(filename) if Path(source).is_absolute() else Path(source, filename)
    return path.as_posix() if (project / path).is_file() else ""


def test_a_generated_file_is_taken_along_by_name_and_does_not_rename_the_commit(tmp_path: Path) -> None:
    layout = LAYOUTS["a generated file in source"]
    project = layout.write(tmp_path / "app")
    done = oracle.run(project, 1)
    assert "1 file that git doesn't list, but coverage.py measures: shop/_version.py" in done.stderr
    first = oracle.ledger(project)["commit"]
    (project / "shop" / "_version.py").write_text(VERSION + "\n\nLATER = 2\n")
    assert oracle.run(project, 1).returncode == 0
    assert oracle.ledger(project)["commit"] == first
    files = Figures.read(oracle.reports(project) / "coverage.json").files
    assert 12 in files["shop/_version.py"][0]


def test_a_virtual_environment_in_source_is_never_taken_along(tmp_path: Path) -> None:
    files = {"env/pyvenv.cfg": "home = /nowhere\n", "env/lib/thing.py": VERSION}
    namespaces = "[tool.coverage.report]\ninclude_namespace_packages = true"
    layout = Layout(f'source = ["."]\n{namespaces}', files, {"folder": "env/"})
    project = layout.write(tmp_path / "app")
    done = oracle.run(project, 1)
    assert done.returncode == 0, done.stderr
    assert "env/lib/thing.py" not in Figures.read(oracle.reports(project) / "coverage.json").files
    (note,) = [note for note in oracle.ledger(project)["notes"] if "virtual environment" in note]
    assert "env/lib/thing.py" in note and "`omit`" in note
    assert note in done.stdout and "env/lib/thing" in (oracle.reports(project) / "summary.md").read_text()


def test_a_link_that_leads_out_of_the_project_is_not_taken_along(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("TOKEN = 1\n")
    project = Layout('source = ["shop"]', {}, {"file": "linked.py"}).write(tmp_path / "app")
    (project / "shop" / "linked.py").symlink_to(tmp_path / "secret.py")
    oracle.run(project, 1)
    assert "linked.py" not in {path.rpartition("/")[2] for path in _planned(project)}


def _planned(project: Path) -> set[str]:
    (plan,) = (project / ".covfleet" / "store").rglob("plan.json")
    return {source["path"] for source in json.loads(plan.read_text("utf-8"))["sources"]}


@pytest.mark.parametrize("shards", [1, 2])
def test_a_copy_that_ran_instead_is_a_conflict_with_the_rule_that_maps_it(
    tmp_path: Path, shards: int
) -> None:
    layout = Layout('source = ["shop", "tests"]', SRC, pytest=PYTEST.replace('["."]', '["../deployed"]'))
    project = layout.write(tmp_path / "app")
    shutil.copytree(project / "src", tmp_path / "deployed")
    done = oracle.run(project, shards)
    assert done.returncode == 5
    rule = f'[tool.coverage.paths]\nsrc = ["src", "{tmp_path}/deployed"]\n'
    assert rule in done.stderr
    pyproject = project / "pyproject.toml"
    pyproject.write_text(f"{pyproject.read_text()}\n{rule}")
    done = oracle.run(project, shards)
    assert done.returncode == 0, done.stderr
    files = Figures.read(oracle.reports(project) / "coverage.json").files
    assert files["src/shop/__init__.py"] == ((1, 2, 4), (3,))


def test_a_mapped_copy_with_another_content_is_a_conflict(tmp_path: Path) -> None:
    deployed = tmp_path / "deployed"
    paths = f'[tool.coverage.paths]\nsrc = ["src", "{deployed}"]'
    layout = Layout(
        f'source = ["shop", "tests"]\n{paths}', SRC, pytest=PYTEST.replace('["."]', '["../deployed"]')
    )
    project = layout.write(tmp_path / "app")
    shutil.copytree(project / "src", deployed)
    (deployed / "shop" / "__init__.py").write_text(f"import os\n\n{SHOP}")
    done = oracle.run(project, 1)
    assert done.returncode == 5
    assert "conflict: src/shop/__init__.py: ran with another content than was planned" in done.stderr


def test_what_tests_copy_to_a_folder_of_their_own_is_no_conflict(tmp_path: Path) -> None:
    test = """
        import importlib.util
        import shutil


        def test_copy(tmp_path):
            copy = shutil.copytree("shop", tmp_path / "shop") / "__init__.py"
            spec = importlib.util.spec_from_file_location("copied", copy)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            assert module.add(1, 2) == 3
        """
    project = Layout("", {"tests/test_copy.py": test}).write(tmp_path / "app")
    done = oracle.run(project, 1)
    assert done.returncode == 0, done.stderr
    assert oracle.ledger(project)["outside"]


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("source", ["shop", "."])
def test_a_package_imported_from_another_place_is_a_conflict_that_names_it(
    tmp_path: Path, source: str, shards: int
) -> None:
    layout = Layout(f'source = ["{source}"]', pytest=PYTEST.replace('["."]', '["../stale"]'))
    project = layout.write(tmp_path / "app")
    stale = tmp_path / "stale" / "shop" / "__init__.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("def add(a, b):\n    return a + b\n")
    done = oracle.run(project, shards)
    assert done.returncode == 5
    assert "conflict: shop: nothing of it was executed: the tests imported shop from " in done.stderr
    assert str(stale) in done.stderr


def test_a_package_installed_in_the_project_s_own_environment_is_a_conflict(tmp_path: Path) -> None:
    library = "env/lib/python3/site-packages"
    files = {"env/pyvenv.cfg": "home = /nowhere\n", f"{library}/shop/__init__.py": SHOP}
    layout = Layout('source = ["."]', files, {"folder": "env/"}, PYTEST.replace('["."]', f'["{library}"]'))
    project = layout.write(tmp_path / "app")
    done = oracle.run(project, 1)
    assert done.returncode == 5
    assert f"the tests imported shop from {project}/{library}/shop/__init__.py" in done.stderr


def test_a_source_of_which_nothing_ran_is_not_complete(tmp_path: Path) -> None:
    files = {"shop/__init__.py": "", "lone/__init__.py": SHOP} | {
        f"tests/test_{n}.py": "def test_one():\n    assert True\n" for n in range(1, 5)
    }
    project = Layout('source = ["lone"]', files).write(tmp_path / "app")
    done = oracle.run(project, 2)
    assert done.returncode == 5
    assert "lone: nothing of it was executed, though `source` selects it and 4 tests passed" in done.stderr


def test_one_source_of_several_of_which_nothing_ran_is_said_first(tmp_path: Path) -> None:
    project = Layout('source = ["shop", "lone"]', {"lone/__init__.py": SHOP}).write(tmp_path / "app")
    done = oracle.run(project, 1)
    assert done.returncode == 0, done.stderr
    note = "nothing of lone was executed, which `source` selects"
    assert oracle.ledger(project)["notes"][0] == note
    assert note in done.stdout


def test_a_file_that_tests_write_into_source_makes_the_build_partial(tmp_path: Path) -> None:
    test = """
        import importlib
        import pathlib


        def test_generate():
            pathlib.Path("shop/late.py").write_text("VALUE = 1\\n")
            importlib.invalidate_caches()
            import shop.late

            assert shop.late.VALUE == 1
        """
    project = Layout('source = ["shop"]', {"tests/test_late.py": test}).write(tmp_path / "app")
    done = oracle.run(project, 1)
    assert done.returncode == 5
    assert "missing: shop/late.py: was written while the tests ran" in done.stderr


def test_a_file_that_changed_after_planning_is_a_conflict(tmp_path: Path) -> None:
    project = Layout('source = ["shop"]').write(tmp_path / "app")
    assert oracle.covfleet(project, "plan", "--build", "b", "--shards", "1").returncode == 0
    (project / "shop" / "__init__.py").write_text(f"import os\n\n{SHOP}")
    commit = next((project / ".covfleet" / "store").rglob("plan.json")).parents[2].name
    oracle.covfleet(project, "shard", "1", "--build", "b", "--commit", commit)
    done = oracle.covfleet(project, "combine", "--build", "b", "--commit", commit)
    assert done.returncode == 5
    assert "conflict: shop/__init__.py: ran with another content than was planned" in done.stderr


def test_a_source_outside_of_the_project_is_named_with_what_to_do(tmp_path: Path) -> None:
    files = {"part/pyproject.toml": "", "shop/__init__.py": "", "sibling/shop/__init__.py": SHOP}
    settings = PYTEST.replace('["."]', '["../sibling"]')
    files["part/pyproject.toml"] = f'{settings}[tool.coverage.run]\nsource = ["../sibling"]\n'
    files["part/tests/test_part.py"] = (
        "from shop import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
    )
    project = Layout("", files).write(tmp_path / "app") / "part"
    done = oracle.run(project, 1)
    assert done.returncode == 5
    outside = tmp_path / "app" / "sibling" / "shop" / "__init__.py"
    assert f"missing: {outside}: is measured, but lies outside of the project" in done.stderr


def test_no_tests_are_said_with_the_folder_in_which_there_are_none(tmp_path: Path) -> None:
    project = Layout('source = ["shop"]', {"empty/pyproject.toml": "[tool.covfleet]\n"}).write(
        tmp_path / "app"
    )
    done = oracle.run(project / "empty", 1)
    assert done.returncode == 2
    assert f"pytest collected no tests in {project / 'empty'}" in done.stderr
