"""coverage.py through its public calls: opened with the project's settings, and its reports one by one.

What these calls write is right by definition. They find out everything about each source anew for each
format, so they take several times as long as the one pass.
"""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import CoverageWarning

from covfleet.errors import ConfigurationError
from covfleet.settings.coverage import apply
from covfleet.settings.installation import to_extend

Configured = Callable[[], AbstractContextManager[Coverage]]
"""Opens coverage.py with the data loaded and the settings of all formats, in any process."""

Options = Mapping[str, str | bool | list[str] | None]
"""Settings by coverage.py's name, such as ``html:title``."""


def outputs(into: Path) -> dict[str, str | bool | list[str] | None]:
    """Return the settings by which every report is written into a folder."""
    return {
        "html:directory": str(into / "html"),
        "xml:output": str(into / "coverage.xml"),
        "json:output": str(into / "coverage.json"),
        "lcov:output": str(into / "coverage.lcov"),
        "report:format": "text",
    }


@contextlib.contextmanager
def opened(
    data_file: Path, options: Options, *, config_file: str | bool = True, settings: str = ""
) -> Iterator[Coverage]:
    """Yield coverage.py with the project's configuration, ``options`` over it, and the data loaded.

    Args:
        data_file: to load.
        options: over the configuration.
        config_file: the project's configuration; ``True``: the one that the working directory has.
        settings: the project's configuration as the plan has it, instead of a file.

    Raises:
        ConfigurationError: a plugin can't be imported.
        CoverageException: coverage.py can't use the configuration or the data.
    """
    cov = Coverage(data_file=str(data_file), config_file=False if settings else config_file)
    apply(cov, settings or "{}")
    cov.set_option("run:relative_files", value=True)
    cov.set_option("paths", {})  # the combiner has mapped them, and refuses what this would map in silence
    cov.set_option("run:debug", [])
    for name, value in options.items():
        cov.set_option(name, value)
    plugins = cov.get_option("run:plugins")
    for name in plugins if isinstance(plugins, list) else ():
        _check_plugin(str(name))
    cov.load()
    try:
        yield cov
    finally:
        cov.get_data().close()


def _check_plugin(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f"the plugin {name!r} of the project's coverage configuration can't be imported: {error}",
            hint=f"Reports need it in covfleet's own environment: {to_extend(package=name)}",
        ) from error


def write_each(configured: Configured, into: Path) -> None:
    """Write one report after the other, as coverage.py's own commands do, the table as ``coverage.txt``.

    Reports leave traces in the object (contexts that were asked for, exclusions), so none sees another's.
    """
    with configured() as cov:
        cov.html_report()
    with configured() as cov:
        cov.xml_report()
    with configured() as cov:
        cov.json_report()
    with configured() as cov:
        cov.lcov_report()
    with configured() as cov, (into / "coverage.txt").open("w", encoding="utf-8") as file:
        cov.report(file=file)


def messages(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """Return warnings for the reader of a report: not the parser's remarks on the project's code."""
    shown = (CoverageWarning, UserWarning)
    return tuple(str(one.message) for one in caught if issubclass(one.category, shown))
