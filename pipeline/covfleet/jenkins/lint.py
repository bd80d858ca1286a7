"""Check that a Jenkinsfile can start: its syntax, its steps, and the plugins that provide them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from covfleet.jenkins.requirements import known_steps, lacks, least_versions
from covfleet.jenkins.steps import StepCall, calls
from covfleet.ports.controller import Controller
from covfleet.settings.schema import JenkinsSettings

_PLACE = re.compile(r"@ line (\d+), column (\d+)\.?")
_PREFIX = re.compile(r"^WorkflowScript: \d+: ")
_PREAMBLE = "Errors encountered validating Jenkinsfile:"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A fault in a Jenkinsfile; line and column count from 1 and are 0 if they are unknown."""

    line: int
    column: int
    message: str


@dataclass(frozen=True, slots=True)
class Lint:
    """The result of linting; ``checked_by`` is a controller's URL or the name of a parser."""

    checked_by: str
    findings: tuple[Finding, ...]


class Parser(Protocol):
    """A Groovy parser on this machine."""

    name: str

    def errors(self, groovy: str) -> str:
        """Return a Groovy file's syntax errors, each with ``@ line 1, column 2.``; empty without any."""


def lint_on_controller(jenkinsfile: str, settings: JenkinsSettings, controller: Controller) -> Lint:
    """Check with a controller's validator, then find each step's plugin: the validator doesn't check steps.

    Raises:
        JenkinsError: the controller doesn't answer, or lacks the validator.
    """
    syntax = findings(controller.validate(jenkinsfile))
    return Lint(controller.url, _all(syntax, jenkinsfile, settings, controller.plugins()))


def lint_here(jenkinsfile: str, settings: JenkinsSettings, parser: Parser) -> Lint:
    """Parse the file and check that each step is known, but not which plugins a controller has."""
    syntax = findings(parser.errors(jenkinsfile))
    if not any(call.step == "pipeline" for call in calls(jenkinsfile)):
        syntax = (*syntax, Finding(0, 0, "not a declarative pipeline: it contains no pipeline { … }"))
    return Lint(parser.name, _all(syntax, jenkinsfile, settings, None))


def findings(output: str) -> tuple[Finding, ...]:
    """Split the output of a validator or parser into errors with their places, without quoted lines."""
    found: list[Finding] = []
    rest: list[str] = []
    for line in output.splitlines():
        if place := _PLACE.search(line):
            message = _PREFIX.sub("", line[: place.start()]).strip()
            found.append(Finding(int(place[1]), int(place[2]), message))
        elif line.strip() and line.strip() != _PREAMBLE:
            rest.append(line.strip())
    if output.strip() and not found:
        return (Finding(0, 0, " ".join(rest) or output.strip()),)
    return tuple(found)


def check_steps(
    jenkinsfile: str, settings: JenkinsSettings, installed: Mapping[str, str] | None
) -> tuple[Finding, ...]:
    """Return the unknown steps, and those whose plugin is missing or too old.

    ``installed`` maps plugins to their versions; with ``None`` plugins aren't checked.
    """
    known, least = known_steps(settings), least_versions(settings)

    def check(call: StepCall) -> Finding | None:
        if call.step not in known:
            return _at(call, _unknown(call.step))
        needs = [(known[call.step], f"the step {call.step}")]
        found = () if installed is None else lacks(needs, installed, least)
        return _at(call, str(found[0])) if found else None

    return tuple(finding for call in calls(jenkinsfile) if (finding := check(call)))


def _all(
    syntax: tuple[Finding, ...],
    jenkinsfile: str,
    settings: JenkinsSettings,
    installed: Mapping[str, str] | None,
) -> tuple[Finding, ...]:
    return tuple(sorted({*syntax, *check_steps(jenkinsfile, settings, installed)}))


def _at(call: StepCall, message: str) -> Finding:
    return Finding(call.line, call.column, message)


def _unknown(step: str) -> str:
    return (
        f"the step {step} is unknown: if a plugin or a shared library provides it, "
        f'add {step} = "<plugin, or nothing>" to [tool.covfleet.jenkins.steps]'
    )
