"""Whether a worker runs the interpreter that the build was planned with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from covfleet.errors import ConfigurationError
from covfleet.model import Environment
from covfleet.text import listed

_SAME = {
    "platform": "platform",
    "implementation": "implementation",
    "python": "Python",
    "pytest": "pytest",
    "coverage": "coverage",
}


def check_interpreter(shard: int, planned: Environment, here: Environment) -> None:
    """Refuse to run tests with another interpreter, or with other distributions, than were planned.

    Where these lie may differ from machine to machine.

    Raises:
        ConfigurationError: they differ; it names in what.
    """
    found = list(differences(planned, here))
    if found:
        raise ConfigurationError(
            f"shard {shard} runs another Python than the build was planned with: {listed(found)}",
            hint=f"Here it is {here.executable or 'unknown'}, planned was {planned.executable or 'unknown'}. "
            "Use the same image or environment for the plan and for every shard.",
        )


def differences(planned: Environment, here: Environment) -> Iterator[str]:
    """Yield what differs, in words: releases first, then distributions by name."""
    for field, name in _SAME.items():
        wanted, found = getattr(planned, field), getattr(here, field)
        if wanted != found:
            yield f"{name} {found or '(none)'} instead of {wanted or '(none)'}"
    wanted, found = _by_name(planned.distributions), _by_name(here.distributions)
    for name in sorted({*wanted, *found} - {"pytest", "coverage"}):
        if name not in found:
            yield f"no {name} {wanted[name]}"
        elif name not in wanted:
            yield f"{name} {found[name]}, which wasn't there"
        elif wanted[name] != found[name]:
            yield f"{name} {found[name]} instead of {wanted[name]}"


def place(environment: Environment) -> str:
    """Return where an interpreter lies, in words."""
    return f"{environment.executable} of {environment.prefix}"


def _by_name(distributions: Iterable[str]) -> dict[str, str]:
    return {name: version for name, _, version in (each.partition("==") for each in distributions)}
