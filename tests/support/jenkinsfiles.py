"""Execute Jenkinsfiles without Jenkins: the harness in tests/jenkins/harness, on Groovy 2.4, as Jenkins."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.needs import missing

HARNESS = Path(__file__).parents[1] / "jenkins" / "harness"
TIMEOUT_S = 120
SHARD_LABEL, LIGHT_LABEL = "covfleet-shard", "covfleet"


def groovy_environment() -> dict[str, str]:
    """Return an environment in which Debian's ``groovy`` works; end the test if it isn't there.

    Its start script wants a default Java, or JAVA_HOME.
    """
    if not shutil.which("groovy") or not (java := shutil.which("java")):
        missing("Groovy", "apt-get install groovy")
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    home = os.environ.get("JAVA_HOME", f"{Path(java).resolve().parents[1]}")
    return environ | {"JAVA_HOME": home, "JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


@functools.cache
def _compiled() -> tempfile.TemporaryDirectory[str]:
    """Return a folder with the harness' classes, which goes with this process: compiling takes seconds."""
    folder = tempfile.TemporaryDirectory(prefix="covfleet-harness-")
    subprocess.run(
        ["groovyc", "-d", folder.name, *sorted(HARNESS.glob("*.groovy"))],
        env=groovy_environment(),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    return folder


@dataclass(frozen=True)
class Ended:
    """What became of a build."""

    folder: Path
    result: str
    log: str
    facts: dict[str, Any]

    def stage(self, name: str) -> str:
        """How a stage ended: DONE, SKIPPED or the kind of failure."""
        return next(str(stage["status"]) for stage in self.facts["stages"] if stage["name"] == name)

    def scripts(self) -> list[str]:
        """Every command that agents ran."""
        return [str(command["script"]) for command in self.facts["commands"]]

    def workspace_of(self, word: str) -> Path:
        """Where the last command with this word ran."""
        agent = next(c["agent"] for c in reversed(self.facts["commands"]) if word in c["script"].split())
        [workspace] = (self.folder / "agents" / agent / "workspace").iterdir()
        return workspace


@dataclass
class Job:
    """A job on a pretended controller: where its sources come from, and what its agents have."""

    folder: Path
    repository: Path | None = None
    branch: str = "main"
    base: str | None = None  # of a change: what Jenkins merges it into, on each agent
    name: str = "covfleet"
    environment: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)  # variables that agents have by themselves
    credentials: dict[str, dict[str, str]] = field(default_factory=dict)
    restart: str | None = None  # the stage that the next build begins with
    number: int = 0

    def build(self, jenkinsfile: str, **parameters: str | bool) -> Ended:
        """Run one build to its end. Fails if the Jenkinsfile uses what the harness doesn't know."""
        ran, ended = self.try_build(jenkinsfile, **parameters)
        assert ran.returncode == 0, ran.stderr + (ended.log if ended else "")
        assert ended is not None
        return ended

    def try_build(
        self, jenkinsfile: str, **parameters: str | bool
    ) -> tuple[subprocess.CompletedProcess[str], Ended | None]:
        """Run one build; return the harness' process, and what became of the build if it got so far."""
        self.number += 1
        folder = self.folder / f"build-{self.number}"
        folder.mkdir(parents=True)
        given = {"jenkinsfile": jenkinsfile, "config": json.dumps(self._config(folder, parameters))}
        given["credentials"] = json.dumps(self.credentials)
        paths = [folder / name for name in given]
        for path, text in zip(paths, given.values(), strict=True):
            path.write_text(text, "utf-8")
        ran = subprocess.run(
            ["groovy", "-cp", _compiled().name, HARNESS / "run.groovy", *paths],
            env=groovy_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if not (folder / "result.json").exists():
            return ran, None
        facts = json.loads((folder / "result.json").read_text("utf-8"))
        return ran, Ended(folder, facts["result"], (folder / "log").read_text("utf-8"), facts)

    def _config(self, folder: Path, parameters: Mapping[str, str | bool]) -> dict[str, Any]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {
            "folder": f"{folder}",
            "job": self.name,
            "number": self.number,
            "started": int(time.time() * 1000),
            "labels": [SHARD_LABEL, LIGHT_LABEL],
            "scm": {"url": f"{self.repository}", "branch": self.branch, "base": self.base},
            "parameters": parameters,
            "environment": self.environment,
            "restart": self.restart,
            "machine": self.machine | {"PATH": path, "LANG": "C.UTF-8"},
        }


def git(repository: Path, *arguments: str) -> str:
    """Run git as somebody without settings of their own; return what it says."""
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=tests", "-c", "user.email=tests@example.invalid")
    command = ["git", *who, "-c", "init.defaultBranch=main", *arguments]
    ran = subprocess.run(
        command, cwd=repository, env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    return ran.stdout.strip()


def commit_all(repository: Path, message: str = "A commit") -> str:
    """Commit everything in a folder, making it a repository if it is none; return the commit."""
    if not (repository / ".git").exists():
        git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", message)
    return git(repository, "rev-parse", "HEAD")
