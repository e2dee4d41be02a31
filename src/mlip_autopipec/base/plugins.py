"""Name -> object: a table of this package, entry points of installed packages, or
``module:attribute``. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from mlip_autopipec.base.errors import InputError, nearest

__all__ = ["Plugins"]


@dataclass(frozen=True, slots=True)
class Plugins:
    """All that can be named in one place of the input.

    ``what``: the noun for messages (``trainer``); ``key``: the dotted key that names one
    (``training.trainer``); ``group``: the entry point group; ``built_in``: name ->
    ``module:attribute`` of this package.
    """

    what: str
    key: str
    group: str
    built_in: Mapping[str, str] = field(default_factory=dict)

    def known(self) -> dict[str, str]:
        """Every name with the ``module:attribute`` it stands for."""
        found = {point.name: point.value for point in entry_points(group=self.group)}
        return {**self.built_in, **found}

    def target(self, name: str) -> str:
        """The ``module:attribute`` of a name. Raises InputError with the nearest known name."""
        if ":" in name:
            return name
        known = self.known()
        if name not in known:
            hint = f"{nearest(name, known)}, or write module:Class"
            raise InputError(f"unknown {self.what}", key=self.key, value=name, hint=hint)
        return known[name]

    def find(self, name: str) -> Any:
        """The object that ``name`` stands for.

        Raises InputError where there is none. An import that fails inside the module is not
        swallowed: what lacks there is not the name.
        """
        target = self.target(name)
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ModuleNotFoundError, AttributeError) as error:
            if (
                isinstance(error, ModuleNotFoundError)
                and error.name
                and not module.startswith(error.name)
            ):
                raise
            hint = "write module:Class; the module has to be on PYTHONPATH or installed"
            raise InputError(
                f"there is no {self.what} at this place", key=self.key, value=target, hint=hint
            ) from error
