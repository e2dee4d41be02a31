"""How large the errors of a potential are on each kind of structure it was taught, or judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.predictions import errors

__all__ = ["errors_by_strategy"]


def errors_by_strategy(
    items: Sequence[LabelledStructure], predictions: Mapping[str, Any] | None
) -> list[Json]:
    """One row for each strategy and split of ``predictions`` (``{"train": [...], "test": [...]}``,
    by name), sorted.

    ``{"strategy", "split", "n_structures", "energy_rmse_mev_per_atom", "force_rmse_mev_per_a"}``:
    energies of whole cells, components of forces on unmasked atoms; None where there is nothing to
    average. A structure that is not among ``items`` counts as of strategy ``unknown``.
    """
    strategy_of = {item.name: item.provenance.strategy for item in items}
    kinds: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for split in ("train", "test"):
        for row in (predictions or {}).get(split, []):
            kinds.setdefault((strategy_of.get(row["name"], "unknown"), split), []).append(row)
    return [
        {"strategy": strategy, "split": split, **errors(rows)}
        for (strategy, split), rows in sorted(kinds.items())
    ]
