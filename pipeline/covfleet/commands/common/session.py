"""The real clients of one command: settings, checkout, store, engine and launchers, created when needed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import FrameType

import click

from covfleet.adapters.clock import SystemClock
from covfleet.adapters.git import GitTree
from covfleet.adapters.processes.interpreters import Interpreter
from covfleet.adapters.processes.launchers import WORKER, process_launcher, project_interpreter
from covfleet.adapters.stores import open_store
from covfleet.commands.common.options import Call
from covfleet.errors import ConfigurationError, EngineError
from covfleet.image.stage import build_request, ensure_image
from covfleet.jenkins.origin import JenkinsBuild, in_jenkins, jenkins_build, new_build_name, newest_build
from covfleet.model import Checkout, ImageRef, Plan
from covfleet.ports.engine import ContainerEngine
from covfleet.ports.object_store import ObjectStore
from covfleet.ports.worker import WorkerLauncher
from covfleet.settings.load import load_settings, tests_variables, variable
from covfleet.settings.schema import Settings
from covfleet.store.build import StoredBuild
from covfleet.store.commit import StoredCommit
from covfleet.store.keys import CommitKeys


class Session:
    """Everything that a command needs from the outside world."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.project = call.project
        self.clock = SystemClock()

    @cached_property
    def settings(self) -> Settings:
        """The settings from file, environment and flags."""
        return load_settings(self.project, self.call.settings, os.environ)

    @cached_property
    def checkout(self) -> Checkout:
        """The project's tree; Jenkins' variables name its commit and branch, and flags override them."""
        tree, build, call = GitTree(os.environ), self.jenkins_build, self.call
        checkout = tree.describe(self.project)
        if build and not call.commit:
            state = tree.state(self.project, build.branch, build.target)
            origin = in_jenkins(checkout, state, build)
            checkout = origin.checkout
            for note in origin.notes:
                self.narrate(note)
        elif build and build.branch:
            checkout = replace(checkout, branch=build.branch)
        return replace(
            checkout, commit=call.commit or checkout.commit, branch=call.branch_name or checkout.branch
        )

    @cached_property
    def jenkins_build(self) -> JenkinsBuild | None:
        """Jenkins' description of the build, if this is a Jenkins build of the project."""
        return jenkins_build(os.environ, self.project)

    @cached_property
    def store(self) -> ObjectStore:
        """The store that the settings name."""
        return self.open(self.settings.store)

    @cached_property
    def interpreter(self) -> Interpreter:
        """The application's interpreter, for processes, and why it is that one."""
        return project_interpreter(self.settings, self.project, os.environ)

    @cached_property
    def engine(self) -> ContainerEngine:
        """The Docker engine; nothing connects to it before it is needed."""
        from covfleet.adapters.docker.engine import DockerEngine  # noqa: PLC0415 - saves plain processes 0.3 s

        return DockerEngine()

    def open(self, url: str) -> ObjectStore:
        """Return the store at ``url``; folders are relative to the project."""
        if url == self.settings.store and "://" not in url:
            hide_from_git(self.project / url, self.project)
        return open_store(url, self.settings, self.project)

    def open_to_read(self) -> ObjectStore:
        """Return the store that the settings name, without creating its folder."""
        return open_store(self.settings.store, self.settings, self.project)

    def own_folder(self) -> Path:
        """Create and return ``.covfleet`` in the project, hidden from git."""
        folder = self.project / ".covfleet"
        hide_from_git(folder, self.project)
        return folder

    @contextlib.contextmanager
    def workdir(self) -> Iterator[Path]:
        """Yield an empty folder on the project's own disk, and remove it afterwards."""
        folder = Path(tempfile.mkdtemp(prefix="work-", dir=self.own_folder()))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def commit(self, store: ObjectStore | None = None) -> StoredCommit:
        """Return the commit of ``--commit``, or of the project's tree, in the settings' store or another."""
        keys = CommitKeys(self.call.commit or self.checkout.commit)
        return StoredCommit(store or self.store, keys)

    def new_build(self) -> StoredBuild:
        """Return the build that ``--build`` names, or a new one."""
        return self.commit().build(self.call.build or new_build_name(self.clock.now(), self.jenkins_build))

    def find_build(self) -> StoredBuild | None:
        """Return the build that ``--build`` names, or the commit's newest; ``None`` if it has none."""
        if self.call.build:
            return self.commit().build(self.call.build)
        return newest_build(self.commit(), self.jenkins_build)

    def known_build(self) -> StoredBuild:
        """Return the build that ``--build`` names, or the commit's newest.

        Raises:
            ConfigurationError: the commit has no build.
        """
        if (build := self.find_build()) is None:
            raise ConfigurationError(
                f"{self.store.url} has no build of commit {self.commit().name}",
                hint="Start one with `covfleet plan` or `covfleet run`, or give another --commit or --store.",
            )
        return build

    def planned(self, wait_s: float) -> Plan:
        """Return the plan of ``known_build``; to wait for a plan, ``--build`` must name the build.

        Raises:
            ConfigurationError: there is no plan after ``wait_s`` seconds, or ``--build`` is missing.
        """
        if wait_s and not self.call.build:
            raise ConfigurationError("--wait needs --build", hint="Name the build whose plan to wait for.")
        return self.known_build().wait_for_plan(self.clock, wait_s)

    def image(self, build: str) -> ImageRef | None:
        """Return the image that the tests run in, building it if necessary; ``None`` for plain processes.

        Raises:
            ConfigurationError: a dry run needs an image that isn't built yet.
        """
        if self.settings.executor == "process":
            return None
        settings, checkout = self.settings.image, self.checkout
        if self.call.dry_run:
            reference = build_request(settings, self.project, checkout, build).reference
            if (image := self.engine.find_image(reference)) is None:
                raise ConfigurationError(
                    f"the tests are collected inside {reference}, which isn't built yet",
                    hint="Run `covfleet image` first, or leave out --dry-run.",
                )
            return image
        return ensure_image(
            self.engine, settings, self.project, checkout, build, rebuild=False, on_log=self.narrate
        )

    def launcher(self, image: str) -> WorkerLauncher:
        """Return the launcher of workers, pulling the image if it isn't on this machine.

        ``image`` is empty for plain processes.

        Raises:
            EngineError: the image is neither on this machine nor in its registry.
        """
        if not image:
            self.narrate(f"tests run with {self.interpreter}")
            return self.processes()
        from covfleet.adapters.docker.worker import DockerLauncher  # noqa: PLC0415 - as for the engine

        if self.engine.find_image(image) is None and self.engine.pull(image, self.narrate) is None:
            raise EngineError(
                f"the image {image} is neither on this machine nor in its registry",
                hint="Run `covfleet image` here, or set push = true in [tool.covfleet.image].",
            )
        settings = self.settings
        variables = tests_variables(settings, os.environ)
        return DockerLauncher(image, settings.container, settings.image.python, variables, WORKER)

    def processes(self) -> WorkerLauncher:
        """Return what starts workers as processes of this machine."""
        return process_launcher(self.settings, self.project, os.environ, self.interpreter)

    def flags_as_variables(self) -> dict[str, str]:
        """Return the settings that were given as flags as environment variables for a child process.

        They include the interpreter: a child must not find another one.
        """
        given = {key: value for key, value in self.call.settings.items() if value is not None}
        if self.settings.executor == "process":
            given["python"] = str(self.interpreter.path)
        return {
            variable(key): value if isinstance(value, str) else json.dumps(value)
            for key, value in given.items()
        }

    def narrate(self, line: str) -> None:
        """Print a line for humans on standard error."""
        click.echo(line, err=True)


def hide_from_git(folder: Path, project: Path) -> None:
    """Create ``folder``, ignored by git, if it is in the project: our files must not rename the commit."""
    if not folder.resolve().is_relative_to(project.resolve()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", "utf-8")


@contextlib.contextmanager
def stopping() -> Iterator[threading.Event]:
    """Yield an event that SIGINT, SIGTERM and SIGHUP set; a second signal interrupts at once."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {
        number: signal.signal(number, handle)
        for number in numbers
        if signal.getsignal(number) != signal.SIG_IGN  # nohup, or a job in a script's background
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
