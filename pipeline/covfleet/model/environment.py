"""What runs the tests, as it reports itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Environment:
    """What the application's interpreter reports of itself; paths in the project are relative.

    ``executable``, ``prefix`` and ``path`` (``sys.path``) may differ between machines; all else is the same
    in every worker of a build. ``distributions`` are what is installed: ``name==version``, sorted.
    """

    python: str
    pytest: str  # empty: not installed, and not needed for command groups
    coverage: str
    platform: str = ""
    implementation: str = ""
    executable: str = ""
    prefix: str = ""  # of its environment
    path: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
