"""Complaints of pydantic as errors of one line: file, key, what is wrong, what would be right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from mlip_autopipec.base.errors import InputError, nearest

__all__ = ["UNKNOWN_KEY", "complaint_of", "to_input_error", "validate"]

UNKNOWN_KEY = "unknown key"

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], data: Mapping[str, Any], file: str | Path | None) -> M:
    """``data`` as a ``model``; pydantic's complaint becomes one InputError."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise to_input_error(error, model, file) from None


def to_input_error(
    error: ValidationError, model: type[BaseModel], file: str | Path | None
) -> InputError:
    """The first thing that pydantic found, as one line with file, key, value and what would be
    right.
    """
    details = error.errors()
    # An unknown key explains a missing one (misspelling), so it is told first.
    details.sort(key=lambda item: item["type"] != "extra_forbidden")
    first, more = details[0], len(details) - 1
    message, hint, value = _explain(first, model)
    if more:
        hint = "; ".join(
            part for part in (hint, f"and {more} more problem{'s' if more > 1 else ''}") if part
        )
    inside = first.get("ctx", {}).get("at") or ()
    key = ".".join(str(part) for part in (*first["loc"], *inside)) or None
    return InputError(message, file=file, key=key, value=value, hint=hint or None)


def _explain(item: ErrorDetails, model: type[BaseModel]) -> tuple[str, str, Any]:
    """Message, hint and value of one complaint."""
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    if kind == "extra_forbidden":
        return (
            UNKNOWN_KEY,
            nearest(str(item["loc"][-1]), _fields_at(model, item["loc"][:-1])),
            None,
        )
    if kind == "missing":
        return "is missing", "", None
    if kind == "mlip":
        return str(context["what"]), str(context["hint"]), context.get("value", value)
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return "unknown value", nearest(str(value), choices), value
    message = item["msg"]
    if kind in {"model_type", "dict_type", "model_attributes_type"}:
        message = "must be a mapping of 'key: value' lines"
    return message.replace("Input should be", "must be").replace("Value should", "must"), "", value


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Names of the keys that may stand at a location inside ``model``."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, str) and current is not None and part in current.model_fields:
            current = _model_in(current.model_fields[part].annotation)
    return [] if current is None else list(current.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model inside an annotation such as ``list[list[StrategyPlan]]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in get_args(annotation))
    return next((part for part in found if part is not None), None)


def complaint_of(error: InputError) -> PydanticCustomError:
    """An error that was found inside a section by its engine's own schema, as a complaint about
    that section: :func:`to_input_error` then names the key inside it.
    """
    at = tuple(error.key.split(".")) if error.key else ()
    context = {"what": error.message, "hint": error.hint or "", "value": error.value, "at": at}
    return PydanticCustomError("mlip", "{what}; {hint}", context)
