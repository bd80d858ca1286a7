"""Convert model values to and from the JSON documents in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from covfleet.errors import IncompleteDataError

if TYPE_CHECKING:  # imported where JSON is read or written: the import would take most of a small merge
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
        kind: the expected dataclass.
        data: JSON, as bytes.
        name: the data's key or path, for the message.

    Raises:
        IncompleteDataError: ``data`` isn't JSON, isn't of this kind, or has another version.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        value: T = _adapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise IncompleteDataError(
            f"{name} isn't a valid {kind.__name__}: {where}: {first['msg']}",
            hint="It is damaged, or another version of covfleet wrote it.",
        ) from error
    return value
