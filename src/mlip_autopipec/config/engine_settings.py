"""Sections of a plan whose keys belong to an engine: checked by the engine's own model, with errors
that name the key as the user wrote it.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mlip_autopipec.base.errors import nearest
from mlip_autopipec.base.section import complaint

__all__ = ["settings_of_engine"]

M = TypeVar("M", bound=BaseModel)


def settings_of_engine(schema: type[M], value: Any) -> M:
    """``value`` as ``schema``; a complaint of one line, with the key inside the section."""
    data = value.model_dump() if isinstance(value, BaseModel) else value
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        details = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
        first = details[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = nearest(key, schema.model_fields)
            raise complaint(f"unknown key {key!r}", hint) from None
        if first["type"] == "missing":
            raise complaint(
                f"{key} is missing", f"keys: {', '.join(schema.model_fields)}"
            ) from None
        message = first["msg"].replace("Input should be", "must be")
        raise complaint(
            f"{key}: {message}", "see the settings of that engine", first["input"]
        ) from None
