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
from mlip_autopipec.science.generation.high_energy import high_energy_structures, loose_heaps
from mlip_autopipec.science.generation.start_ranking import Start

__all__ = ["STRATEGY", "surrogate_labels"]

#: Of their provenance.
STRATEGY = "high_energy"

# Of all. Silicon, three fits of 37 to 52 labels, melts of others at 2500 to 3400 K: 287 meV/Å
# without any (and of a fourth 750), 252 with a quarter.
LOOSE_SHARE = 0.25
# Downhill steps of a loose heap: Å, of the atom that feels most; at most so much by its force
# (eV/Å).
STEP_A, STEP_A_PER_FORCE = 0.12, 0.04
# After which it is labelled: as hot as a melt (silicon 0.8 eV/atom above its crystal), like a glass
# (0.5).
LABELLED_STEPS = (2, 6)


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
    rng = np.random.default_rng(seed)
    heaps = loose_heaps(near, round(LOOSE_SHARE * count / len(LABELLED_STEPS)), rng)
    far = high_energy_structures(near, count - len(LABELLED_STEPS) * len(heaps), rng)
    walks = pool.evaluate("high-energy structures", _as_it_is, far, _nothing)
    walks += pool.evaluate("loose heaps", _on_the_way_down, heaps, _nothing)
    limit = plan.surrogate.max_force_ev_per_a
    return [
        LabelledStructure(
            name=f"{STRATEGY}-{number}-{part}",
            atoms=atoms,
            label=label,
            provenance=Provenance(STRATEGY, f"{STRATEGY}:{seed}:{number}", seed=seed),
        )
        for number, labelled in enumerate(walks)
        for part, (atoms, label) in enumerate(labelled)
        if np.linalg.norm(label.forces, axis=1).max() <= limit
    ]


def _nothing(why: str) -> list[tuple[Atoms, Label]]:
    """Of a structure that ends the process twice."""
    return []


def _as_it_is(atoms: Atoms, calculator: Calculator) -> list[tuple[Atoms, Label]]:
    label = _label(atoms, calculator)
    return [] if label is None else [(atoms, label)]


def _on_the_way_down(atoms: Atoms, calculator: Calculator) -> list[tuple[Atoms, Label]]:
    """A structure after some steps down the surrogate's forces, with its labels there."""
    moved, labelled = atoms.copy(), []
    for step in range(LABELLED_STEPS[-1] + 1):
        label = _label(moved, calculator)
        if label is None:
            break
        if step in LABELLED_STEPS:
            labelled.append((moved.copy(), label))
        largest = float(np.linalg.norm(label.forces, axis=1).max())
        moved.positions += label.forces * min(STEP_A_PER_FORCE, STEP_A / max(largest, 1e-9))
    return labelled


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
