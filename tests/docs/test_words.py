"""What the documentation says exists: commands, options, settings, variables, paths, links, tests."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tomllib

import click
from covfleet import cli, errors
from covfleet.settings.load import _keys, _path_of_variable
from covfleet.settings.schema import Settings
from pydantic import ValidationError
from reference.commands import walk
from reference.exit_codes import promised
from support.documents import DOCS, FILES, ROOT, TOP, anchors, blocks, inline, parse, shell_lines, words

TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in FILES}
COVERAGE_PY = {"show_contexts", "patch"}
"""Settings of coverage.py that the documentation names."""
OF_SCRIPTS = {"COVFLEET_CONSTRAINTS"}
"""Variables of `scripts/` alone."""
OF_WORKERS = {"COVFLEET_BUILD", "COVFLEET_SHARD", "COVFLEET_SLOT", "COVFLEET_WORKER"}
"""What the tests are told; checked by `tests/fidelity/test_identity.py`."""


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) < 10_000


def test_every_command_line_is_one_that_covfleet_takes():
    wrong = []
    for name, text in TEXTS.items():
        for line in shell_lines(text):
            program, *arguments = words(line) or [""]
            if program.endswith("scripts/combine"):
                arguments = ["recombine", *arguments]
            elif program != "covfleet":
                continue
            try:
                parse(arguments)
            except click.UsageError as error:
                wrong.append(f"{name}: {line}: {error.format_message()}")
    assert not wrong


def test_every_command_in_a_sentence_exists_with_its_options():
    wrong = []
    for name, text in TEXTS.items():
        for code in inline(text):
            program, *arguments = [{"K": "1"}.get(word, word) for word in words(code)] or [""]
            if program != "covfleet" or arguments in ([], ["jenkins"]) or arguments[0] in ("COMMAND", "="):
                continue
            try:
                with contextlib.suppress(click.MissingParameter):  # a sentence need not name everything
                    parse(arguments)
            except click.UsageError as error:
                wrong.append(f"{name}: {code}: {error.format_message()}")
    assert not wrong


def test_the_readme_shows_the_commands_that_people_begin_with():
    shown = {" ".join(words(line)[1:2]) for line in shell_lines(TEXTS["README.md"])}
    assert shown >= {"run", "jenkins", "builds"}


def test_every_option_in_a_sentence_is_one_of_a_command_or_a_script():
    options = {name for _, each in walk(cli.app) for param in each.params for name in _names(param)}
    code_of_scripts = [
        path for path in (ROOT / "scripts").rglob("*") if path.is_file() and path.suffix != ".pyc"
    ]
    scripts = "".join(path.read_text("utf-8") for path in code_of_scripts)
    asked = [sys.executable, "-m", "pytest", "--help"]  # with the plugins of the tests' own environment
    of_pytest = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    options |= {*re.findall(r"--[a-z][a-z-]+", of_pytest)}
    named = [
        (name, option[0])
        for name, text in TEXTS.items()
        for code in inline(text)
        if (option := re.match(r"--[a-z][a-z-]+", code))
    ]
    assert named
    assert [each for each in named if each[1] not in options and each[1] not in scripts] == []


def _names(param: click.Parameter) -> list[str]:
    return [*param.opts, *param.secondary_opts, "--help"]


def test_every_setting_in_a_sentence_exists():
    keys = set(_keys(Settings)) | COVERAGE_PY
    ends = {key.rpartition(".")[2] for key in keys}
    wrong = []
    for name, text in TEXTS.items():
        if name.startswith("docs/reference/"):  # its tables hold the ends of keys, and other things
            continue
        for code in inline(text):
            key, assigned, _ = code.partition(" = ")
            if re.fullmatch(r"(image|container|s3|gate|publish|jenkins)(\.[a-z0-9_]+)+", key):
                wrong += [f"{name}: {code}"] * (key not in keys)
            elif re.fullmatch(r"[a-z_]+", key) and (assigned or key.endswith("_s")):
                wrong += [f"{name}: {code}"] * (key not in ends)
    assert not wrong


def test_every_settings_file_that_is_shown_is_valid():
    wrong = []
    for name, text in TEXTS.items():
        for code in blocks(text, "toml"):
            try:
                Settings.model_validate(tomllib.loads(code).get("tool", {}).get("covfleet", {}))
            except ValidationError as error:
                wrong.append(f"{name}: {error}")
    assert not wrong


def test_every_variable_exists():
    named = [
        (name, each) for name, text in TEXTS.items() for each in re.findall(r"\bCOVFLEET_\w*[A-Z0-9]\b", text)
    ]
    assert named
    unknown = [
        each
        for each in named
        if each[1] not in OF_SCRIPTS | OF_WORKERS
        and not each[1].startswith("COVFLEET_TEST_")
        and not _path_of_variable(each[1])
    ]
    assert unknown == []


def test_every_path_of_the_checkout_is_there():
    folders = r"scripts|pipeline|tests|examples|docker|docs|templates|\.ci|\.github"
    named = [
        (name, path)
        for name, text in TEXTS.items()
        for path in re.findall(rf"`((?:\./)?(?:{folders})/[\w./-]*)`", text)
        if ".covfleet" not in path  # what a run makes
    ]
    assert named
    assert [each for each in named if not (ROOT / each[1]).exists()] == []
    modules = re.findall(
        r"`([a-z_]+/[a-z_]+\.py)`", TEXTS["CONTRIBUTING.md"]
    )  # by which a reader finds the way
    places = [ROOT / "pipeline" / "covfleet", ROOT / "pipeline", ROOT]
    assert modules
    assert [each for each in modules if not any((place / each).exists() for place in places)] == []


def test_every_link_of_what_is_not_on_the_site_leads_somewhere():
    wrong = []
    for path in (*TOP, ROOT / "tests" / "README.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
            if "://" in target:
                continue
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            if not there.exists() or (anchor and anchor not in anchors(there)):
                wrong.append(f"{path.name}: {target}")
    assert not wrong


def test_every_exit_code_is_explained_and_promised_by_the_help():
    ours = {error.exit_code for error in vars(errors).values() if isinstance(error, type)}
    assert set(promised()) == ours | {0}
    page = (DOCS / "reference" / "exit-codes.md").read_text("utf-8")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == ours | {0}


def test_every_test_that_the_table_of_faults_names_is_in_its_folder():
    shown = re.findall(r"`(\w+)/`: ((?:`test_\w+`(?:, )?)+)", TEXTS["tests/README.md"])
    assert shown
    for folder, names in shown:
        code = "".join(path.read_text("utf-8") for path in (ROOT / "tests" / folder).glob("test_*.py"))
        for name in re.findall(r"\w+", names):
            assert f"def {name}(" in code, f"{folder}/ has no {name}"
