"""Run a multi-job from its XML: phase after phase, the children of each at once, each in a clone of its own.

Of Jenkins this does the checkout, the parameters and their ``${…}``, the shells, and the results.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from support.jenkinsfiles import git

RESULTS = ("SUCCESS", "UNSTABLE", "FAILURE")
_GOES_ON_AFTER = {"SUCCESSFUL": {"SUCCESS"}, "UNSTABLE": {"SUCCESS", "UNSTABLE"}, "ALWAYS": set(RESULTS)}
_SHELL_TIMEOUT_S = 120


@dataclass(frozen=True)
class ChildBuild:
    """One child's build: its alias, how it ended, what it said, and where it worked."""

    phase: str
    alias: str
    result: str
    log: str
    workspace: Path


@dataclass(frozen=True)
class MultiJob:
    """Jobs as XML by name, on machines whose workspaces lie in ``folder``."""

    jobs: Mapping[str, str]
    folder: Path
    environment: Mapping[str, str]

    def build(self, name: str, number: int = 1) -> tuple[str, list[ChildBuild]]:
        """Run the multi-job; return its result, the worst of its children's, and these builds."""
        root = ElementTree.fromstring(self.jobs[name])
        variables = self._checkout(root, self.folder / "parent", _defaults(root))
        variables |= {"JOB_BASE_NAME": name, "BUILD_NUMBER": str(number)}
        builds: list[ChildBuild] = []
        for phase in root.iter("com.tikal.jenkins.plugins.multijob.MultiJobBuilder"):
            ended = self._phase(phase, variables)
            builds += ended
            if _worst(ended) not in _GOES_ON_AFTER[phase.findtext("continuationCondition", "")]:
                break
        return _worst(builds), builds

    def _phase(self, phase: ElementTree.Element, variables: Mapping[str, str]) -> list[ChildBuild]:
        name = phase.findtext("phaseName", "")
        children = list(phase.iter("com.tikal.jenkins.plugins.multijob.PhaseJobsConfig"))
        with ThreadPoolExecutor(len(children)) as pool:
            return list(pool.map(lambda child: self._child(name, child, variables), children))

    def _child(self, phase: str, config: ElementTree.Element, variables: Mapping[str, str]) -> ChildBuild:
        job, alias = config.findtext("jobName", ""), config.findtext("jobAlias", "")
        given = _expanded("".join(text for text in config.itertext() if "=" in text), variables)
        root = ElementTree.fromstring(self.jobs[job])
        parameters = _defaults(root)
        assert given.keys() <= parameters.keys(), (
            f"{job} doesn't declare what it is given, and Jenkins drops it"
        )
        workspace = self.folder / alias.replace(" ", "-")
        checked_out = self._checkout(root, workspace, parameters | given)
        jenkins = {"JOB_NAME": job, "BUILD_NUMBER": "1", "WORKSPACE": str(workspace)}
        result, log = _run_shells(root, workspace, {**self.environment, **checked_out, **jenkins})
        for reports in root.iterfind("publishers/hudson.tasks.junit.JUnitResultArchiver/testResults"):
            assert result == "FAILURE" or (workspace / (reports.text or "")).is_file()
        return ChildBuild(phase, alias, result, log, workspace)

    def _checkout(self, root: ElementTree.Element, workspace: Path, given: dict[str, str]) -> dict[str, str]:
        """Clone the job's repository and check out its branch; return the variables with git's own."""
        url = root.findtext("scm/userRemoteConfigs/hudson.plugins.git.UserRemoteConfig/url", "")
        spec = root.findtext("scm/branches/hudson.plugins.git.BranchSpec/name", "")
        wanted = _expand(spec, given)
        branch = wanted.removeprefix("refs/heads/")
        self.folder.mkdir(exist_ok=True)
        git(self.folder, "clone", "--quiet", "--no-checkout", url, str(workspace))
        reference = f"origin/{branch}" if branch != wanted else wanted
        git(workspace, "checkout", "--quiet", "--detach", reference)
        of_git = {"GIT_COMMIT": git(workspace, "rev-parse", "HEAD")}
        return given | of_git | {"GIT_BRANCH": reference if branch != wanted else "detached"}


def _run_shells(root: ElementTree.Element, workspace: Path, variables: Mapping[str, str]) -> tuple[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result, log = "SUCCESS", []
    for shell in root.iter("hudson.tasks.Shell"):
        ran = subprocess.run(
            ["/bin/sh", "-xe", "-c", shell.findtext("command", "")],
            cwd=workspace,
            env={"PATH": path, "LANG": "C.UTF-8", "HOME": str(workspace.parent), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SHELL_TIMEOUT_S,
            check=False,
        )
        log.append(ran.stdout)
        if str(ran.returncode) == shell.findtext("unstableReturn"):
            result = "UNSTABLE"
        elif ran.returncode:
            return "FAILURE", "".join(log)
    return result, "".join(log)


def _worst(builds: list[ChildBuild]) -> str:
    return max((build.result for build in builds), key=RESULTS.index)


def _defaults(root: ElementTree.Element) -> dict[str, str]:
    declared = root.iterfind(".//parameterDefinitions/*")
    return {one.findtext("name", ""): one.findtext("defaultValue") or "" for one in declared}


def _expanded(properties: str, variables: Mapping[str, str]) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in properties.splitlines() if "=" in line)
    return {name.strip(): _expand(value, variables) for name, value in pairs}


def _expand(text: str, variables: Mapping[str, str]) -> str:
    """Put variables in; one that there isn't stays as it is, as in Jenkins."""
    return re.sub(r"\$\{(\w+)\}", lambda match: variables.get(match[1], match[0]), text)
