"""coverage.py's settings as they count for a build: resolved once, when it is planned, and the same for all.

The text form is JSON, option -> value, with the names of coverage.py's own ``get_option``: what differs from
coverage.py's defaults, and always the rules of exclusion, whose defaults change from version to version.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any, Iterator, Mapping, Optional

import coverage
from coverage.exceptions import ConfigError, CoverageException

LEFT_OUT = frozenset({
    "html:directory", "json:output", "lcov:output", "run:_crash", "run:command_line", "run:data_file",
    "run:debug", "run:debug_file", "run:parallel", "run:relative_files", "run:sigterm", "xml:output",
    "report:exclude_also", "report:partial_also",  # coverage.py has added them to the rules themselves
})  # fmt: skip
"""Options that say where something lies, or that distribution sets."""

RULES = frozenset({"report:exclude_lines", "report:partial_branches", "report:partial_branches_always"})


class RefusedError(Exception):
    """The project's settings can't be honoured: says which, and how to say it to covfleet."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass
class Resolved:
    """The fields of the agent's ``CoverageConfiguration``."""

    text: str  # what all workers measure with
    from_file: str = ""  # what stands in the project's file alone; empty: it has none
    file: str = ""
    reported: str = ""  # after the project's plugins have configured it; empty: as ``text``
    fail_under_from: str = ""
    no_cov_on_fail: bool = False
    notes: list[str] = field(default_factory=list)
    found: str = ""  # as ``from_file``, but in this very folder

    def fields(self) -> dict[str, Any]:
        """Return it as it travels."""
        own = {name: value for name, value in asdict(self).items() if name != "found"}
        return {**own, "sha256": hashlib.sha256(self.text.encode()).hexdigest()}


def to_text(config: Any) -> str:
    """Return the settings of a ``CoverageConfig`` in their text form."""
    default = type(config)()
    values: dict[str, Any] = {}
    for attribute, option, *_ in config.CONFIG_FILE_OPTIONS:
        value = getattr(config, attribute)
        if option not in LEFT_OUT and (option in RULES or value != getattr(default, attribute)):
            values[option] = value
    for plugin, options in config.plugin_options.items():
        values.update({f"{plugin}:{name}": value for name, value in options.items()})
    if config.paths:
        values["paths"] = config.paths
    return json.dumps(values, indent=1, sort_keys=True)


def apply(cov: coverage.Coverage, text: str) -> None:
    """Give settings in their text form to a ``Coverage`` that has read no file."""
    values = json.loads(text)
    cov.set_option("run:plugins", values.get("run:plugins", []))  # the first: others are options of these
    for option, value in values.items():
        cov.set_option(option, value)


def as_ini(text: str) -> str:
    """Return what measuring needs of the settings as a file, for processes that read one again."""
    values = json.loads(text)
    sections: dict[str, list[str]] = {"run": []}
    for option, value in sorted(values.items()):
        section, _, name = option.partition(":")
        if section not in {"run", *values.get("run:plugins", [])}:
            continue
        words = [f"{word}".replace("$", "$$") for word in (value if isinstance(value, list) else [value])]
        shown = "\n    ".join(["", *words] if isinstance(value, list) else words)
        sections.setdefault(section, []).append(f"{name} = {shown}")
    return "".join("\n".join([f"[{section}]", *lines, ""]) for section, lines in sections.items())


def find(folder: str, rcfile: str) -> Optional[coverage.Coverage]:
    """Return what coverage.py finds in a folder, or in the file that is named; ``None``: no settings.

    Raises:
        RefusedError: coverage.py can't read them.
    """
    if rcfile and not os.path.isfile(os.path.join(folder, rcfile)):
        return None
    try:
        with working_directory(folder), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said by the measurement itself
            cov = coverage.Coverage(data_file=None, config_file=rcfile or True)
    except (ConfigError, CoverageException) as error:
        hint = "`coverage debug config` in the project's folder shows what coverage.py makes of them."
        raise RefusedError(f"the project's coverage settings can't be read: {error}", hint) from error
    return cov if cov.config.config_file else None


@contextlib.contextmanager
def working_directory(folder: str) -> Iterator[None]:
    """Work in ``folder`` for a moment; no thread runs yet."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def found_here(rcfile: str) -> str:
    """Return the text form of the settings that this worker finds by itself in the planned file, if any."""
    cov = find(os.getcwd(), rcfile) if rcfile else None
    return to_text(cov.config) if cov else ""


def resolve(rcfile: str, checkout: Mapping[str, str], branch: Optional[bool], asked: Any) -> Resolved:
    """Return the settings that count for the build.

    Args:
        rcfile: the file that the agent names, by COVERAGE_RCFILE or its own settings; may be empty.
        checkout: content of the files of the agent's checkout in which settings may stand.
        branch: what covfleet's settings say of it, ``None`` for nothing.
        asked: pytest-cov's options, or ``None`` if pytest-cov measures nothing here.

    Raises:
        RefusedError: they can't be read, or a plugin can't be used.
    """
    named = (asked.rcfile if asked else "") or rcfile or os.environ.get("COVERAGE_RCFILE", "")
    resolved = _from_files(named, checkout)
    cov = coverage.Coverage(data_file=None, config_file=False)
    apply(cov, resolved.from_file or "{}")
    if asked:
        if cov.config.html_skip_covered is None:  # else it would follow --cov-report=term:skip-covered
            cov.set_option("html:skip_covered", cov.config.skip_covered)
        for option, value in asked.options.items():
            cov.set_option(option, value)
        resolved.no_cov_on_fail = asked.no_cov_on_fail
        resolved.notes += asked.notes
    if branch is not None:
        cov.set_option("run:branch", branch)
    resolved.text = to_text(cov.config)
    if cov.config.plugins:
        resolved.reported = _configured(resolved.text)
    resolved.fail_under_from = _origin_of_fail_under(resolved, asked)
    return resolved


def _from_files(rcfile: str, checkout: Mapping[str, str]) -> Resolved:
    """Return what stands in the file that counts: the checkout's, or where it has none, this folder's."""
    here = os.getcwd()
    own = find(here, rcfile)
    own_text = to_text(own.config) if own else ""
    with tempfile.TemporaryDirectory() as folder:
        text, name = _from_checkout(os.path.realpath(folder), rcfile, checkout)
    if not text and own:
        name = str(own.config.config_file)
        return Resolved("", own_text, os.path.relpath(name, here) if name.startswith(here) else name)
    if not text and rcfile:
        raise RefusedError(f"there is no {rcfile}, which is to hold the coverage settings")
    resolved = Resolved("", text, name)
    if text and os.path.isfile(name):
        resolved.found = own_text or "{}"  # the agent compares
    elif text:
        resolved.notes.append(f"the image has no {name}: all workers measure with what the checkout's says")
    return resolved


def _from_checkout(copy: str, rcfile: str, checkout: Mapping[str, str]) -> tuple[str, str]:
    """Return the text form of what the agent's checkout says and the file's name, both empty for nothing."""
    if os.path.isabs(rcfile):  # outside: each machine has its own
        return "", ""
    for name, content in checkout.items():
        path = os.path.join(copy, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
    found = find(copy, rcfile)
    return (
        (to_text(found.config), os.path.relpath(str(found.config.config_file), copy)) if found else ("", "")
    )


def _configured(text: str) -> str:
    """Return the settings after plugins have had their say, in the interpreter that they are meant for.

    Plugins that do nothing but configure are left out: reports need no others than those that know files.
    """
    cov = coverage.Coverage(data_file=None, config_file=False)
    apply(cov, text)
    try:
        said = dict(cov.sys_info())
    except (ImportError, ConfigError, CoverageException) as error:
        hint = "Install it beside the application."
        raise RefusedError(
            f"a plugin of the project's coverage settings can't be used: {error}", hint
        ) from error
    tracers = said["plugins.file_tracers"]
    modules = {str(name).rpartition(".")[0] for name in tracers} if isinstance(tracers, list) else set()
    values = json.loads(to_text(cov.config))
    plugins = list(cov.config.plugins)
    values["run:plugins"] = [name for name in plugins if name in modules]
    gone = set(plugins) - modules
    kept = {option: value for option, value in values.items() if option.partition(":")[0] not in gone}
    return json.dumps(kept, indent=1, sort_keys=True)


def _origin_of_fail_under(resolved: Resolved, asked: Any) -> str:
    option = "report:fail_under"
    effective = json.loads(resolved.reported or resolved.text).get(option)
    if effective is None:
        return ""
    if not 0 <= effective <= 100:
        raise RefusedError(f"fail_under={effective:g} is no percentage", "Set it to a number from 0 to 100.")
    if asked and asked.options.get(option) == effective:
        return "--cov-fail-under"
    if json.loads(resolved.from_file or "{}").get(option) == effective:
        return f"fail_under in {resolved.file}"
    return "fail_under of coverage.py's plugins"
