"""The application's checkout as git describes it, or the plain content of a folder without git."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from covfleet.errors import ConfigurationError
from covfleet.files import sha256_of
from covfleet.model import Checkout, GitState

_OWN_FOLDER = ".covfleet"
_PROJECT = ("--", ".", f":(exclude){_OWN_FOLDER}", ":(exclude,glob)**/__pycache__/**")
_TOOL_FOLDERS = frozenset({"__pycache__", "node_modules", "htmlcov"})
_BUILD_FOLDERS = frozenset({"build", "dist"})  # only at the top level, and only if they aren't packages
_REDIRECTIONS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
)


@dataclass(frozen=True, slots=True)
class GitTree:
    """The project's tree, described by the git command.

    ``environ`` is git's environment; variables with which a hook points git at another repository are
    removed.
    """

    environ: Mapping[str, str]
    git: str = "git"

    def describe(self, root: Path) -> Checkout:
        """Return the name of the tree's commit and branch, and the files that belong to the tree.

        The commit is the head; with changes, ``<head>-<12 hex digits>``, a hash of the changed content;
        without git or a first commit, 40 hex digits, a hash of all content. The same content gives the same
        name.

        Raises:
            ConfigurationError: the folder doesn't exist, git refuses to read its repository, or a file of the
                project can't be read.
        """
        root = root.resolve()
        if not root.is_dir():
            raise ConfigurationError(
                f"the folder {root} doesn't exist", hint="Set the project's folder with --project DIR."
            )
        listed = self._listed(root)
        if listed is None:
            files = _regular(root, _walk(root))
            return Checkout(str(root), _content_hash(root, files), "local", files)
        files = _regular(root, listed)
        status = self._status(root)
        if status.head is None:
            return Checkout(str(root), _content_hash(root, files), status.branch, files)
        suffix = f"-{_digest(self._changes(root, status))[:12]}" if status.changed else ""
        return Checkout(str(root), status.head + suffix, status.branch, files)

    def state(self, root: Path, branch: str, target: str) -> GitState | None:
        """Return git's description of the head and of changes to it; ``None`` without git or a first commit.

        Args:
            root: the project's folder.
            branch: the change's name among the fetched branches (``refs/remotes/*/<branch>``).
            target: the name of the branch that the change is to be merged into.

        Raises:
            ConfigurationError: git refuses to read the repository.
        """
        root = root.resolve()
        if self._listed(root) is None or (status := self._status(root)).head is None:
            return None
        parents = self._parents(root, status.head)
        tips = self._fetched(root, branch)
        return GitState(
            head=status.head,
            parents=parents,
            published=self._is_published(root, status.head),
            change_tip=tips[0] if len(tips) == 1 else "",
            on_target=self._contained(root, parents, self._fetched(root, target)),
            changed=tuple(os.fsdecode(name) for name in status.changed if name not in status.untracked),
            untracked=tuple(sorted(os.fsdecode(name) for name in self._untracked(root))),
        )

    def _parents(self, root: Path, commit: str) -> tuple[str, ...]:
        """Return the parents recorded in the commit, which git's own commands hide in a shallow clone."""
        header, _, _ = self._checked(root, "cat-file", "commit", commit).partition(b"\n\n")
        return tuple(
            line.removeprefix(b"parent ").decode()
            for line in header.splitlines()
            if line.startswith(b"parent ")
        )

    def _fetched(self, root: Path, branch: str) -> list[str]:
        """Return the commits of the fetched branches with that name, of any remote."""
        if not branch:
            return []
        refs = self._checked(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/remotes")
        found = (line.decode(errors="replace").partition(" ") for line in refs.splitlines())
        return sorted({commit for commit, _, name in found if _is_fetched(name, branch)})

    def _is_published(self, root: Path, commit: str) -> bool:
        names = self._checked(
            root, "for-each-ref", f"--contains={commit}", "--format=%(refname)", "refs/remotes"
        )
        return any(not name.endswith(b"/merge") for name in names.splitlines())  # merges by the code host

    def _contained(self, root: Path, commits: Iterable[str], tips: Iterable[str]) -> tuple[str, ...]:
        return tuple(
            commit
            for commit in commits
            if any(
                self._run(root, "merge-base", "--is-ancestor", commit, tip).returncode == 0 for tip in tips
            )
        )

    def _untracked(self, root: Path) -> list[bytes]:
        return self._paths(root, "ls-files", "-z", "--others", "--exclude-standard", *_PROJECT)

    def _listed(self, root: Path) -> list[bytes] | None:
        """Return the paths that git assigns to the project, or ``None`` if git doesn't manage the folder."""
        try:
            inside = self._run(root, "rev-parse", "--is-inside-work-tree")
        except FileNotFoundError:
            return None
        if inside.returncode or inside.stdout.strip() != b"true":
            if inside.returncode and _git_folder(root):
                raise _refused(root, inside)
            return None
        tracked = self._paths(root, "ls-files", "-z", "--cached", "--recurse-submodules", *_PROJECT)
        if not tracked and self._run(root, "check-ignore", "--quiet", ".").returncode == 0:
            return None
        return tracked + self._untracked(root)

    def _status(self, root: Path) -> _Status:
        head, branch, changed, untracked = None, "detached", [], set()
        options = ("-z", "--branch", "--untracked-files=all", "--no-renames", "--ignore-submodules=none")
        for line in self._paths(root, "status", "--porcelain=v2", *options, *_PROJECT):
            kind, _, rest = line.partition(b" ")
            if kind in _PATH_FIELD:
                changed.append(rest.split(b" ", _PATH_FIELD[kind])[-1])
                if kind == b"?" or rest.startswith(_UNTRACKED_IN_SUBMODULE):
                    untracked.add(changed[-1])
            elif rest.startswith(b"branch.oid ") and rest != b"branch.oid (initial)":
                head = rest.removeprefix(b"branch.oid ").decode()
            elif rest.startswith(b"branch.head ") and rest != b"branch.head (detached)":
                branch = rest.removeprefix(b"branch.head ").decode(errors="replace")
        return _Status(head, branch, tuple(sorted(changed)), frozenset(untracked))

    def _changes(self, root: Path, status: _Status) -> Iterator[bytes]:
        """Yield names and fingerprints that identify the tree's changed content."""
        top = root / os.fsdecode(self._checked(root, "rev-parse", "--show-cdup").removesuffix(b"\n"))
        for name in status.changed:
            path = top / os.fsdecode(name)
            yield name
            if path.is_dir() and not path.is_symlink():
                yield self.describe(path).commit.encode()  # a submodule
            else:
                yield _fingerprint(path)

    def _paths(self, root: Path, *command: str) -> list[bytes]:
        return [path for path in self._checked(root, *command).split(b"\0") if path]

    def _checked(self, root: Path, *command: str) -> bytes:
        done = self._run(root, *command)
        if done.returncode:
            raise _refused(root, done)
        return done.stdout

    def _run(self, root: Path, *command: str) -> subprocess.CompletedProcess[bytes]:
        environ = {name: value for name, value in self.environ.items() if name not in _REDIRECTIONS}
        return subprocess.run(
            [self.git, *command],
            cwd=root,
            env=environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )


@dataclass(frozen=True, slots=True)
class _Status:
    head: str | None
    branch: str
    changed: tuple[bytes, ...]
    untracked: frozenset[bytes]  # of ``changed``


_PATH_FIELD = {b"1": 7, b"u": 9, b"?": 0}
"""Spaces before the path in each kind of line of ``git status --porcelain=v2``, the first not counted."""


_UNTRACKED_IN_SUBMODULE = b".M S..U "
"""The rest of the line of a submodule whose only changes are untracked files."""


def _refused(root: Path, done: subprocess.CompletedProcess[bytes]) -> ConfigurationError:
    said = done.stderr.decode(errors="replace").strip()
    return ConfigurationError(
        f"git refused to describe {root}: {said}",
        hint=f"Make `git -C {root} status` work; git must be allowed to read the repository.",
    )


def _is_fetched(name: str, branch: str) -> bool:
    """Return whether a ref is ``refs/remotes/<remote>/<branch>``."""
    return name.startswith("refs/remotes/") and name.removeprefix("refs/remotes/").partition("/")[2] == branch


def _git_folder(root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (root, *root.parents))


def _content_hash(root: Path, files: Iterable[str]) -> str:
    return _digest(part for name in files for part in (name.encode(), _fingerprint(root / name)))[:40]


def _digest(parts: Iterable[bytes]) -> str:
    """Hash parts, each prefixed with its length, so that different lists never give the same bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:%b" % (len(part), part))
    return digest.hexdigest()


def _fingerprint(path: Path) -> bytes:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return b"link " + os.fsencode(path.readlink())
        if not stat.S_ISREG(mode):
            return b"other"
        return b"%o %b" % (mode & stat.S_IXUSR, bytes.fromhex(sha256_of(path)))
    except (FileNotFoundError, NotADirectoryError):
        return b"deleted"
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"can't read {path}: {error.strerror}",
        hint="The commit's name depends on all files: make this one readable, or let git ignore it.",
    )


def _regular(root: Path, names: Iterable[bytes]) -> tuple[str, ...]:
    """Return the names of files inside the project, sorted.

    This leaves out missing files, links that lead out of the project (a report would publish their target),
    and names that aren't UTF-8, which no JSON document can contain.
    """
    files = set()
    for name in names:
        try:
            text = name.decode()
            path = root / text
            mode = path.lstat().st_mode
            inside = stat.S_ISREG(mode) or (
                stat.S_ISLNK(mode) and path.is_file() and path.resolve().is_relative_to(root)
            )
        except (UnicodeDecodeError, FileNotFoundError, NotADirectoryError):
            continue
        if inside:
            files.add(text)
    return tuple(sorted(files))


def _walk(root: Path) -> Iterator[bytes]:
    """Yield the files of a folder without git, except those that tools leave behind."""

    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error)

    for folder, inner, names in os.walk(root, onerror=refuse):
        here = Path(folder)
        inner[:] = [name for name in inner if not _left_behind(here / name, top=here == root)]
        relative = here.relative_to(root)
        for name in names:
            data = name == ".coverage" or name.startswith(".coverage.") or name.endswith(".pyc")
            if not data:
                yield os.fsencode((relative / name).as_posix())


def _left_behind(folder: Path, *, top: bool) -> bool:
    return (
        folder.name.startswith(".")
        or folder.name in _TOOL_FOLDERS
        or folder.name.endswith(".egg-info")
        or (folder / "pyvenv.cfg").exists()
        or (top and folder.name in _BUILD_FOLDERS and not (folder / "__init__.py").exists())
    )
