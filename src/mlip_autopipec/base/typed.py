"""Frozen dataclasses as JSON and back, by their annotations."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from mlip_autopipec.base.values import Json

__all__ = ["from_json", "to_json"]

Value = TypeVar("Value")

_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(cls: type) -> TypeAdapter[Any]:
    if cls not in _ADAPTERS:  # made when asked for: it takes milliseconds
        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


def to_json(value: Any) -> Json:
    """A dataclass as a JSON object; tuples become lists, aliases the names of the keys."""
    data: Json = _adapter(type(value)).dump_python(value, mode="json", by_alias=True)
    return data


def from_json(cls: type[Value], data: Any) -> Value:
    """The value that :func:`to_json` wrote; keys that it does not know are left out.

    Raises ValueError in a line when something is missing or of another type.
    """
    try:
        value: Value = _adapter(cls).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    return value
