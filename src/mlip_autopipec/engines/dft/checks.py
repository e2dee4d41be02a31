"""What every label has to pass, whichever code it is from."""

from __future__ import annotations

import numpy as np

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import Failure

__all__ = ["DEFAULT_MAX_FORCE_EV_PER_A", "NET_FORCE_PER_ATOM_EV_PER_A", "label_problem"]

DEFAULT_MAX_FORCE_EV_PER_A = 50.0
"""Ceiling where ``numerics["max_force_ev_per_a"]`` gives none."""
NET_FORCE_PER_ATOM_EV_PER_A = 1e-3


def label_problem(label: Label, job: LabelJob) -> Failure | None:
    """The first of the checks that fails: a force for every atom, everything finite, every force
    below the ceiling, no net force.
    """
    if label.forces.shape != (len(job.atoms), 3):
        return Failure("input", f"{len(label.forces)} forces for {len(job.atoms)} atoms")
    parts = [
        label.forces.ravel(),
        np.array([label.energy_ev]),
        *([] if label.stress is None else [label.stress]),
    ]
    if not np.isfinite(np.concatenate(parts)).all():
        return Failure("geometry", "energy, forces or stress are not finite")
    largest = float(np.linalg.norm(label.forces, axis=1).max())
    ceiling = float(job.numerics.get("max_force_ev_per_a", DEFAULT_MAX_FORCE_EV_PER_A))
    if largest > ceiling:
        return Failure(
            "geometry",
            f"largest force {largest:.1f} eV/Å is above the ceiling of {ceiling:.1f} eV/Å",
        )
    net = float(np.linalg.norm(label.forces.sum(axis=0))) / len(job.atoms)
    if net > NET_FORCE_PER_ATOM_EV_PER_A:
        return Failure("scf_not_converged", f"net force {net:.1e} eV/Å per atom")
    return None
