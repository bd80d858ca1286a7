"""pytest's own options where many workers share a run: each row of README.md's table."""

from __future__ import annotations

import pytest
from covfleet.errors import ConfigurationError
from support.fleets import SHOP, SHOP_LINES, run_fleet, stock
from support.runs import new_build, write_project

GOOD = {f"tests/test_{n}.py::test_add": "passed" for n in range(1, 5)}

IGNORED = {  # in addopts: the option, and what names it in the note
    "-x": "-x/--maxfail",
    "--maxfail=1": "-x/--maxfail",
    "--sw": "--stepwise",
    "--lf": "--lf/--last-failed",
    "--ff": "--ff/--failed-first",
    "--nf": "--nf/--new-first",
    "-n auto": "-n/--numprocesses",
    "-n 2 --dist loadfile": "--dist",
    "-n 2 --maxprocesses 1": "--maxprocesses",
    "-d --tx 2*popen": "--tx",
    "--pdb": "--pdb",
    "--trace": "--trace",
    "--junitxml=out.xml": "--junitxml",
    "--durations=3": "--durations",
    "--pastebin=failed": "--pastebin",
}
REFUSED = {  # given: the option, and what to do instead
    **{option: "pytest's " + flag for option, flag in IGNORED.items()},
    "--co": "covfleet plan --dry-run",
    "--setup-only": "--setup-only",
    "--setup-plan": "--setup-plan",
    "--fixtures": "--fixtures",
    "--markers": "--markers",
    "--cache-show": "--cache-show",
    "--help": "--help",
}
HARMLESS = {
    "of output": "-v -ra --tb=short --color=no -s --no-header",
    "of plugins": "-p no:xdist -p no:pytest_cov",
    "of pytest's own plugins": "-p no:cacheprovider -p no:terminal -p no:junitxml -p no:debugging",
    "of no processes": "-n 0",
    "of pytest-cov": "--cov=shop --cov-report=xml:out.xml",
    "of selection": "--strict-markers --import-mode=importlib --deselect tests/test_9.py",
}


def with_addopts(options: str) -> dict[str, str]:
    return {
        **SHOP,
        "pyproject.toml": SHOP["pyproject.toml"].replace("testpaths", f"addopts = '{options}'\ntestpaths"),
    }


@pytest.mark.parametrize("options", IGNORED)
def test_what_a_project_always_says_does_not_break_a_shared_run(tmp_path, options):
    project = write_project(tmp_path, with_addopts(options))
    (project / "tests" / "test_0.py").write_text("def test_fails(): assert False\n")
    build = new_build(project, shards=2)
    plan = build.plan()
    build.run_shard(plan)
    verdicts = {test: outcome.outcome for test, outcome in build.outcomes().items()}
    assert verdicts == {**GOOD, "tests/test_0.py::test_fails": "failed"}
    assert any(f"{IGNORED[options]} of addopts is ignored" in text for text in build.said)
    assert any(f"{IGNORED[options]} of addopts is ignored" in text for text in build.notes())
    assert not (project / "out.xml").exists()


def test_what_somebody_asks_for_in_this_run_is_refused_by_name(tmp_path):
    project = write_project(tmp_path, SHOP)
    for options, said in REFUSED.items():
        with pytest.raises(ConfigurationError, match="can't be used here") as caught:
            new_build(project, pytest_args=tuple(options.split())).plan()
        assert said in str(caught.value), options
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("options", ["--co", "--setup-plan", "--fixtures", "--version"])
def test_what_runs_no_test_is_refused_in_addopts_as_well(tmp_path, options):
    with pytest.raises(ConfigurationError, match="in addopts or PYTEST_ADDOPTS, runs no test"):
        new_build(write_project(tmp_path, with_addopts(options))).plan()


@pytest.mark.parametrize("where", ["addopts", "given", "PYTEST_ADDOPTS"])
@pytest.mark.parametrize("kind", HARMLESS)
def test_what_contradicts_nothing_is_honoured_and_needs_no_note(tmp_path, kind, where, monkeypatch):
    project = write_project(tmp_path, with_addopts(HARMLESS[kind]) if where == "addopts" else SHOP)
    if where == "PYTEST_ADDOPTS":
        monkeypatch.setenv("PYTEST_ADDOPTS", HARMLESS[kind])
    given = tuple(HARMLESS[kind].split()) if where == "given" else ()
    fleet = run_fleet(project, 1, pytest_args=given)
    assert fleet.verdicts == GOOD
    assert fleet.lines == SHOP_LINES
    assert "ignored" not in fleet.said
    assert not (project / "out.xml").exists()


@pytest.mark.parametrize("shards", [1, 2])
def test_a_project_without_plugins_runs_as_it_does_alone(tmp_path, shards, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    project = write_project(tmp_path, with_addopts("-x"))
    assert stock(project).returncode == 0
    assert run_fleet(project, shards).verdicts == GOOD


def test_the_project_s_command_line_looks_as_it_does_alone(tmp_path):
    """Nothing that nobody wrote stands in ``sys.argv`` but the place of the cache."""
    code = "import sys\ndef test_argv(): assert sys.argv[1:-2] == ['-k', 'argv'] and sys.argv[-2] == '-o'\n"
    fleet = run_fleet(write_project(tmp_path, {"test_argv.py": code}), 1, pytest_args=("-k", "argv"))
    assert fleet.verdicts == {"test_argv.py::test_argv": "passed"}


def test_each_worker_has_a_folder_of_its_own_in_basetemp(tmp_path):
    """pytest empties that folder when it starts: workers would delete each other's files."""
    code = """
        def test_keeps_its_files(tmp_path_factory):
            mine = tmp_path_factory.getbasetemp()
            assert mine.parent.name == "scratch"
            (mine / "file").touch()
    """
    files = {f"test_{n}.py": code for n in range(4)}
    project = write_project(tmp_path, files)
    fleet = run_fleet(project, 2, pytest_args=(f"--basetemp={project}/scratch",), procs=2)
    assert set(fleet.verdicts.values()) == {"passed"}
    used = [folder for folder in (project / "scratch").iterdir() if (folder / "file").exists()]
    assert {folder.name for folder in used} <= {
        f"shard-{shard}-{slot}" for shard in (1, 2) for slot in (0, 1)
    }


def test_last_failed_with_a_strict_config_and_no_cache_is_still_no_error(tmp_path):
    project = write_project(tmp_path, with_addopts("--strict-config -p no:cacheprovider"))
    assert stock(project).returncode == 0
    assert run_fleet(project, 1).verdicts == GOOD
