"""Load settings from pyproject.toml < environment < flags, and remember the source of each value.

All faults are collected with their sources and reported in one error.
"""

from __future__ import annotations

import difflib
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from covfleet.errors import ConfigurationError
from covfleet.settings.schema import Section, Settings
from covfleet.text import counted

_VARIABLE = "COVFLEET_"
_NOT_SETTINGS = re.compile(r"COVFLEET_(TEST_|SERVICES|CONSTRAINTS)")
_RCFILE = "COVERAGE_RCFILE"  # coverage.py's own variable, which names its settings file
_OF_A_WORKER = {f"COVFLEET_{name}" for name in ("BUILD", "SHARD", "SLOT", "WORKER")}
"""What a test finds that starts a covfleet of its own."""
_SECRET = re.compile(r"token|secret|passw|credential|private|api_?key", re.IGNORECASE)
_CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")

Key = tuple[str | int, ...]


def load_settings(project: Path, flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Read the settings of a project.

    Args:
        project: the folder whose ``pyproject.toml`` is read, if it has one.
        flags: dotted key -> value, such as ``{"image.base": "python:3.13"}``; ``None`` means unset.
        environ: environment variables; an empty one counts as unset.

    Raises:
        ConfigurationError: a setting is wrong; lists every fault of every source, one per line.
    """
    sources = _Sources()
    sources.read_file(project / "pyproject.toml")
    sources.read_variables(environ)
    sources.read_flags(flags)
    return sources.settings()


def tests_variables(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that all tests get: those of the agent in ``env_pass``, and ``env``."""
    passed = {name: environ[name] for name in settings.env_pass if name in environ}
    return {**passed, **settings.env}


class _Sources:
    """The values read so far, the source of each, and the faults."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._origins: dict[Key, str] = {}
        self._faults: list[str] = []

    def read_file(self, path: Path) -> None:
        table: Any = _read_toml(path)
        for header in ("tool", "covfleet"):
            table = table.get(header, {})
            if not isinstance(table, dict):
                self._faults.append(f"{path.name}: [tool.covfleet] is not a table")
                return
        self._add("pyproject.toml", table)

    def read_variables(self, environ: Mapping[str, str]) -> None:
        if rcfile := environ.get(_RCFILE):
            self._add(_RCFILE, {"rcfile": rcfile})
        if environ.keys() >= _OF_A_WORKER:
            environ = {name: value for name, value in environ.items() if name not in _OF_A_WORKER}
        for name, value in sorted(environ.items()):
            if not name.startswith(_VARIABLE) or _NOT_SETTINGS.match(name) or not value:
                continue
            if (path := _path_of_variable(name)) is None:
                names = [variable(key) for key in _keys(Settings)]
                self._faults.append(f"{name}: unknown variable{_suggestion(name, names)}")
                continue
            try:
                self._add(name, _Variable(path, value)())
            except SettingsError:
                self._faults.append(f"{name}: {'.'.join(path)}: not valid JSON{_shown(path, value)}")

    def read_flags(self, flags: Mapping[str, Any]) -> None:
        for key, value in flags.items():
            if value is not None:
                for part in reversed(key.split(".")):
                    value = {part: value}  # noqa: PLW2901 - wrapped from the innermost part outwards
                self._add(_flag(key), value)

    def settings(self) -> Settings:
        try:
            settings = Settings.model_validate(self._values)
        except ValidationError as error:
            self._faults += [self._fault(each) for each in error.errors(include_url=False)]
        if self._faults:
            raise ConfigurationError(
                "\n  ".join([f"{counted(len(self._faults), 'fault')} in the settings:", *self._faults]),
                hint="Correct them at their source; flags override variables, variables override the file.",
            )
        return settings

    def _add(self, origin: str, values: Mapping[str, Any]) -> None:
        self._values = _merged(self._values, values)
        self._origins |= dict.fromkeys(_leaves(values), origin)

    def _fault(self, error: ErrorDetails) -> str:
        path = error["loc"]
        key = ".".join(str(part) for part in path)
        if error["type"] == "extra_forbidden":
            return f"{self._origin(path)}: {key}: unknown setting{_suggestion(key, list(_keys(Settings)))}"
        if error["type"] == "missing":
            return f"{self._origin(path)}: {key}: missing value"
        what = error["msg"].removeprefix("Value error, ")
        if not path:
            return what  # it concerns several settings and names them
        return f"{self._origin(path)}: {key}: {what}{_shown(path, error['input'])}"

    def _origin(self, path: Key) -> str:
        """Name the last source that set ``path``, something inside it, or the table around it."""
        for length in range(len(path), 0, -1):
            inside = [origin for leaf, origin in self._origins.items() if leaf[:length] == path[:length]]
            if inside:
                return inside[-1]
        return "defaults"


class _Schema(BaseSettings, Settings):  # type: ignore[misc]  # two model_configs: pydantic merges them
    """The settings in the form that pydantic-settings expects; never instantiated."""


class _Variable(EnvSettingsSource):
    """One environment variable, read on its own, so that a fault in it carries its name."""

    def __init__(self, path: tuple[str, ...], value: str) -> None:
        self._loaded = {"__".join(path): value}
        super().__init__(
            _Schema,
            case_sensitive=True,
            env_prefix="",
            env_nested_delimiter="__",
            env_nested_max_split=len(path) - 1,
        )

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._loaded

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Decode a list of strings from shell words or JSON, and anything else from JSON."""
        if field.annotation == tuple[str, ...] and not value.lstrip().startswith("["):
            return shlex.split(value)
        return super().decode_complex_value(field_name, field, value)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} isn't valid TOML: {error}", hint="Correct that line.") from error
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}") from error


def _path_of_variable(name: str) -> tuple[str, ...] | None:
    """Return the path of the setting that a variable sets; keys of free-form tables keep their case."""
    table: type[BaseModel] = Settings
    path: tuple[str, ...] = ()
    rest = name.removeprefix(_VARIABLE)
    while rest:
        part, _, rest = rest.partition("__")
        path += (part.lower(),)
        if path[-1] not in table.model_fields:
            return None
        kind = table.model_fields[path[-1]].annotation
        if get_origin(kind) is dict and rest:
            return (*path, rest)
        if _is_table(kind):
            table = kind
        elif rest:
            return None
    return path or None


def _keys(table: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in table.model_fields.items():
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_table(kind)]
        for kind in inner:
            yield from _keys(kind, f"{prefix}{name}.")
        if not inner or get_origin(field.annotation):
            yield prefix + name


def _is_table(kind: Any) -> TypeGuard[type[Section]]:
    return isinstance(kind, type) and issubclass(kind, Section)


def variable(key: str) -> str:
    """Return the name of the environment variable that sets a dotted key."""
    return _VARIABLE + key.replace(".", "__").upper()


def _flag(key: str) -> str:
    """Return the flag that sets ``key``: it is spelled like the key, with one exception."""
    return "--site" if key == "publish.site" else "--" + key.replace(".", "-").replace("_", "-")


def _suggestion(name: str, names: list[str]) -> str:
    name = re.sub(r"\.\d+\.", ".", name)  # groups.0.name is groups.name of the first group
    elsewhere = [key for key in names if key.rpartition(".")[2] == name.rpartition(".")[2]]
    close = elsewhere or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; perhaps you meant {close[0]}" if close else ""


def _shown(path: Key, value: Any) -> str:
    """Return the value as a message shows it, or nothing if it could be a secret."""
    tables = {"env", "build_args"}
    if any(_SECRET.search(str(part)) or part in tables for part in path):
        return ""
    text = _CREDENTIALS_IN_URL.sub("***", repr(value))
    return f" (it is {text if len(text) <= 80 else text[:77] + '...'})"


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


def _leaves(values: Mapping[str, Any], prefix: Key = ()) -> Iterator[Key]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*prefix, key))
        else:
            yield (*prefix, key)
