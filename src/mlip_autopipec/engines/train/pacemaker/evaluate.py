"""What a potential predicts for labelled structures: forces of unmasked atoms, and energies.

The errors that pacemaker prints count masked atoms too, so they are not used.
"""

from __future__ import annotations

from collections.abc import Sequence

from ase.calculators.calculator import Calculator

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.science.predictions import Predicted, prediction

__all__ = ["predict"]


def predict(calculator: Calculator, items: Sequence[LabelledStructure]) -> list[Predicted]:
    """One row per structure (:func:`~mlip_autopipec.science.predictions.prediction`)."""
    rows: list[Predicted] = []
    for item in items:
        calculator.calculate(item.atoms.copy())
        found = calculator.results
        rows.append(prediction(item, found["energy"], found["forces"], found["gamma"]))
    return rows
