"""training.extxyz: every labelled structure with its split, weights and provenance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.runtime.dataset_db import with_results

__all__ = ["training_frames"]


def training_frames(
    train: Sequence[LabelledStructure],
    validate: Sequence[LabelledStructure],
    held_out: set[str],
    masked_energy_weight: float,
    *,
    audit: Sequence[LabelledStructure] = (),
) -> list[Atoms]:
    """Labelled structures as ASE frames: energy (eV), forces (eV/Å), stress (eV/Å³), weights and
    provenance.

    ``force_weight`` per atom is 1 for atoms whose forces may be learned and 0 for the buffer of a
    cutout; ``energy_weight`` per cell likewise. ``split`` says train, test (held out), validate or
    audit (checks the screen).
    """
    rows = [(item, "test" if item.name in held_out else "train") for item in train]
    rows += [(item, "validate") for item in validate] + [(item, "audit") for item in audit]
    return [_frame(item, split, masked_energy_weight) for item, split in rows]


def _frame(item: LabelledStructure, split: str, masked_energy_weight: float) -> Atoms:
    atoms = with_results(item)
    atoms.calc.results["free_energy"] = item.label.energy_ev
    weight = np.ones(len(atoms)) if item.core is None else np.zeros(len(atoms))
    if item.core is not None:
        weight[list(item.core)] = 1.0
    atoms.arrays["force_weight"] = weight
    info: dict[str, Any] = {
        "name": item.name,
        "split": split,
        "energy_weight": 1.0 if item.core is None else masked_energy_weight,
        "method_hash": item.label.method_hash,
        "strategy": item.provenance.strategy,
        "group": item.provenance.group,
        "provenance": json.dumps(item.provenance.to_json(), sort_keys=True),
    }
    atoms.info = info
    return atoms
