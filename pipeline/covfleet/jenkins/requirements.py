"""The plugins that the generated files need, and those that a controller lacks.

A plugin has a minimum version only if covfleet's own templates use a feature that came with it; the settings
can demand newer versions (``jenkins.plugins``) and name the plugins of additional steps (``jenkins.steps``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from covfleet.jenkins.steps import calls
from covfleet.jenkins.xml_forms import Element
from covfleet.settings.schema import JenkinsSettings

_BASIC = "workflow-basic-steps"
_DURABLE = "workflow-durable-task-step"
_DECLARATIVE = "pipeline-model-definition"
_CORE = ""

LEAST: Mapping[str, str] = {
    _BASIC: "969.vc4ec3e4854b_f",  # retry(conditions: …), nonresumable()
    _DURABLE: "1164.v2334ddcf48d0",  # the condition agent()
    "jenkins-multijob-plugin": "1.36",
}
"""Minimum versions by a plugin's short name; of other plugins, any version will do."""

STEPS: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("archive", "catchError", "deleteDir", "dir", "echo", "error", "fileExists", "isUnix", "mail"),
            *("nonresumable", "pwd", "readFile", "retry", "sleep", "stash", "step", "timeout", "tool"),
            *("unstable", "unstash", "waitUntil", "warnError", "withContext", "withEnv", "wrap"),
            *("writeFile", "getContext", "unarchive"),
        ),
        _BASIC,
    ),
    **dict.fromkeys(("agent", "bat", "node", "powershell", "pwsh", "sh", "ws"), _DURABLE),
    **dict.fromkeys(("checkout",), "workflow-scm-step"),
    **dict.fromkeys(("load", "parallel"), "workflow-cps"),
    **dict.fromkeys(("pipeline", "script", "validateDeclarativePipeline"), _DECLARATIVE),
    **dict.fromkeys(("archiveArtifacts", "fingerprint"), _CORE),
    "aws": "aws-credentials",
    "ansiColor": "ansicolor",
    "build": "pipeline-build-step",
    "cleanWs": "ws-cleanup",
    "git": "git",
    "scmGit": "git",
    "input": "pipeline-input-step",
    "junit": "junit",
    "lock": "lockable-resources",
    "milestone": "pipeline-milestone-step",
    "properties": "workflow-multibranch",
    "publishChecks": "checks-api",
    "publishHTML": "htmlpublisher",
    "recordCoverage": "coverage",
    "timestamps": "timestamper",
    "withChecks": "checks-api",
    "withCredentials": "credentials-binding",
}
"""The plugin that provides each step, option or condition, by its name; empty: Jenkins itself."""

_CLASSES: tuple[tuple[str, str], ...] = (
    ("flow-definition", "workflow-job"),
    ("com.cloudbees.hudson.plugins.folder.", "cloudbees-folder"),
    ("com.cloudbees.jenkins.plugins.awscredentials.", "aws-credentials"),
    ("com.tikal.jenkins.plugins.multijob.", "jenkins-multijob-plugin"),
    ("hudson.plugins.build__timeout.", "build-timeout"),
    ("hudson.plugins.git.", "git"),
    ("hudson.plugins.parameterizedtrigger.", "parameterized-trigger"),
    ("hudson.plugins.timestamper.", "timestamper"),
    ("hudson.plugins.ws__cleanup.", "ws-cleanup"),
    ("hudson.tasks.junit.", "junit"),
    ("io.jenkins.plugins.coverage.", "coverage"),
    ("org.jenkinsci.plugins.conditionalbuildstep.", "conditional-buildstep"),
    ("org.jenkinsci.plugins.credentialsbinding.", "credentials-binding"),
    ("org.jenkinsci.plugins.workflow.cps.", "workflow-cps"),
    ("org.jenkinsci.plugins.workflow.job.", "workflow-job"),
)
"""The plugin that provides a class, by the prefix of its name as an element or attribute in a job's XML."""


@dataclass(frozen=True, slots=True)
class Lack:
    """A plugin that a controller lacks, or has in too old a version."""

    plugin: str
    wanted: str  # the minimum version; empty: any
    found: str  # empty: it isn't installed
    needed_by: str

    def __str__(self) -> str:
        wanted = f"{self.plugin} {self.wanted} or newer" if self.wanted else self.plugin
        found = f"the controller has {self.found}" if self.found else "it isn't installed or isn't active"
        return f"{self.needed_by} needs the plugin {wanted}: {found}"


def least_versions(settings: JenkinsSettings) -> dict[str, str]:
    """Return the minimum versions: covfleet's own, overridden by those in the settings."""
    return {**LEAST, **settings.plugins}


def known_steps(settings: JenkinsSettings) -> dict[str, str]:
    """Return the plugin of each known step: covfleet's own table, overridden by the settings."""
    return {**STEPS, **settings.steps}


def plugins_of(root: Element) -> frozenset[str]:
    """Return the short names of the plugins that a job's, folder's or view's XML needs."""
    return frozenset(
        plugin
        for name in _class_names(root)
        for beginning, plugin in _CLASSES
        if name == beginning or (beginning.endswith(".") and name.startswith(beginning))
    )


def plugins_of_steps(jenkinsfile: str, settings: JenkinsSettings) -> tuple[tuple[str, str], ...]:
    """Return plugin and step for each known step of a Jenkinsfile that needs a plugin."""
    known = known_steps(settings)
    found = [
        (known.get(call.step, ""), f"the step {call.step} of the Jenkinsfile") for call in calls(jenkinsfile)
    ]
    return tuple((plugin, step) for plugin, step in found if plugin)


def lacks(
    needs: Iterable[tuple[str, str]], installed: Mapping[str, str], least: Mapping[str, str]
) -> tuple[Lack, ...]:
    """Return the missing and outdated plugins, each once, sorted by name.

    Args:
        needs: pairs of a plugin's short name and its user; an empty name needs nothing.
        installed: versions by short name.
        least: minimum versions by short name.
    """
    found: dict[str, Lack] = {}
    for plugin, needed_by in needs:
        wanted = least.get(plugin, "")
        has = installed.get(plugin, "")
        if plugin and (not has or is_older(has, wanted)):
            found.setdefault(plugin, Lack(plugin, wanted, has, needed_by))
    return tuple(found[plugin] for plugin in sorted(found))


def is_older(version: str, least: str) -> bool:
    """Compare plugin versions by their leading numbers: 2.0.6 < 1628.v6d7b, 630.v80676e0dc658 < 653.v1.

    The rest is a commit's hash (https://www.jenkins.io/jep/229) or a qualifier and doesn't affect the order.
    """
    return _numbers(version) < _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in re.split(r"[.-]", version):
        if not part.isascii() or not part.isdigit():
            break
        numbers.append(int(part))
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _class_names(root: Element) -> Iterator[str]:
    for element in root.iter():
        yield element.tag
        yield element.get("class", "")
