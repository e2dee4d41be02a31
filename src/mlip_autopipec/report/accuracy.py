"""How large the errors of a potential are on each kind of structure it was taught, or judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.report.rows import StrategyErrors
from mlip_autopipec.science.predictions import errors

__all__ = ["errors_by_strategy"]

SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")


def errors_by_strategy(
    items: Sequence[LabelledStructure], predictions: Mapping[str, Any] | None
) -> tuple[StrategyErrors, ...]:
    """One row for each strategy and split of ``predictions`` (``{"train": [...], "test": [...]}``,
    by name), sorted.

    A structure that is not among ``items`` counts as of strategy ``unknown``.
    """
    strategy_of = {item.name: item.provenance.strategy for item in items}
    kinds: dict[tuple[str, Literal["train", "test"]], list[Mapping[str, Any]]] = {}
    for split in SPLITS:
        for row in (predictions or {}).get(split, []):
            kinds.setdefault((strategy_of.get(row["name"], "unknown"), split), []).append(row)
    return tuple(
        StrategyErrors(strategy=strategy, split=split, **errors(rows))
        for (strategy, split), rows in sorted(kinds.items())
    )
