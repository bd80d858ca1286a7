"""What names the commit, branch and build: the checkout itself, and in Jenkins what its variables say of it.

Jenkins' variables describe what lies in the build's workspace. A project elsewhere, such as a test's, is none
of their business, even if it is handled by a process of that build.
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

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHOWN = 5
_HINT = "Or name the commit yourself, with --commit."


@dataclass(frozen=True, slots=True)
class JenkinsBuild:
    """What Jenkins' variables say; each is empty if Jenkins doesn't.

    ``change`` is the number of a pull or merge request, ``target`` the branch that it is to go into. The
    branch of a change is Jenkins' name for it (``PR-12``): its own may be called ``main`` as well, in a fork.
    """

    commit: str = ""
    branch: str = ""
    change: str = ""
    target: str = ""
    build: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """The checkout under its right name, and what a human should know of how it was found."""

    checkout: Checkout
    notes: tuple[str, ...] = ()


def jenkins_build(environ: Mapping[str, str], project: Path) -> JenkinsBuild | None:
    """Return what Jenkins says of the project; ``None`` outside a build, or outside its workspace."""
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
    """Return the branch's name without what git says of where it was found."""
    for prefix in ("refs/heads/", "refs/remotes/", "remotes/"):
        branch = branch.removeprefix(prefix)
    return branch.removeprefix("origin/")


def _build_id(environ: Mapping[str, str]) -> str:
    """Return BUILD_TAG in the characters that the store allows; another tag never gives the same."""
    tag = environ.get("BUILD_TAG") or f"jenkins-{environ['JOB_NAME']}-{environ['BUILD_NUMBER']}"
    plain = tag.replace("/", "-")  # as Jenkins itself does it
    name = re.sub(r"[^0-9A-Za-z_-]+", "-", plain).lstrip("_-")[-110:].lstrip("_-")
    return name if name == plain else f"{name or 'jenkins'}-{hashlib.sha256(tag.encode()).hexdigest()[:8]}"


def in_jenkins(found: Checkout, state: GitState | None, build: JenkinsBuild) -> Origin:
    """Name the checkout in a build's workspace.

    The commit is the head, or for a merge that Jenkins made of a change and its target the change's own head.
    Files that git doesn't know stay outside the project, whatever other steps have left in the workspace.

    Args:
        found: the tree as it is named outside Jenkins.
        state: what git says of it; ``None`` without git or a first commit.
        build: what Jenkins says.

    Raises:
        ConfigurationError: the commit can't be told, or files that it holds were changed.
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
            f"the head commit of change {build.change} can't be told: {found.root} is no git repository here",
            hint=f"Install git on the agent, and check out with it. {_HINT}",
        )
    return build.commit if _COMMIT.fullmatch(build.commit) else found.commit


def _check_unchanged(state: GitState) -> None:
    if state.changed:
        raise ConfigurationError(
            f"the workspace is not commit {state.head}: changed in it {_listed(state.changed)}",
            hint=f"Check out into a clean workspace, before any step that changes files. {_HINT}",
        )


def _head_of_change(state: GitState, build: JenkinsBuild) -> str:
    """Return the change's own head, which is the head or a parent of a merge that Jenkins or its host made.

    git's branch source merges the target into the change, whose head is the first parent
    (``MergeWithGitSCMExtension`` in Jenkins' git plugin); code hosts merge it the other way round. So the
    order of the parents says nothing: what git knows of the branches does.
    """
    if state.published or len(state.parents) < 2:
        return state.head
    if state.change_tip in state.parents:
        return state.change_tip
    own = [parent for parent in state.parents if parent not in state.on_target]
    if len(state.parents) > 2 or len(own) != 1:
        target = build.target or "its target"
        raise ConfigurationError(
            f"the head commit of change {build.change} can't be told: {state.head} merges "
            f"{' and '.join(state.parents)}, and which of them is on {target} is unknown",
            hint=f"Fetch the branches, with their history, along with the change. {_HINT}",
        )
    return own[0]


def _notes(state: GitState, build: JenkinsBuild, head: str) -> list[str]:
    notes = []
    if head != state.head:
        notes.append(f"commit {head}: the head of change {build.change}; it was merged with {build.target}")
    elif build.commit and build.commit != head:
        notes.append(f"commit {head}: it is checked out here, though GIT_COMMIT says {build.commit}")
    if state.untracked:
        notes.append(f"not in the commit, so not in the project: {_listed(state.untracked)}")
    return notes


def _listed(names: tuple[str, ...]) -> str:
    shown = [name if name.isprintable() else repr(name) for name in names[:_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def new_build_name(now: datetime, jenkins: JenkinsBuild | None) -> str:
    """Return a name for a build that begins now, after Jenkins' own build if there is one.

    One build of Jenkins may hold several, each with other settings: so the name is always a new one.
    """
    stamp = _prefix(jenkins) or f"{now:%Y%m%dT%H%M%SZ}-"
    return f"{stamp}{secrets.token_hex(2)}"


def newest_build(commit: StoredCommit, jenkins: JenkinsBuild | None) -> StoredBuild | None:
    """Return the commit's build that was planned last, one of this build of Jenkins first."""
    own = commit.newest(_prefix(jenkins)) if jenkins else None
    return own or commit.newest()


def _prefix(jenkins: JenkinsBuild | None) -> str:
    """Return how the names of builds begin that belong to a build of Jenkins; empty outside of one."""
    return f"{jenkins.build}." if jenkins else ""
