"""Which commit, branch and build a checkout is in Jenkins: real clones, merged as its git plugin does it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from covfleet.adapters.git import GitTree
from covfleet.errors import ConfigurationError
from covfleet.jenkins.origin import JenkinsBuild, Origin, in_jenkins, jenkins_build
from covfleet.model import Checkout

ENVIRON = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{
        f"GIT_{role}_{what}": "a@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}
CHANGE = {"BRANCH_NAME": "PR-12", "CHANGE_ID": "12", "CHANGE_TARGET": "main", "CHANGE_BRANCH": "main"}


def git(folder: Path, *command: str) -> str:
    done = subprocess.run(
        ["git", *command], cwd=folder, env=ENVIRON, check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


def commit(folder: Path, name: str, text: str = "x = 1\n") -> str:
    (folder / name).write_text(text)
    git(folder, "add", name)
    git(folder, "commit", "-qm", name)
    return git(folder, "rev-parse", "HEAD")


@dataclass
class World:
    """A repository on a code host, with a change, and a workspace in which Jenkins checks something out."""

    host: Path
    workspace: Path

    def fetch(self, *refs: str) -> None:
        """Fetch as the branch source does: the change under Jenkins' name for it, and its target."""
        refs = refs or (
            "refs/pull/12/head:refs/remotes/origin/PR-12",
            "refs/heads/main:refs/remotes/origin/main",
        )
        git(self.workspace, "fetch", "-q", "origin", *(f"+{ref}" for ref in refs))

    def check_out_change(self) -> str:
        """Merge the target into the change, as MergeWithGitSCMExtension does; return the change's head."""
        self.fetch()
        git(self.workspace, "checkout", "-q", "--detach", "refs/remotes/origin/PR-12")
        head = git(self.workspace, "rev-parse", "HEAD")
        git(
            self.workspace,
            "-c",
            "user.name=Jenkins",
            "merge",
            "-q",
            "refs/remotes/origin/main",
            "-m",
            "merge",
        )
        return head

    def origin(self, **variables: str) -> Origin:
        """Name what lies in the workspace."""
        environ = {"WORKSPACE": str(self.workspace), "JOB_NAME": "app", "BUILD_NUMBER": "7", **variables}
        build = jenkins_build(environ, self.workspace)
        assert build
        tree = GitTree(ENVIRON)
        state = tree.state(self.workspace, build.branch, build.target)
        return in_jenkins(tree.describe(self.workspace), state, build)

    def head(self) -> str:
        return git(self.workspace, "rev-parse", "HEAD")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The change branched off the target's first commit, and both have moved on."""
    host, workspace = tmp_path / "host", tmp_path / "workspace"
    for folder in (host, workspace):
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")
    git(workspace, "remote", "add", "origin", str(host))
    commit(host, "app.py")
    git(host, "checkout", "-q", "-b", "work")
    commit(host, "change.py")
    commit(host, "change_more.py")
    git(host, "update-ref", "refs/pull/12/head", "HEAD")
    git(host, "checkout", "-q", "main")
    commit(host, "target.py")
    return World(host, workspace)


def test_the_head_of_a_change_is_found_behind_the_merge_that_jenkins_made(world: World) -> None:
    head = world.check_out_change()
    assert world.head() != head
    origin = world.origin(**CHANGE, GIT_COMMIT=world.head())
    assert origin.checkout.commit == head == git(world.host, "rev-parse", "refs/pull/12/head")
    assert origin.notes == (f"commit {head}: the head of change 12, which is merged with main here",)
    assert origin.checkout.files == ("app.py", "change.py", "change_more.py", "target.py")


def test_two_agents_that_merge_for_themselves_name_the_same_commit(world: World) -> None:
    head = world.check_out_change()
    one = world.head()
    git(world.workspace, "checkout", "-q", "--detach", head)
    git(world.workspace, "merge", "-q", "refs/remotes/origin/main", "-m", "another moment")
    assert world.head() != one
    assert world.origin(**CHANGE).checkout.commit == head


def test_a_merge_the_other_way_round_as_code_hosts_make_it(world: World) -> None:
    """``refs/pull/12/merge`` merges the change into the target."""
    git(world.host, "checkout", "-q", "--detach", "main")
    git(world.host, "merge", "-q", "--no-ff", "work", "-m", "merge")
    git(world.host, "update-ref", "refs/pull/12/merge", "HEAD")
    world.fetch(
        "refs/pull/12/merge:refs/remotes/origin/pr/12/merge", "refs/heads/main:refs/remotes/origin/main"
    )
    git(world.workspace, "checkout", "-q", "--detach", "refs/remotes/origin/pr/12/merge")
    assert world.origin(**CHANGE).checkout.commit == git(world.host, "rev-parse", "work")


def test_a_change_that_moved_on_since_it_was_merged_keeps_the_head_that_was_merged(world: World) -> None:
    head = world.check_out_change()
    git(world.host, "checkout", "-q", "work")
    git(world.host, "update-ref", "refs/pull/12/head", commit(world.host, "later.py"))
    world.fetch()
    assert world.origin(**CHANGE).checkout.commit == head


def test_a_change_that_is_ahead_of_its_target_needs_no_merge(world: World) -> None:
    git(world.host, "checkout", "-q", "work")
    git(world.host, "merge", "-q", "main", "-m", "by a developer")
    git(world.host, "update-ref", "refs/pull/12/head", "HEAD")
    head = world.check_out_change()
    assert world.head() == head, "a fast-forward"
    assert world.origin(**CHANGE).checkout.commit == head, "and not a parent of the developer's own merge"


def test_a_developers_merge_stays_the_head_when_the_change_moved_on(world: World) -> None:
    git(world.host, "checkout", "-q", "work")
    git(world.host, "merge", "-q", "main", "-m", "by a developer")
    git(world.host, "update-ref", "refs/pull/12/head", "HEAD")
    head = world.check_out_change()
    git(world.host, "update-ref", "refs/pull/12/head", commit(world.host, "later.py"))
    world.fetch()
    assert world.origin(**CHANGE).checkout.commit == head


def test_a_change_that_is_built_without_a_merge_is_its_head(world: World) -> None:
    world.fetch()
    git(world.workspace, "checkout", "-q", "--detach", "refs/remotes/origin/PR-12")
    assert world.origin(**CHANGE).checkout.commit == world.head()


def test_a_merge_whose_parents_nobody_knows_is_an_error_that_names_them(world: World) -> None:
    head = world.check_out_change()
    target = git(world.workspace, "rev-parse", "refs/remotes/origin/main")
    for ref in ("PR-12", "main"):
        git(world.workspace, "update-ref", "-d", f"refs/remotes/origin/{ref}")
    with pytest.raises(ConfigurationError, match="can't determine the head commit of change 12") as caught:
        world.origin(**CHANGE)
    assert head in str(caught.value)
    assert target in str(caught.value)
    assert "--commit" in caught.value.hint


def test_a_merge_of_more_than_two_is_an_error(world: World) -> None:
    git(world.host, "checkout", "-q", "-b", "third", "main~1")
    commit(world.host, "third.py")
    world.fetch("refs/heads/*:refs/remotes/origin/*")
    git(world.workspace, "checkout", "-q", "--detach", "refs/remotes/origin/main")
    git(
        world.workspace,
        "merge",
        "-q",
        "refs/remotes/origin/work",
        "refs/remotes/origin/third",
        "-m",
        "octopus",
    )
    with pytest.raises(ConfigurationError, match="can't determine the head commit"):
        world.origin(**CHANGE)


def test_a_shallow_clone_of_a_hosts_merge_is_told_by_the_branch_of_the_change(world: World) -> None:
    """At the border git shows no parents; they stand in the commit all the same."""
    git(world.host, "checkout", "-q", "--detach", "main")
    git(world.host, "merge", "-q", "--no-ff", "work", "-m", "merge")
    git(world.host, "update-ref", "refs/pull/12/merge", "HEAD")
    git(world.workspace, "remote", "set-url", "origin", f"file://{world.host}")
    refs = ("refs/pull/12/merge:refs/remotes/origin/pr/12/merge", "refs/heads/main:refs/remotes/origin/main")
    git(world.workspace, "fetch", "-q", "--depth=1", "origin", *(f"+{ref}" for ref in refs))
    git(world.workspace, "checkout", "-q", "--detach", "refs/remotes/origin/pr/12/merge")
    assert git(world.workspace, "log", "-1", "--format=%P") == ""
    assert world.origin(**CHANGE).checkout.commit == git(world.host, "rev-parse", "work")
    git(world.workspace, "update-ref", "-d", "refs/remotes/origin/main")
    with pytest.raises(ConfigurationError, match="is unknown") as caught:
        world.origin(**CHANGE)
    assert "with their history" in caught.value.hint


def test_a_change_without_a_repository_is_an_error(tmp_path: Path) -> None:
    found = Checkout(str(tmp_path), "c" * 40, "local", ())
    with pytest.raises(ConfigurationError, match="isn't a git repository"):
        in_jenkins(found, None, JenkinsBuild(commit="a" * 40, change="12"))


def test_outside_of_changes_a_merge_is_the_commit_itself(world: World) -> None:
    world.fetch("refs/heads/*:refs/remotes/origin/*")
    git(world.workspace, "checkout", "-q", "--detach", "refs/remotes/origin/main")
    git(world.workspace, "merge", "-q", "refs/remotes/origin/work", "-m", "merge")
    assert world.origin(BRANCH_NAME="main").checkout.commit == world.head()


def test_what_is_checked_out_wins_over_git_commit_and_that_is_said(world: World) -> None:
    world.fetch()
    git(world.workspace, "checkout", "-q", "--detach", "refs/remotes/origin/main")
    origin = world.origin(BRANCH_NAME="main", GIT_COMMIT="a" * 40)
    assert origin.checkout.commit == world.head()
    assert "GIT_COMMIT" in origin.notes[0]
    assert world.origin(BRANCH_NAME="main", GIT_COMMIT=world.head()).notes == ()


@pytest.mark.parametrize(
    ("variables", "branch"),
    [
        (
            {"BRANCH_NAME": "PR-12", "GIT_BRANCH": "origin/x", "CHANGE_ID": "12", "CHANGE_BRANCH": "main"},
            "PR-12",
        ),
        ({"BRANCH_NAME": "origin/odd"}, "origin/odd"),
        ({"GIT_BRANCH": "origin/main"}, "main"),
        ({"GIT_BRANCH": "origin/feature/x"}, "feature/x"),
        ({"GIT_BRANCH": "refs/remotes/origin/main"}, "main"),
        ({"GIT_BRANCH": "refs/heads/main"}, "main"),
        ({"GIT_BRANCH": "main"}, "main"),
        ({"GIT_BRANCH": "detached"}, "detached"),
        ({}, "detached"),
        ({"BRANCH_NAME": "<b>'${X}`id`\\u0027"}, "<b>'${X}`id`\\u0027"),
    ],
)
def test_the_branch_is_jenkins_own_name_or_what_git_found_it_on(
    world: World, variables: dict[str, str], branch: str
) -> None:
    """Never CHANGE_BRANCH: in a fork it may be ``main``, too."""
    world.fetch()
    git(world.workspace, "checkout", "-q", "--detach", "refs/remotes/origin/main")
    assert world.origin(**variables).checkout.branch == branch


def test_files_that_git_does_not_know_are_told_and_stay_out_of_the_project(world: World) -> None:
    """Other steps leave files in a workspace; they neither rename the commit nor are they reported."""
    world.fetch()
    git(world.workspace, "checkout", "-q", "--detach", "refs/remotes/origin/main")
    for name in ("left over.py", "b.log", "new\nline.py"):
        (world.workspace / name).write_text("x = 1\n")
    origin = world.origin(BRANCH_NAME="main")
    assert origin.checkout.commit == world.head()
    assert origin.checkout.files == ("app.py", "target.py")
    assert origin.notes == (
        "not part of the project, as git doesn't track them: b.log, left over.py, new\\nline.py",
    )
    for number in range(9):
        (world.workspace / f"c{number}").write_text("")
    assert world.origin(BRANCH_NAME="main").notes[0].endswith("and 7 more")


@pytest.mark.parametrize("change", ["modify", "delete", "stage", "mode"])
def test_a_changed_file_of_the_commit_is_an_error_that_names_it(world: World, change: str) -> None:
    """Whatever would be measured isn't the commit; under another name no other agent would find it."""
    world.fetch()
    git(world.workspace, "checkout", "-q", "--detach", "refs/remotes/origin/main")
    path = world.workspace / "app.py"
    if change == "delete":
        path.unlink()
    elif change == "mode":
        path.chmod(0o755)
    else:
        path.write_text("x = 2\n")
    if change == "stage":
        git(world.workspace, "add", ".")
    with pytest.raises(ConfigurationError, match=rf"differs from commit {world.head()}: app\.py") as caught:
        world.origin(BRANCH_NAME="main")
    assert caught.value.exit_code == 2
    assert "--commit" in caught.value.hint


def test_files_that_a_submodule_does_not_track_change_nothing_and_changed_ones_do(
    world: World, tmp_path: Path
) -> None:
    world.fetch()
    git(world.workspace, "checkout", "-q", "-b", "main", "refs/remotes/origin/main")
    git(
        world.workspace,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "-q",
        "add",
        str(world.host),
        "inner",
    )
    git(world.workspace, "commit", "-qm", "inner")
    (world.workspace / "inner" / "left.log").write_text("x")
    assert world.origin(BRANCH_NAME="main").checkout.commit == world.head()
    (world.workspace / "inner" / "app.py").write_text("x = 3\n")
    with pytest.raises(ConfigurationError, match=": inner changed"):
        world.origin(BRANCH_NAME="main")


def test_without_git_the_commit_is_what_jenkins_says_if_it_is_one(tmp_path: Path) -> None:
    found = Checkout(str(tmp_path), "c" * 40, "local", ("app.py",))
    assert in_jenkins(found, None, JenkinsBuild(commit="a" * 40, branch="main")).checkout == Checkout(
        str(tmp_path), "a" * 40, "main", ("app.py",)
    )
    assert in_jenkins(found, None, JenkinsBuild(commit="../x", branch="main")).checkout.commit == "c" * 40


@pytest.mark.parametrize(
    ("variables", "build"),
    [
        ({"BUILD_TAG": "jenkins-app-7"}, "jenkins-app-7"),
        ({}, "jenkins-app-7"),
        ({"JOB_NAME": "team/app/PR-12"}, "jenkins-team-app-PR-12-7"),
        ({"BUILD_TAG": "jenkins-a b-7"}, r"jenkins-a-b-7-[0-9a-f]{8}"),
        ({"BUILD_TAG": "jenkins-a..%2Fb-7"}, r"jenkins-a-2Fb-7-[0-9a-f]{8}"),
        ({"BUILD_TAG": "../../$(id)"}, r"id--[0-9a-f]{8}"),
        ({"BUILD_TAG": "Größe 日本"}, r"[0-9A-Za-z-]+-[0-9a-f]{8}"),
        ({"BUILD_TAG": "日本"}, r"jenkins-[0-9a-f]{8}"),
        ({"BUILD_TAG": "jenkins-" + "x" * 300 + "-7"}, r"x{108}-7-[0-9a-f]{8}"),
    ],
)
def test_the_build_is_jenkins_tag_in_characters_that_the_store_allows(
    tmp_path: Path, variables: dict[str, str], build: str
) -> None:
    environ = {"WORKSPACE": str(tmp_path), "JOB_NAME": "app", "BUILD_NUMBER": "7", **variables}
    found = jenkins_build(environ, tmp_path)
    assert found
    assert re.fullmatch(build, found.build)
    from covfleet.store.keys import CommitKeys

    CommitKeys("c").build(f"{found.build}.3f9a")


def test_different_tags_never_give_the_same_build(tmp_path: Path) -> None:
    tags = ["jenkins-a b-7", "jenkins-a-b-7", "jenkins-a.b-7", "jenkins-a%b-7", "jenkins-a  b-7"]
    environ = {"WORKSPACE": str(tmp_path), "JOB_NAME": "app", "BUILD_NUMBER": "7"}
    found = [jenkins_build({**environ, "BUILD_TAG": tag}, tmp_path) for tag in tags]
    assert len({build.build for build in found if build}) == len(tags)


def test_jenkins_variables_say_nothing_of_a_project_outside_its_workspace(tmp_path: Path) -> None:
    """A test suite that runs in Jenkins and calls covfleet on projects of its own must not be misled."""
    inside, outside = tmp_path / "workspace" / "app", tmp_path / "elsewhere"
    inside.mkdir(parents=True)
    outside.mkdir()
    environ = {"WORKSPACE": str(tmp_path / "workspace"), "JOB_NAME": "app", "BUILD_NUMBER": "7"}
    assert jenkins_build(environ, inside)
    assert jenkins_build(environ, outside) is None
    for name in environ:
        assert jenkins_build({**environ, name: ""}, inside) is None
    (tmp_path / "link").symlink_to(inside)
    assert jenkins_build(environ, tmp_path / "link")


def covfleet(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {**ENVIRON, "WORKSPACE": str(project), "JOB_NAME": "team/app", "BUILD_NUMBER": "7", **variables}
    return subprocess.run(
        [sys.executable, "-P", "-m", "covfleet", *arguments],
        cwd=project,
        env={**environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_stage_by_stage_in_jenkins_all_commands_name_the_same_commit_and_build(
    world: World, tmp_path: Path
) -> None:
    git(world.host, "checkout", "-q", "main")
    commit(world.host, "test_app.py", "import app\n\ndef test_app():\n    assert app.x\n")
    head = world.check_out_change()
    (world.workspace / "left.log").write_text("x")
    store = str(tmp_path / "store")
    for command in (["plan"], ["shard", "1"], ["combine"], ["report"]):
        ran = covfleet(world.workspace, *command, "--store", store, **CHANGE, GIT_COMMIT=world.head())
        assert ran.returncode == 0, ran.stderr
        assert f"commit {head}: the head of change 12" in ran.stderr
    [plan] = (tmp_path / "store").glob("*/builds/*/plan.json")
    assert plan.parents[2].name == head
    assert re.fullmatch(r"jenkins-team-app-7\.[0-9a-f]{4}", plan.parent.name)
    assert '"branch": "PR-12"' in plan.read_text()
    assert "left.log" not in plan.read_text()


def test_a_build_of_jenkins_goes_on_with_its_own_and_not_with_a_newer_one(
    world: World, tmp_path: Path
) -> None:
    git(world.host, "checkout", "-q", "main")
    commit(world.host, "test_app.py", "def test_app():\n    import app\n")
    world.check_out_change()
    store = ("--store", str(tmp_path / "store"))
    for number in ("7", "8"):
        assert covfleet(world.workspace, "plan", *store, **CHANGE, BUILD_NUMBER=number).returncode == 0
    ran = covfleet(world.workspace, "shard", "1", *store, "--json", **CHANGE)
    assert ran.returncode == 0, ran.stderr
    [heartbeat] = (tmp_path / "store").glob("*/builds/*/shards/1.json")
    assert heartbeat.parents[1].name.startswith("jenkins-team-app-7.")
    ran = covfleet(world.workspace, "shard", "1", *store, **CHANGE, BUILD_NUMBER="9")
    assert ran.returncode == 0, "a build without one of its own takes the newest"


def test_flags_win_over_jenkins_and_a_changed_workspace_is_refused_without(
    world: World, tmp_path: Path
) -> None:
    world.check_out_change()
    commit(world.workspace, "test_app.py", "def test_app():\n    import app\n")
    (world.workspace / "app.py").write_text("x = 5\n")
    store = ("--store", str(tmp_path / "store"))
    ran = covfleet(world.workspace, "plan", *store, **CHANGE)
    assert ran.returncode == 2
    assert ": app.py changed" in ran.stderr
    assert not (tmp_path / "store").exists() or not list((tmp_path / "store").rglob("plan.json"))
    flags = ("--commit", "mine", "--branch", "a/b", "--build", "b1")
    ran = covfleet(world.workspace, "plan", *store, *flags, **CHANGE)
    assert ran.returncode == 0, ran.stderr
    plan = (tmp_path / "store" / "mine" / "builds" / "b1" / "plan.json").read_text()
    assert '"branch": "a/b"' in plan


def test_outside_jenkins_nothing_changes(world: World) -> None:
    world.fetch()
    git(world.workspace, "checkout", "-q", "-b", "main", "refs/remotes/origin/main")
    commit(world.workspace, "test_app.py", "def test_app():\n    import app\n")
    (world.workspace / "new.py").write_text("x = 1\n")
    ran = covfleet(world.workspace, "plan", "--dry-run", "--json", WORKSPACE="", GIT_COMMIT="a" * 40)
    assert ran.returncode == 0, ran.stderr
    assert re.search(rf'"commit": "{world.head()}-[0-9a-f]{{12}}"', ran.stdout)
    assert '"branch": "main"' in ran.stdout
    assert re.search(r'"build": "\d{8}T\d{6}Z-[0-9a-f]{4}"', ran.stdout)
