"""The reasons that are collected while a plan is derived."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from mlip_autopipec.config.derive.fixed import FIXED

__all__ = ["Reasons", "given"]


@dataclass
class Reasons:
    """Collects dotted key -> reason while values pass through."""

    found: dict[str, str] = field(default_factory=lambda: dict(FIXED))

    def because(self, key: str, value: Any, reason: str) -> Any:
        self.found[key] = reason
        return value


def given(user: BaseModel, key: str) -> str:
    return "given" if key in user.model_fields_set else "default"
