"""What the surrogate says of structures far above the ground state, as labels at low weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.proposing import strategies
from mlip_autopipec.proposing.pool import SurrogatePool
from mlip_autopipec.science.generation.high_energy import high_energy_structures
from mlip_autopipec.science.generation.start_ranking import Start

__all__ = ["STRATEGY", "surrogate_labels"]

#: Of their provenance.
STRATEGY = "high_energy"


def surrogate_labels(
    plan: Plan, found: Sequence[Start], pool: SurrogatePool, seed: int
) -> list[LabelledStructure]:
    """As many as the plan asks for, but those that the surrogate fails on or finds unphysical; none
    where it lacks an element. Energies are on the surrogate's own scale.
    """
    near = [start.candidate.atoms for start in found if start.near]
    count = plan.surrogate.high_energy_structures
    if not (count and near and strategies.surrogate_knows(plan)):
        return []
    structures = high_energy_structures(near, count, np.random.default_rng(seed))
    labels = pool.evaluate("high-energy structures", _label, structures, lambda why: None)
    limit = plan.surrogate.max_force_ev_per_a
    return [
        LabelledStructure(
            name=f"{STRATEGY}-{number}",
            atoms=atoms,
            label=label,
            provenance=Provenance(STRATEGY, f"{STRATEGY}:{seed}:{number}", seed=seed),
        )
        for number, (atoms, label) in enumerate(zip(structures, labels, strict=True))
        if label is not None and np.linalg.norm(label.forces, axis=1).max() <= limit
    ]


def _label(atoms: Atoms, calculator: Calculator) -> Label | None:
    """None where the surrogate fails."""
    probe = atoms.copy()
    probe.calc = calculator
    try:
        forces = np.asarray(probe.get_forces())
        energy = float(probe.get_potential_energy())
        stress = np.asarray(probe.get_stress()) if atoms.pbc.all() else None
    except CalculationFailed:
        return None
    numbers = [np.array([energy]), forces, np.zeros(6) if stress is None else stress]
    if not all(np.isfinite(part).all() for part in numbers):
        return None
    return Label(energy, forces, stress, method_hash="surrogate", scf_steps=0, wall_s=0.0)
