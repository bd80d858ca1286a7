"""scripts/combine: finds what runs the combiner, and gives a container what it needs, and no secret in sight.

In the first tests a program that writes down how it was called stands in for ``docker``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from support.left_builds import COMMIT, Shards, content, folder_place, s3_place
from support.seaweed import Seaweed

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "combine"

DOCKER = """#!{python}
import json, os, sys
if sys.argv[1:2] == ["run"]:
    with open({log!r}, "w") as file:
        json.dump([sys.argv, dict(os.environ)], file)
sys.exit(int(os.environ.get("DOCKER_STATUS", "0")))
"""


def combine(
    *arguments: str | Path, script: Path = SCRIPT, cwd: Path = Path("/"), **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", script, *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd)} | environ,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def bare_tools(folder: Path) -> Path:
    """Make a folder for PATH with what the script itself calls, and nothing that could run a combiner."""
    folder.mkdir()
    for name in ("dirname", "id", "mkdir", "mktemp"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


class Machine:
    """A machine with this script alone, and an engine that only says how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "combine"
        self._log = folder / "log"
        shutil.copy(SCRIPT, self.script)
        program = bare_tools(folder / "bin") / "docker"
        program.write_text(DOCKER.format(python=sys.executable, log=str(self._log)))
        program.chmod(0o755)

    def run(self, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        told = {"PATH": f"{self.folder / 'bin'}", "COMBINER_IMAGE": "registry/combiner:1", **environ}
        return combine(*arguments, script=self.script, cwd=self.folder, **told)

    def called(self) -> tuple[list[str], dict[str, str]]:
        arguments, environment = json.loads(self._log.read_text())
        return arguments, environment


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_wrong_choice_ends_with_2() -> None:
    ran = combine("abc", COMBINE_WITH="podman")
    assert ran.returncode == 2
    assert "COMBINE_WITH is podman" in ran.stderr


def test_a_machine_with_neither_ends_with_6_and_says_what_would_help(tmp_path: Path) -> None:
    script = shutil.copy(SCRIPT, tmp_path / "combine")
    ran = combine("abc", script=Path(script), PATH=str(bare_tools(tmp_path / "bin")))
    assert ran.returncode == 6
    assert "pip install covfleet" in ran.stderr


def test_an_engine_that_does_not_answer_ends_with_6(machine: Machine) -> None:
    ran = machine.run("abc", COMBINE_WITH="docker", DOCKER_STATUS="1")
    assert ran.returncode == 6
    assert "no Docker engine answers" in ran.stderr


@pytest.mark.parametrize("flag", ["--store", "--site"])
def test_a_folder_that_is_not_there_ends_with_2(machine: Machine, flag: str) -> None:
    ran = machine.run("abc", flag, "absent")
    assert ran.returncode == 2
    assert "there is no folder absent" in ran.stderr


def test_a_folder_that_docker_would_misread_ends_with_2(machine: Machine) -> None:
    (machine.folder / "a,readonly").mkdir()
    ran = machine.run("abc", "--store", "a,readonly")
    assert ran.returncode == 2
    assert "can't mount" in ran.stderr


def test_credentials_pass_by_name_only(machine: Machine) -> None:
    secrets = {
        "AWS_ACCESS_KEY_ID": "key-1",
        "AWS_SECRET_ACCESS_KEY": "secret-2",
        "AWS_SESSION_TOKEN": "session-token-3",
    }
    assert machine.run("abc", "--store", "s3://b/p", **secrets).returncode == 0
    arguments, environment = machine.called()
    for name, value in secrets.items():
        assert arguments[arguments.index(name) - 1] == "--env"
        assert environment[name] == value
        assert not any(value in argument for argument in arguments)


def test_credentials_in_files_are_shown_to_be_read_only(machine: Machine) -> None:
    (machine.folder / ".aws").mkdir()
    token = machine.folder / "token"
    token.write_text("secret")
    machine.run("abc", AWS_WEB_IDENTITY_TOKEN_FILE=str(token), AWS_CONFIG_FILE=os.devnull)
    arguments, _ = machine.called()
    mounts = [argument for argument in arguments if argument.startswith("type=bind")]
    assert mounts == [
        f"type=bind,source={token},target={token},readonly",
        f"type=bind,source={machine.folder}/.aws,target=/tmp/.aws,readonly",
    ]


def test_folders_are_found_in_every_way_of_writing_them(machine: Machine) -> None:
    for name in ("store", "a site"):
        (machine.folder / name).mkdir()
    ran = machine.run("abc", "--store=store", "--site", "a site", "--output", "new/out", "--build", "1 7")
    assert ran.returncode == 0, ran.stderr
    arguments, _ = machine.called()
    here = machine.folder
    assert arguments[-11:] == [
        *("registry/combiner:1", "recombine", "abc", "--store", f"{here}/store"),
        *("--site", f"{here}/a site", "--output", f"{here}/new/out", "--build", "1 7"),
    ]
    for folder in ("store", "a site", "new/out"):
        assert f"type=bind,source={here}/{folder},target={here}/{folder}" in arguments


def test_a_folder_in_a_variable_is_found_too(machine: Machine) -> None:
    (machine.folder / "store").mkdir()
    machine.run("abc", COVFLEET_STORE="store")
    arguments, environment = machine.called()
    store = f"{machine.folder}/store"
    assert f"type=bind,source={store},target={store}" in arguments
    assert environment["COVFLEET_STORE"] == store


def test_the_container_has_no_rights_that_it_does_not_need(machine: Machine) -> None:
    machine.run("abc")
    arguments, _ = machine.called()
    for words in ("--rm", "--read-only", "--cap-drop ALL", "--security-opt no-new-privileges"):
        assert words in " ".join(arguments)
    assert arguments[arguments.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"


def test_the_status_is_the_combiner_s(machine: Machine) -> None:
    for name in ("docker", "covfleet"):
        program = machine.folder / "bin" / name
        program.write_text('#!/bin/sh\n[ "$1" != run ] && [ "$1" != recombine ] || exit 5\n')
        program.chmod(0o755)
    assert machine.run("abc", COMBINE_WITH="docker").returncode == 5
    assert machine.run("abc", COMBINE_WITH="python").returncode == 5


def test_python_runs_it_from_anywhere_and_names_the_store_in_variables(tmp_path: Path) -> None:
    place = folder_place(tmp_path)
    shards = Shards(place.store, tmp_path)
    shards.finish(shards.plan("17"))
    ran = combine(COMMIT, COMBINE_WITH="python", COVFLEET_STORE=place.flags[1])
    assert ran.returncode == 0, ran.stderr
    assert "combined   2 data files, complete\n" in ran.stdout
    assert combine("absent", COMBINE_WITH="python", COVFLEET_STORE=place.flags[1]).returncode == 2


# ---- the real image

IMAGE = f"covfleet-test-combiner:{os.getpid()}"  # each process of the tests removes its own


@pytest.fixture(scope="module")
def image(base_image: str) -> Iterator[str]:
    """The combiner's image, built as the script builds it; it is called as somebody without rights."""
    made = subprocess.run(
        ["bash", SCRIPT, "--help"],
        env={**os.environ, "COMBINE_WITH": "docker", "COMBINER_BASE": base_image},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert "Usage: covfleet recombine" in made.stdout
    client = docker.from_env().api
    client.tag("covfleet-combiner", *IMAGE.split(":"))
    yield IMAGE
    client.remove_image(IMAGE, force=True)
    client.close()


def run_image(image: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the image as its comment says: a read-only root, no capability, its own user."""
    names = [word for name in environ for word in ("--env", name)]
    hardened = ("--rm", "--read-only", "--cap-drop", "ALL", "--network", "host", *names)
    return subprocess.run(
        ["docker", "run", *hardened, image, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.docker
def test_the_image_holds_neither_certificates_nor_pip_and_runs_as_nobody(image: str) -> None:
    client = docker.from_env().api
    config = client.inspect_image(image)["Config"]
    client.close()
    assert config["User"] == "65534:65534"
    assert not [entry for entry in config["Env"] if "CERT" in entry or "INDEX" in entry]
    shell = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c"]
    look = "id -u; find / -xdev -name ca.pem; ls /opt/venv/bin | grep -c '^pip' || true"
    looked = subprocess.run([*shell, look], capture_output=True, text=True, timeout=60, check=True)
    assert looked.stdout.split() == ["65534", "0"]


@pytest.mark.docker
@pytest.mark.s3
def test_the_image_alone_combines_what_is_in_a_bucket(
    image: str, seaweed: Seaweed, s3_url: str, tmp_path: Path
) -> None:
    place = s3_place(s3_url, seaweed)
    shards = Shards(place.store, tmp_path)
    build = shards.finish(shards.plan("17"))
    for times in (0, 2):
        ran = run_image(image, "recombine", COMMIT, *place.flags, **seaweed.environment)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.count("; unchanged") == times
    assert place.store.get(build.keys.report("html/index.html")).data
    refused = run_image(image, "recombine", COMMIT, *place.flags, **seaweed.environment | seaweed.reader())
    assert refused.returncode == 6
    assert "--output DIR" in refused.stderr


@pytest.mark.docker
def test_the_script_combines_a_folder_in_a_container(image: str, tmp_path: Path) -> None:
    place = folder_place(tmp_path)
    shards = Shards(place.store, tmp_path)
    shards.finish(shards.plan("17"), "1")
    docker_host = {
        "COMBINE_WITH": "docker",
        "COMBINER_IMAGE": image,
        "DOCKER_HOST": os.environ["DOCKER_HOST"],
    }

    def by_hand(*arguments: str) -> subprocess.CompletedProcess[str]:
        return combine(COMMIT, *place.flags, *arguments, cwd=tmp_path, **docker_host)

    assert by_hand().returncode == 5
    shards.finish(shards.plan("18", hour=4))
    before = content(place.store)
    ran = by_hand("--output", "out", "--site", "out/site")
    assert ran.returncode == 2  # there is no such folder before the first run
    ran = by_hand("--output", "out")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out" / "reports" / "coverage.xml").stat().st_uid == os.getuid()
    assert content(place.store) == before
    assert by_hand().returncode == 0
    assert content(place.store) != before
