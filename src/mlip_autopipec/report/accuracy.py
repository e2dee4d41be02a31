"""How large the errors of a potential are on each kind of structure it was taught, or judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.report.rows import StrategyErrors
from mlip_autopipec.science.predictions import Errors, Predicted, Predictions, errors

__all__ = ["errors_by_strategy"]

Split = Literal["train", "test"]


def errors_by_strategy(
    items: Sequence[LabelledStructure], predictions: Predictions | None
) -> tuple[StrategyErrors, ...]:
    """One row for each strategy and split of ``predictions``, sorted.

    A structure that is not among ``items`` counts as of strategy ``unknown``.
    """
    strategy_of = {item.name: item.provenance.strategy for item in items}
    found = predictions or Predictions()
    kinds: dict[tuple[str, Split], list[Predicted]] = {}
    splits: tuple[tuple[Split, Sequence[Predicted]], ...] = (
        ("train", found.train),
        ("test", found.test),
    )
    for split, rows in splits:
        for row in rows:
            kinds.setdefault((strategy_of.get(row.name, "unknown"), split), []).append(row)
    return tuple(_row(*kind, errors(rows)) for kind, rows in sorted(kinds.items()))


def _row(strategy: str, split: Split, found: Errors) -> StrategyErrors:
    return StrategyErrors(
        strategy=strategy,
        split=split,
        n_structures=found.n_structures or 0,
        energy_rmse_mev_per_atom=found.energy_rmse_mev_per_atom,
        force_rmse_mev_per_a=found.force_rmse_mev_per_a,
    )
