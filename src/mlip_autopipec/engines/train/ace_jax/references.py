"""Energy of each element that is taken off before the fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlip_autopipec.base.labels import LabelledStructure

__all__ = ["reference_energies"]


def reference_energies(
    items: Sequence[LabelledStructure], elements: Sequence[str], cutoff_a: float
) -> dict[str, float]:
    """eV per element: of free atoms where they are labelled, else by least squares over the
    energies of whole cells.
    """
    free: dict[str, list[float]] = {}
    for item in items:
        if len(item.atoms) == 1 and (item.atoms.cell.lengths()[item.atoms.pbc] > cutoff_a).all():
            free.setdefault(item.atoms.get_chemical_symbols()[0], []).append(item.label.energy_ev)
    found = {element: float(np.mean(energies)) for element, energies in free.items()}
    left = [element for element in elements if element not in found]
    if not left:
        return found
    whole = [item for item in items if item.core is None and len(item.atoms) > 0] or list(items)
    lines, targets = [], []
    for item in whole:
        symbols = item.atoms.get_chemical_symbols()
        own = sum(found.get(symbol, 0.0) for symbol in symbols)
        lines.append([symbols.count(element) / len(symbols) for element in left])
        targets.append((item.label.energy_ev - own) / len(symbols))
    solution = np.linalg.lstsq(np.array(lines), np.array(targets), rcond=None)[0]
    return found | {element: float(e) for element, e in zip(left, solution, strict=True)}
