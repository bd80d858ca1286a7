"""Bring a controller's jobs, folders and views in line with the settings: decide first, act later.

``look`` reads the present state, ``decide`` only compares, ``perform`` writes. Nothing is ever deleted, and
existing folders stay unchanged.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from covfleet.errors import ConfigurationError, JenkinsError
from covfleet.jenkins import xml_forms
from covfleet.jenkins.jobs import Definitions
from covfleet.jenkins.ownership import Mark, mark_of, marked
from covfleet.jenkins.requirements import lacks, plugins_of
from covfleet.jenkins.xml_forms import Element, content_hash, parameters, parse, state_hash, text_of
from covfleet.ports.controller import Controller

Kind = Literal["folder", "job", "view"]
Action = Literal["create", "update", "unchanged"]
Key = tuple[Kind, str]

_FOLDER = "com.cloudbees.hudson.plugins.folder.Folder"
_CHILD = ".//com.tikal.jenkins.plugins.multijob.PhaseJobsConfig/jobName"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A wanted item: its full name with folders, and its XML without a mark."""

    kind: Kind
    name: str
    xml: str

    @property
    def key(self) -> Key:
        """Its unique key: a view may have the same name as a job."""
        return self.kind, self.name


@dataclass(frozen=True, slots=True)
class Found:
    """A controller's state: the XML of existing items that are wanted or named, and the plugins' versions."""

    xml: Mapping[Key, str]
    plugins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rules:
    """The input of the decision besides the XML."""

    owner: str  # the repository's URL, as in the marks
    least: Mapping[str, str]  # minimum versions of plugins
    steps: Sequence[tuple[str, str]] = ()  # plugin, and the step of the Jenkinsfile that needs it
    adopt: Collection[str] = ()  # full names of jobs and views that may be taken over


@dataclass(frozen=True, slots=True)
class Operation:
    """One item to create, to update or to leave unchanged."""

    action: Action
    kind: Kind
    name: str
    xml: str  # with the mark
    before: str = ""  # the controller's XML
    why: str = ""

    @property
    def difference(self) -> str:
        """A unified diff of the change; empty without one."""
        if self.action == "unchanged":
            return ""
        before = parse(self.before, self.name) if self.before else None
        return xml_forms.difference(f"{self.name}.xml", before, parse(self.xml, self.name))


@dataclass(frozen=True, slots=True)
class Changes:
    """The operations in their order, and the refusals, any of which prevents all of them."""

    operations: tuple[Operation, ...]
    refusals: tuple[str, ...]

    @property
    def pending(self) -> tuple[Operation, ...]:
        """The operations that change something."""
        return tuple(each for each in self.operations if each.action != "unchanged")

    def check(self) -> None:
        """Raise ``ConfigurationError`` with all refusals, if there are any."""
        if self.refusals:
            raise ConfigurationError(
                "nothing was changed on the controller:\n"
                + "\n".join(f"  - {each}" for each in self.refusals),
                hint="Once these are resolved, `covfleet jenkins apply --dry-run` shows what would change.",
            )


def wanted(definitions: Definitions, owner: str) -> tuple[Wanted, ...]:
    """Return folders, jobs and views in an order in which they can be created.

    Folders come first, outer ones before inner ones; then jobs, a multi-job's children before it; then views.

    Raises:
        ConfigurationError: multi-jobs name each other in a cycle.
    """
    names = [*definitions.jobs, *definitions.views]
    folders = sorted(
        {folder for name in names for folder in _folders(name)}, key=lambda name: name.count("/")
    )
    described = ET.Element(_FOLDER)
    ET.SubElement(
        described, "description"
    ).text = f"Created by covfleet for {owner}; it may contain anything else, too."
    return (
        *(Wanted("folder", name, text_of(described)) for name in folders),
        *(Wanted("job", name, definitions.jobs[name]) for name in _children_first(definitions.jobs)),
        *(Wanted("view", name, xml) for name, xml in sorted(definitions.views.items())),
    )


def look(controller: Controller, items: Sequence[Wanted]) -> Found:
    """Read everything that the decision needs from the controller."""
    found: dict[Key, str] = {}
    for item in items:
        read = controller.view_xml if item.kind == "view" else controller.job_xml
        if (xml := read(item.name)) is not None:
            found[item.key] = xml
    ours = {item.name for item in items if item.kind == "job"}
    for _, candidates in _named_children(items):
        for name in candidates if not ours.intersection(candidates) else ():
            if (xml := controller.job_xml(name)) is not None:
                found["job", name] = xml
    return Found(found, controller.plugins())


def decide(items: Sequence[Wanted], found: Found, rules: Rules) -> Changes:
    """Compare the wanted items with the controller's state, without any request or change."""
    refusals = [*_unknown_adoptions(items, rules), *_missing_children(items, found)]
    needs = [(plugin, f"the {item.kind} {item.name}") for item in items for plugin in _plugins(item, found)]
    refusals += map(str, lacks([*needs, *rules.steps], found.plugins, rules.least))
    operations = []
    for item in items:
        try:
            operations.append(_operation(item, found.xml.get(item.key), rules))
        except JenkinsError as error:
            refusals.append(str(error))
    return Changes(tuple(operations), tuple(refusals))


def perform(changes: Changes, controller: Controller, on_done: Callable[[Operation], None]) -> None:
    """Perform the operations in order, and report each one when it is done.

    If one fails, those before it stay done; the next apply continues from there.

    Raises:
        ConfigurationError: there are refusals; nothing was done.
        JenkinsError: the controller refused, or an item has changed there since ``look``.
    """
    changes.check()
    for operation in changes.operations:
        if operation.action != "unchanged":
            _write(operation, controller)
        on_done(operation)


def _operation(item: Wanted, before: str | None, rules: Rules) -> Operation:
    """Decide on one item. Raises ``JenkinsError`` if it must not be changed."""
    root = parse(item.xml, item.name)
    mark = Mark(rules.owner, content_hash(root))
    after = item.xml if item.kind == "folder" else text_of(marked(root, mark))
    if before is None:
        return Operation("create", item.kind, item.name, after, why="it doesn't exist")
    has = parse(before, item.name)
    if has.tag != root.tag:
        raise JenkinsError(
            f"{item.name} exists on the controller, but not as a {item.kind} of covfleet's type ({has.tag}): "
            "rename or delete it there, or choose another name"
        )
    if item.kind == "folder":
        return Operation("unchanged", item.kind, item.name, after, before)
    was = mark_of(has)
    if was is None or was.owner != rules.owner:
        if item.name not in rules.adopt:
            whose = f"belongs to {was.owner}" if was else "wasn't created by covfleet"
            raise JenkinsError(
                f"the {item.kind} {item.name} exists and {whose}: `--adopt {item.name}` takes it over"
            )
        return Operation("update", item.kind, item.name, after, before, why="taken over")
    why = _stale(was, mark, has, root)
    return Operation("update" if why else "unchanged", item.kind, item.name, after, before, why)


def _stale(was: Mark, mark: Mark, has: Element, root: Element) -> str:
    """Return why the controller's item is out of date; empty if it is up to date."""
    if was.sent != mark.sent:
        return "settings or templates have changed"
    if not was.kept:
        return "an earlier apply was interrupted"
    if was.kept != state_hash(has):
        return "it was changed on the controller"
    if lost := parameters(root) - parameters(has):
        return f"it lost its parameters: {', '.join(sorted(lost))}"
    return ""


def _write(operation: Operation, controller: Controller) -> None:
    """Create or update an item, then add a hash of the controller's form of it to the mark."""
    name = operation.name
    if operation.kind == "view":
        read, create, update = controller.view_xml, controller.create_view, controller.update_view
    else:
        read, create, update = controller.job_xml, controller.create_job, controller.update_job
    if operation.action == "create":
        create(name, operation.xml)
    else:
        now = read(name)
        if now is None or content_hash(parse(now, name)) != content_hash(parse(operation.before, name)):
            raise JenkinsError(
                f"the {operation.kind} {name} has changed on the controller during the apply",
                hint="Somebody else is working on it. Run `covfleet jenkins apply` again.",
            )
        update(name, operation.xml)
    sent = parse(operation.xml, name)
    mark, kept = mark_of(sent), read(name)
    if mark and kept is not None:
        whole = Mark(mark.owner, mark.sent, state_hash(parse(kept, name)))
        update(name, text_of(marked(sent, whole)))


def _plugins(item: Wanted, found: Found) -> list[str]:
    """Return the plugins that an item needs; an existing folder needs none."""
    if item.kind == "folder" and item.key in found.xml:
        return []
    return sorted(plugins_of(parse(item.xml, item.name)))


def _missing_children(items: Sequence[Wanted], found: Found) -> Iterator[str]:
    """Yield the jobs that multi-jobs name and that won't exist: Jenkins counts them as successes."""
    there = {name for kind, name in found.xml if kind == "job"}
    there |= {item.name for item in items if item.kind == "job"}
    seen = set()
    for parent, candidates in _named_children(items):
        if not there.intersection(candidates) and (parent, candidates) not in seen:
            seen.add((parent, candidates))
            yield (
                f"the multi-job {parent} names the job {candidates[0]}, which is neither on the controller "
                "nor among the generated jobs: Jenkins would silently skip it"
            )


def _unknown_adoptions(items: Sequence[Wanted], rules: Rules) -> Iterator[str]:
    names = [item.name for item in items if item.kind != "folder"]
    for name in sorted(set(rules.adopt) - set(names)):
        yield f"--adopt {name}: covfleet generates no such job or view, only {', '.join(names)}"


def _named_children(items: Sequence[Wanted]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield, for each child of a multi-job, the multi-job's name and the child's possible full names."""
    for item in items:
        if item.kind == "job":
            for candidates in _children(item.name, item.xml):
                yield item.name, candidates


def _children(name: str, xml: str) -> list[tuple[str, ...]]:
    """Resolve names as ``Jenkins.getItem`` does: in the multi-job's folder, then at the top level."""
    folder = f"{name.rpartition('/')[0]}/".removeprefix("/")
    texts = [(element.text or "").strip() for element in parse(xml, name).iterfind(_CHILD)]
    return [
        (text.removeprefix("/"),) if text.startswith("/") or not folder else (folder + text, text)
        for text in texts
    ]


def _children_first(jobs: Mapping[str, str]) -> tuple[str, ...]:
    graph = {
        name: sorted({child for names in _children(name, xml) for child in names if child in jobs})
        for name, xml in sorted(jobs.items())
    }
    try:
        return tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ConfigurationError(
            f"multi-jobs name each other in a cycle: {' -> '.join(error.args[1])}",
            hint="Correct the template jobs.yaml.j2.",
        ) from error


def _folders(name: str) -> Iterator[str]:
    parts = name.split("/")[:-1]
    for end in range(1, len(parts) + 1):
        yield "/".join(parts[:end])
