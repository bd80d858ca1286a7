"""Name commit, branch and build: from the checkout itself, and in Jenkins from Jenkins' variables.

Jenkins' variables describe the build's workspace. They don't apply to a project elsewhere, such as a test's,
even if a process of that build works on it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from covfleet.errors import ConfigurationError
from covfleet.model import Checkout, GitState
from covfleet.store.build import StoredBuild
from covfleet.store.commit import StoredCommit
from covfleet.text import listed

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHOWN = 5
_HINT = "Or name the commit yourself with --commit."


@dataclass(frozen=True, slots=True)
class JenkinsBuild:
    """The values of Jenkins' variables; empty if Jenkins doesn't set them.

    ``change`` is the number of a pull or merge request, ``target`` the branch that it is to be merged into.
    The branch of a change is Jenkins' name for it (``PR-12``), as its own name in a fork may be ``main``,
    too.
    """

    commit: str = ""
    branch: str = ""
    change: str = ""
    target: str = ""
    build: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """The checkout with its right name, and notes for humans on how it was found."""

    checkout: Checkout
    notes: tuple[str, ...] = ()


def jenkins_build(environ: Mapping[str, str], project: Path) -> JenkinsBuild | None:
    """Return Jenkins' description of the project; ``None`` outside a build or outside its workspace."""
    workspace = environ.get("WORKSPACE", "")
    if not (workspace and environ.get("BUILD_NUMBER") and environ.get("JOB_NAME")):
        return None
    if not project.resolve().is_relative_to(Path(workspace).resolve()):
        return None
    git_branch = environ.get("GIT_BRANCH", "")
    return JenkinsBuild(
        commit=environ.get("GIT_COMMIT", ""),
        branch=environ.get("BRANCH_NAME") or ("" if git_branch == "detached" else _local(git_branch)),
        change=environ.get("CHANGE_ID", ""),
        target=environ.get("CHANGE_TARGET", ""),
        build=_build_id(environ),
    )


def _local(branch: str) -> str:
    """Return the branch's name without git's prefixes."""
    for prefix in ("refs/heads/", "refs/remotes/", "remotes/"):
        branch = branch.removeprefix(prefix)
    return branch.removeprefix("origin/")


def _build_id(environ: Mapping[str, str]) -> str:
    """Return BUILD_TAG in the characters that the store allows; different tags give different ids."""
    tag = environ.get("BUILD_TAG") or f"jenkins-{environ['JOB_NAME']}-{environ['BUILD_NUMBER']}"
    plain = tag.replace("/", "-")  # as Jenkins itself does
    name = re.sub(r"[^0-9A-Za-z_-]+", "-", plain).lstrip("_-")[-110:].lstrip("_-")
    return name if name == plain else f"{name or 'jenkins'}-{hashlib.sha256(tag.encode()).hexdigest()[:8]}"


def in_jenkins(found: Checkout, state: GitState | None, build: JenkinsBuild) -> Origin:
    """Name the checkout in a build's workspace.

    The commit is the head or, if Jenkins merged a change with its target, the change's own head. Files that
    git doesn't track aren't part of the project: other steps may have left them in the workspace.

    Args:
        found: the tree with its name outside Jenkins.
        state: git's description of it; ``None`` without git or a first commit.
        build: Jenkins' description of it.

    Raises:
        ConfigurationError: the commit can't be determined, or tracked files were changed.
    """
    branch = build.branch or found.branch
    if state is None:
        return Origin(replace(found, commit=_without_git(found, build), branch=branch))
    _check_unchanged(state)
    head = _head_of_change(state, build) if build.change else state.head
    unknown = set(state.untracked)
    files = tuple(path for path in found.files if path not in unknown)
    checkout = replace(found, commit=head, branch=branch, files=files)
    return Origin(checkout, tuple(_notes(state, build, head)))


def _without_git(found: Checkout, build: JenkinsBuild) -> str:
    if build.change:
        raise ConfigurationError(
            f"can't determine the head commit of change {build.change}: {found.root} isn't a git repository",
            hint=f"Install git on the agent, and check out with it. {_HINT}",
        )
    return build.commit if _COMMIT.fullmatch(build.commit) else found.commit


def _check_unchanged(state: GitState) -> None:
    if state.changed:
        raise ConfigurationError(
            f"the workspace differs from commit {state.head}: {listed(state.changed, _SHOWN)} changed",
            hint=f"Check out into a clean workspace before any step that changes files. {_HINT}",
        )


def _head_of_change(state: GitState, build: JenkinsBuild) -> str:
    """Return the change's own head: the head, or its parent if Jenkins or the code host made a merge.

    Jenkins' git branch source merges the target into the change, whose head is then the first parent
    (``MergeWithGitSCMExtension`` in Jenkins' git plugin); code hosts merge the other way round. So the order
    of the parents proves nothing; git's branches decide.
    """
    if state.published or len(state.parents) < 2:
        return state.head
    if state.change_tip in state.parents:
        return state.change_tip
    own = [parent for parent in state.parents if parent not in state.on_target]
    if len(state.parents) > 2 or len(own) != 1:
        target = build.target or "its target"
        raise ConfigurationError(
            f"can't determine the head commit of change {build.change}: {state.head} merges "
            f"{' and '.join(state.parents)}, and which of them is on {target} is unknown",
            hint=f"Fetch the branches with their history along with the change. {_HINT}",
        )
    return own[0]


def _notes(state: GitState, build: JenkinsBuild, head: str) -> list[str]:
    notes = []
    if head != state.head:
        notes.append(
            f"commit {head}: the head of change {build.change}, which is merged with {build.target} here"
        )
    elif build.commit and build.commit != head:
        notes.append(f"commit {head} is checked out here, although GIT_COMMIT is {build.commit}")
    if state.untracked:
        notes.append(f"not part of the project, as git doesn't track them: {listed(state.untracked, _SHOWN)}")
    return notes


def new_build_name(now: datetime, jenkins: JenkinsBuild | None) -> str:
    """Return a new name for a build; it starts with the name of the Jenkins build if there is one.

    One Jenkins build may contain several builds with different settings, so the name is always unique.
    """
    stamp = _prefix(jenkins) or f"{now:%Y%m%dT%H%M%SZ}-"
    return f"{stamp}{secrets.token_hex(2)}"


def newest_build(commit: StoredCommit, jenkins: JenkinsBuild | None) -> StoredBuild | None:
    """Return the commit's newest build of this Jenkins build, or else its newest build of all."""
    own = commit.newest(_prefix(jenkins)) if jenkins else None
    return own or commit.newest()


def _prefix(jenkins: JenkinsBuild | None) -> str:
    """Return the prefix of the names of a Jenkins build's builds; empty outside Jenkins."""
    return f"{jenkins.build}." if jenkins else ""
