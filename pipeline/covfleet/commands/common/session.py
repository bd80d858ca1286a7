"""The real clients of one command: settings, checkout, store, engine and launchers, each made when needed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
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
from covfleet.adapters.processes.launchers import WORKER, process_launcher
from covfleet.adapters.stores import open_store
from covfleet.commands.common.options import Call
from covfleet.errors import ConfigurationError, EngineError
from covfleet.image.stage import build_request, ensure_image
from covfleet.jenkins.origin import JenkinsBuild, in_jenkins, jenkins_build
from covfleet.model import Checkout, ImageRef, Plan
from covfleet.ports.engine import ContainerEngine
from covfleet.ports.object_store import ObjectStore
from covfleet.ports.worker import WorkerLauncher
from covfleet.settings.load import load_settings, variable
from covfleet.settings.schema import Settings
from covfleet.store.builds import latest_build, wait_for_plan
from covfleet.store.keys import BuildKeys, CommitKeys


class Session:
    """Everything that a command needs of the world."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.project = call.project
        self.clock = SystemClock()

    @cached_property
    def settings(self) -> Settings:
        """The settings: file, environment, flags."""
        return load_settings(self.project, self.call.settings, os.environ)

    @cached_property
    def checkout(self) -> Checkout:
        """The project's tree, under the name that Jenkins' variables give it; flags rename it."""
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
        """What Jenkins says of the project, in a build of it."""
        return jenkins_build(os.environ, self.project)

    @cached_property
    def store(self) -> ObjectStore:
        """The store that the settings name."""
        return self.open(self.settings.store)

    @cached_property
    def engine(self) -> ContainerEngine:
        """The Docker engine; it is asked nothing before it is needed."""
        from covfleet.adapters.docker.engine import DockerEngine  # noqa: PLC0415 - 0.3 s that processes save

        return DockerEngine()

    def open(self, url: str) -> ObjectStore:
        """Return the store at ``url``; folders are relative to the project."""
        if url == self.settings.store and "://" not in url:
            hide_from_git(self.project / url, self.project)
        return open_store(url, self.settings, self.project)

    def open_to_read(self) -> ObjectStore:
        """Return the store that the settings name, without leaving a trace in its folder if it is one."""
        return open_store(self.settings.store, self.settings, self.project)

    def own_folder(self) -> Path:
        """Return ``.covfleet`` in the project, which hides itself from git."""
        folder = self.project / ".covfleet"
        hide_from_git(folder, self.project)
        return folder

    @contextlib.contextmanager
    def workdir(self) -> Iterator[Path]:
        """Give an empty folder, on the project's own disk, that is removed afterwards."""
        folder = Path(tempfile.mkdtemp(prefix="work-", dir=self.own_folder()))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def commit_keys(self) -> CommitKeys:
        """Return the keys of ``--commit``, or of the project's tree."""
        return CommitKeys(self.call.commit or self.checkout.commit)

    def new_build(self) -> BuildKeys:
        """Return the keys of ``--build``, or of a build that begins now, named after Jenkins' own if any.

        One build of Jenkins may hold several, each with other settings: so the name is always a new one.
        """
        stamp = self._prefix or f"{self.clock.now():%Y%m%dT%H%M%SZ}-"
        return self.commit_keys().build(self.call.build or f"{stamp}{secrets.token_hex(2)}")

    def newest_build(self) -> str | None:
        """Return the commit's build that was planned last, one of this build of Jenkins first."""
        keys = self.commit_keys()
        own = latest_build(self.store, keys, self._prefix) if self._prefix else None
        return own or latest_build(self.store, keys)

    @property
    def _prefix(self) -> str:
        """How the names of builds begin that belong to this build of Jenkins; empty outside of one."""
        return f"{self.jenkins_build.build}." if self.jenkins_build else ""

    def known_build(self) -> BuildKeys:
        """Return the keys of ``--build``, or of the commit's newest build.

        Raises:
            ConfigurationError: nothing was planned for the commit.
        """
        keys = self.commit_keys()
        build = self.call.build or self.newest_build()
        if build is None:
            raise ConfigurationError(
                f"{self.store.url} has no build of commit {keys.commit}",
                hint="Start one with `covfleet plan` or `covfleet run`, or name another --commit or --store.",
            )
        return keys.build(build)

    def planned(self, wait_s: float) -> Plan:
        """Return the plan of ``known_build``, which ``--build`` must name if it may still be to come.

        Raises:
            ConfigurationError: there is none after ``wait_s`` seconds, or nobody knows which to wait for.
        """
        if wait_s and not self.call.build:
            raise ConfigurationError("--wait needs --build", hint="Name the build whose plan is to come.")
        return wait_for_plan(self.store, self.known_build(), self.clock, wait_s)

    def image(self, build: str) -> ImageRef | None:
        """Return the image that the tests run in, built if need be; ``None`` for processes.

        Raises:
            ConfigurationError: it would have to be built, in a dry run.
        """
        if self.settings.executor == "process":
            return None
        settings, checkout = self.settings.image, self.checkout
        if self.call.dry_run:
            reference = build_request(settings, self.project, checkout, build).reference
            if (found := self.engine.find_image(reference)) is None:
                raise ConfigurationError(
                    f"the tests are collected inside {reference}, which is not built",
                    hint="Run `covfleet image` first, or leave out --dry-run.",
                )
            return found
        return ensure_image(
            self.engine, settings, self.project, checkout, build, rebuild=False, on_log=self.narrate
        )

    def launcher(self, image: str) -> WorkerLauncher:
        """Return what starts workers; ``image`` is empty for processes. An image that isn't here is pulled.

        Raises:
            EngineError: the image is neither here nor in its registry.
        """
        if not image:
            return process_launcher(self.settings, self.project, os.environ)
        from covfleet.adapters.docker.worker import DockerLauncher  # noqa: PLC0415 - as for the engine

        if self.engine.find_image(image) is None and self.engine.pull(image, self.narrate) is None:
            raise EngineError(
                f"the image {image} is neither on this machine nor in its registry",
                hint="Run `covfleet image` here, or everywhere with push = true in [tool.covfleet.image].",
            )
        settings = self.settings
        return DockerLauncher(image, settings.container, settings.image.python, settings.env, WORKER)

    def flags_as_variables(self) -> dict[str, str]:
        """Return the settings that were given as flags, as a child process of ours reads them."""
        given = {key: value for key, value in self.call.settings.items() if value is not None}
        return {
            variable(key): value if isinstance(value, str) else json.dumps(value)
            for key, value in given.items()
        }

    def narrate(self, line: str) -> None:
        """Tell a human what happens, on standard error."""
        click.echo(line, err=True)


def hide_from_git(folder: Path, project: Path) -> None:
    """Make a folder that git ignores if it lies in the project: what we write must not rename the commit."""
    if not folder.resolve().is_relative_to(project.resolve()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", "utf-8")


@contextlib.contextmanager
def stopping() -> Iterator[threading.Event]:
    """Give an event that SIGINT, SIGTERM and SIGHUP set; a second signal interrupts at once."""
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
