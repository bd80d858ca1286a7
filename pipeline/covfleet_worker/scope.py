"""What the project's settings select, as only the tests' own interpreter can tell: folders, files, modules.

coverage.py says which files a setting selects; this module adds what the agent needs to prove that each of
them is in the figure: what their content is, and from where a package was really imported.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
import time
from typing import Any, Iterable, Iterator, Optional

MOST_BYTES = 4 * 1024 * 1024  # of one file that the agent doesn't have
_PYTHON = re.compile(r"^[^.#~!$@%^&*()+=,]+\.pyw?$")  # as coverage.py has it
_NEVER = frozenset({"__pycache__", ".covfleet", ".git", ".hg", ".svn"})


class Scope:
    """What is selected below ``root``, and what is known of every file that was measured."""

    def __init__(self, cov: Any, root: str) -> None:
        self._cov = cov
        self._root = os.path.realpath(root)
        self._began = time.time()
        self._told: set[str] = set()  # of which the agent knows all
        self._judged: set[str] = set()  # modules
        self._units: Optional[dict[str, list[str]]] = None

    # ---- what the settings select

    def described(self) -> list[dict[str, str]]:
        """Return each entry of ``source``, ``source_dirs`` and ``source_pkgs``; none without such settings.

        ``folder`` is relative to the project, "." itself; absolute outside of it; empty for a package that
        wasn't imported.
        """
        inorout = self._cov._inorout
        folders = [{"name": name, "folder": name} for name in map(self._relative, _folders(inorout))]
        packages = [
            {"name": name, "folder": self._relative(place) if place else ""}
            for name in inorout.source_pkgs
            for place in [_place_of(name)]
        ]
        return folders + packages

    def is_limited(self) -> bool:
        """Say whether ``source``, ``source_pkgs`` or ``include`` limit what is measured."""
        inorout = self._cov._inorout
        return bool(_folders(inorout) or inorout.source_pkgs or inorout.include)

    def unknown_files(self, known: Iterable[str]) -> Iterator[dict[str, str]]:
        """Yield the project's Python files that the settings select and the agent doesn't know.

        ``content`` is in base64. Virtual environments are never the project's, and a link leads nowhere
        outside of it.
        """
        there = set(known)
        for path in sorted({path for folder in self._bases() for path in self._python_files(folder)}):
            name = self._relative(path)
            if name in there or not _is_text(name) or os.path.getsize(path) > MOST_BYTES:
                continue
            with open(path, "rb") as file:
                yield {"path": name, "content": base64.b64encode(file.read()).decode("ascii")}

    def _bases(self) -> list[str]:
        """Return the folders (or single modules) below the project's that the settings select."""
        if not self.is_limited() or not (_folders(self._cov._inorout) or self._cov._inorout.source_pkgs):
            return [self._root]
        places = [os.path.join(self._root, entry["folder"]) for entry in self.described() if entry["folder"]]
        return [place for place in map(os.path.normpath, places) if self._is_ours(place)]

    def _python_files(self, base: str) -> Iterator[str]:
        if os.path.isfile(base):
            yield base
        for folder, inner, names in os.walk(base):
            inner[:] = [name for name in inner if name not in _NEVER and not _is_environment(folder, name)]
            for name in names:
                path = os.path.join(folder, name)
                if _PYTHON.match(name) and self._is_selected(path):
                    yield path

    def _is_selected(self, path: str) -> bool:
        inorout = self._cov._inorout
        if not (os.path.isfile(path) and self._is_ours(os.path.realpath(path))):
            return False
        if inorout.source_pkgs:  # a module's name is known only while it runs
            return not (inorout.omit_match and inorout.omit_match.match(path))
        return inorout.check_include_omit_etc(path, None) is None

    # ---- what was measured

    def seen(self, paths: Iterable[str]) -> list[dict[str, str]]:
        """Return what is known of measured files, of each only once.

        ``state`` is "there", "gone", "written" while this process ran, or "environment": of a virtual
        environment in the project.
        """
        fresh = sorted(path for path in set(paths) - self._told if _is_text(path))
        self._told.update(fresh)
        return [self._fact(path) for path in fresh]

    def _fact(self, path: str) -> dict[str, str]:
        absolute = os.path.join(self._root, path)
        try:
            with open(absolute, "rb") as file:
                sha256 = hashlib.sha256(file.read()).hexdigest()
            changed = os.stat(absolute).st_ctime
        except OSError:
            return {"path": path, "sha256": "", "state": "gone"}
        state = "written" if changed >= self._began else "there"
        if self._is_ours(absolute) and _in_environment(absolute, self._root):
            state = "environment"
        return {"path": path, "sha256": sha256, "state": state}

    def strangers(self) -> list[dict[str, str]]:
        """Return the selected packages and modules that were imported from another place, each once.

        ``unit`` is the folder or file in the project that was meant, ``file`` what was imported instead.
        """
        found = []
        for name, units in self._selected_units().items():
            file = getattr(sys.modules.get(name), "__file__", None)
            if name in self._judged or not isinstance(file, str) or not _is_text(file):
                continue
            self._judged.add(name)
            real = os.path.realpath(file)  # source, bytecode or an extension
            if self._is_measured(real):
                continue
            is_package = os.path.basename(real).startswith("__init__.")
            meant = [unit for unit in units if os.path.isdir(self._at(unit)) == is_package]
            found += [{"name": name, "unit": unit, "file": real} for unit in meant]
        return found

    def _is_measured(self, path: str) -> bool:
        """Say whether a file is in the figure: of two packages of one name, one may be that which ran."""
        return (
            any(_is_below(path, os.path.realpath(base)) for base in self._bases())
            and self._is_selected(path)
            and not _in_environment(path, self._root)
        )

    def _selected_units(self) -> dict[str, list[str]]:
        """Return the top-level modules and packages below what is selected, by the name they import as."""
        if self._units is None:
            self._units = {}
            for base in self._bases():
                for name, path in _units_of(base):
                    main = os.path.join(path, "__init__.py") if os.path.isdir(path) else path
                    if self._is_selected(main):
                        self._units.setdefault(name, []).append(self._relative(path))
        return self._units

    # ---- paths

    def _at(self, name: str) -> str:
        return os.path.join(self._root, name)

    def _is_ours(self, path: str) -> bool:
        return _is_below(path, self._root)

    def _relative(self, path: str) -> str:
        """Return the path below the project with "/" between parts; absolute if it lies elsewhere."""
        real = os.path.realpath(path)
        path = real if self._is_ours(real) else path
        return os.path.relpath(path, self._root).replace(os.sep, "/") if self._is_ours(path) else path


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _folders(inorout: Any) -> list[str]:
    """Return the folders of ``source``; coverage.py renamed them."""
    return list(getattr(inorout, "source_dirs", None) or getattr(inorout, "source", None) or ())


def _place_of(package: str) -> str:
    """Return the folder of an imported package, or the file of a module; empty if it wasn't imported."""
    module = sys.modules.get(package)
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return next(iter(getattr(module, "__path__", ())), "")
    return os.path.dirname(file) if os.path.basename(file).startswith("__init__.") else file


def _units_of(base: str) -> Iterator[tuple[str, str]]:
    """Yield name and path of the packages and modules that are imported by a name that begins here."""
    if os.path.isfile(base) or os.path.isfile(os.path.join(base, "__init__.py")):
        yield _module_name(base), base
        return
    for name in sorted(os.listdir(base)):
        path = os.path.join(base, name)
        if os.path.isfile(os.path.join(path, "__init__.py")):
            yield name, path
        elif _PYTHON.match(name):
            yield _module_name(path), path


def _module_name(path: str) -> str:
    """Return the full name of a module or package, whose parents' folders are packages, too."""
    folder, name = os.path.split(os.path.splitext(path)[0] if os.path.isfile(path) else path)
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, parent = os.path.split(folder)
        name = f"{parent}.{name}"
    return name


def _is_environment(folder: str, name: str) -> bool:
    return os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))


def _in_environment(path: str, root: str) -> bool:
    while (path := os.path.dirname(path)) and path != root and path != os.path.dirname(path):
        if os.path.exists(os.path.join(path, "pyvenv.cfg")):
            return True
    return False


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
