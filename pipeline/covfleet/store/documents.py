"""Model values as the JSON documents that lie in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from covfleet.errors import IncompleteDataError

if TYPE_CHECKING:  # at run time where JSON is read or written: most of a small merge would be importing it
    from pydantic import TypeAdapter

T = TypeVar("T")


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # noqa: PLC0415

    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def to_json(value: Any) -> bytes:
    """Return a model value as JSON with sorted keys, two spaces and a final newline."""
    return _adapter(type(value)).dump_json(value, indent=2) + b"\n"


def from_json(kind: type[T], data: bytes, *, name: str) -> T:
    """Return the model value in ``data``.

    Args:
        kind: the dataclass that is expected.
        data: JSON, as bytes.
        name: what the data is, for the message: a key or a path.

    Raises:
        IncompleteDataError: ``data`` is not JSON, or not of this kind, or of another version.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        value: T = _adapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise IncompleteDataError(
            f"{name} is not a valid {kind.__name__}: {where}: {first['msg']}",
            hint="It is damaged, or another version of covfleet wrote it.",
        ) from error
    return value
