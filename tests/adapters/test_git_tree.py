"""What names a checkout, and which files belong to it: with real git repositories, tidy and hostile."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from covfleet.adapters.git import GitTree, _fingerprint
from covfleet.errors import ConfigurationError
from covfleet.model import Checkout

ENVIRON = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def git(folder: Path, *command: str) -> str:
    done = subprocess.run(
        ["git", *command], cwd=folder, env=ENVIRON, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def describe(folder: Path, **environ: str) -> Checkout:
    return GitTree(ENVIRON | environ).describe(folder)


def fill(folder: Path, **files: str) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(content)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    fill(folder, app="a = 1\n", pkg__mod="m = 1\n")
    (folder / ".gitignore").write_text("*.log\nscratch/\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent doesn't exist"):
        describe(tmp_path / "absent")


def test_a_repository_that_git_refuses_is_an_error_not_another_commit_name(repository: Path) -> None:
    (repository / ".git" / "HEAD").write_text("nonsense")
    with pytest.raises(ConfigurationError, match="git refused"):
        describe(repository)


def test_a_clean_tree_is_named_by_its_head(repository: Path) -> None:
    checkout = describe(repository)
    assert checkout.commit == git(repository, "rev-parse", "HEAD")
    assert checkout.branch == "main"
    assert checkout.files == (".gitignore", "app.py", "pkg/mod.py")
    assert checkout.root == str(repository.resolve())


@pytest.mark.parametrize("change", ["modify", "delete", "untracked", "executable", "staged"])
def test_every_kind_of_change_changes_the_name(repository: Path, change: str) -> None:
    head = describe(repository).commit
    app = repository / "app.py"
    if change == "modify":
        app.write_text("a = 2\n")
    elif change == "delete":
        app.unlink()
    elif change == "untracked":
        fill(repository, new="n = 1\n")
    elif change == "executable":
        app.chmod(0o755)
    else:
        app.write_text("a = 3\n")
        git(repository, "add", ".")
    checkout = describe(repository)
    assert re.fullmatch(head + "-[0-9a-f]{12}", checkout.commit)
    assert describe(repository).commit == checkout.commit
    assert ("app.py" in checkout.files) == (change != "delete")
    assert ("new.py" in checkout.files) == (change == "untracked")


def test_different_changes_have_different_names_and_undoing_them_restores_the_head(repository: Path) -> None:
    head = describe(repository).commit
    names = set()
    for content in ("a = 2\n", "a = 3\n"):
        fill(repository, app=content)
        names.add(describe(repository).commit)
    assert len(names) == 2
    fill(repository, app="a = 1\n")
    assert describe(repository).commit == head


def test_staging_a_change_does_not_rename_the_tree(repository: Path) -> None:
    fill(repository, app="a = 2\n")
    before = describe(repository).commit
    git(repository, "add", ".")
    assert describe(repository).commit == before


def test_ignored_files_and_covfleets_own_folder_never_count(repository: Path) -> None:
    before = describe(repository)
    (repository / "x.log").write_text("noise")
    fill(repository, **{".covfleet__store__x": "noise", "scratch__y": "noise"})
    assert describe(repository) == before


def test_a_project_in_a_subfolder_sees_only_itself(repository: Path) -> None:
    project = repository / "pkg"
    fill(repository, app="outside = 1\n")
    checkout = describe(project)
    assert checkout.files == ("mod.py",)
    assert "-" not in checkout.commit
    fill(project, mod="m = 2\n", deep__new="n = 1\n")
    checkout = describe(project)
    assert checkout.files == ("deep/new.py", "mod.py")
    assert re.fullmatch("[0-9a-f]{40}-[0-9a-f]{12}", checkout.commit)


@pytest.mark.parametrize(
    "name",
    [
        "-rf.py",
        "new\nline.py",
        'quo"te.py',
        "branch.oid (initial)",
        "# branch.head x",
        "ümlaut.py",
        ":(top)x",
        " a  b ",
    ],
)
def test_hostile_names_are_only_names(repository: Path, name: str) -> None:
    (repository / name).write_text("x = 1\n")
    untracked = describe(repository)
    assert name in untracked.files
    assert untracked.branch == "main"
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "hostile")
    assert name in describe(repository).files
    (repository / name).write_text("x = 2\n")
    assert re.fullmatch("[0-9a-f]{40}-[0-9a-f]{12}", describe(repository).commit)


def test_a_name_that_is_not_utf8_counts_as_a_change_but_is_not_listed(repository: Path) -> None:
    (repository / os.fsdecode(b"\xff.py")).write_text("x = 1\n")
    checkout = describe(repository)
    assert "-" in checkout.commit
    assert checkout.files == (".gitignore", "app.py", "pkg/mod.py")


def test_links_that_lead_out_of_the_project_are_not_its_files(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("password = 1\n")
    (repository / "out.py").symlink_to(tmp_path / "secret.py")
    (repository / "in.py").symlink_to("app.py")
    (repository / "dangling.py").symlink_to("nowhere.py")
    assert describe(repository).files == (".gitignore", "app.py", "in.py", "pkg/mod.py")


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    assert describe(repository).branch == "detached"


def test_before_the_first_commit_the_content_names_the_tree(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    fill(tmp_path, app="a = 1\n")
    checkout = describe(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", checkout.commit)
    assert checkout.branch == "main"
    assert checkout.files == ("app.py",)


def test_files_of_submodules_belong_and_their_changes_count(repository: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q", "-b", "main")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repository), "inner")
    git(outer, "commit", "-qm", "first")
    clean = describe(outer)
    assert "inner/app.py" in clean.files
    names = {clean.commit}
    for content in ("a = 2\n", "a = 3\n"):
        fill(outer / "inner", app=content)
        names.add(describe(outer).commit)
    assert len(names) == 3


def test_variables_that_a_git_hook_sets_do_not_mislead(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "elsewhere")
    assert describe(repository, GIT_DIR=str(other / ".git"), GIT_WORK_TREE=str(other)) == describe(repository)


def plain(folder: Path) -> Path:
    fill(folder, app="a = 1\n", pkg__mod="m = 1\n", src__build__real="b = 1\n")
    for noise in (
        ".venv/x.py",
        "env/x.py",
        "pkg/__pycache__/mod.pyc",
        "node_modules/x.js",
        "build/lib/app.py",
    ):
        (folder / noise).parent.mkdir(parents=True, exist_ok=True)
        (folder / noise).write_text("noise")
    for noise in ("env/pyvenv.cfg", ".coverage", ".coverage.host.pid1.Xa"):
        (folder / noise).write_text("noise")
    (folder / ".coveragerc").write_text("[run]\n")
    return folder


def test_without_a_repository_the_content_names_the_tree(tmp_path: Path) -> None:
    one, two = describe(plain(tmp_path / "a")), describe(plain(tmp_path / "b"))
    assert one.commit == two.commit
    assert re.fullmatch("[0-9a-f]{40}", one.commit)
    assert one.branch == "local"
    assert one.files == (".coveragerc", "app.py", "pkg/mod.py", "src/build/real.py")
    fill(tmp_path / "b", app="a = 2\n")
    assert describe(tmp_path / "b").commit != one.commit


def test_an_ignored_folder_of_another_repository_is_a_plain_folder(repository: Path) -> None:
    project = repository / "scratch" / "project"
    project.mkdir(parents=True)
    fill(project, app="a = 1\n")
    checkout = describe(project)
    assert checkout.branch == "local"
    assert checkout.files == ("app.py",)


def test_without_a_git_binary_the_content_names_the_tree(repository: Path) -> None:
    checkout = GitTree(ENVIRON, git="no-such-git").describe(repository)
    assert checkout.branch == "local"
    assert re.fullmatch("[0-9a-f]{40}", checkout.commit)
    assert checkout.files == (".gitignore", "app.py", "pkg/mod.py")


def test_a_file_that_cannot_be_read_is_named() -> None:
    """Root may read everything; address 0 of a process's memory is what even root can't."""
    with pytest.raises(ConfigurationError, match="can't read /proc/self/mem"):
        _fingerprint(Path("/proc/self/mem"))


def test_an_empty_folder_has_a_name_and_no_files(tmp_path: Path) -> None:
    assert describe(tmp_path).files == ()
