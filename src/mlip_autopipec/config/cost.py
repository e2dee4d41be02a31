"""What a plan will cost: a few scaling laws, anchored at measured times of one core (Si, 28 Ry).

A plane-wave SCF costs about (bands)^1.4 x (plane waves) per k-point: bands go with the valence
electrons, plane waves with volume x cutoff^1.5. Anchor: Si8, 28 Ry, 4 k-points without symmetry,
5.1 s. Per k-point the law is within a factor of two of what was measured for Si16, Si32, Si64,
NaCl8 and Cu4; larger cells of metals were not measured.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import numpy as np
from ase.data import atomic_numbers, covalent_radii, reference_states

from mlip_autopipec.base.values import Json
from mlip_autopipec.config.dft_plan import QUANTUM_ESPRESSO
from mlip_autopipec.config.plan import DftPlan, Material, Plan, Training
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.science import dft_series as series
from mlip_autopipec.science.kpoints import choose_grid

__all__ = [
    "convergence_check",
    "estimate",
    "hardest_cutoff_ry",
    "label_cpu_s",
    "molecule_atoms",
    "valence_electrons",
    "volume_per_atom_a3",
]

_ATOMS_PER_CELL = {"fcc": 4, "bcc": 2, "diamond": 8, "sc": 1}
_NOBLE = (0, 2, 10, 18, 36, 54, 86)

START_S = 0.5  # pw.x alone
ANCHOR_S, ANCHOR_ELECTRONS, ANCHOR_VOLUME_A3, ANCHOR_RY, ANCHOR_KPOINTS = 4.6, 32, 160.0, 28.0, 4
# A molecule at the Gamma point: ethanol, 84 Ry, 38 s in its box with 4 Å, 107 s with 6 Å; water
# with 6 Å 41 s.
BOX_S, BOX_ELECTRONS, BOX_VOLUME_A3, BOX_RY = 37.0, 20, 1138.0, 84.0
MD_CPU_S_PER_ATOM_STEP = 45e-6
SURROGATE_CPU_S = 180.0
ROUNDS = 4
RETRIES = 0.05
IDLE = 0.25  # share of the cores' time lost while one task waits for another


def valence_electrons(symbol: str) -> int:
    """Electrons a PseudoDojo standard pseudopotential treats, by rule: semicore shells of groups
    1-12 are included.
    """
    number = atomic_numbers[symbol]
    core = max(shell for shell in _NOBLE if shell < number)
    outside = number - core
    if core == 2:
        return outside + 2 if outside <= 2 else outside
    if core == 10:
        return outside + 8 if outside <= 2 else outside
    if core >= 54 and outside > 17:  # a filled f shell is left to the core
        outside -= 14
    if core >= 18 and outside > 14:  # As to Kr and their columns: so is a filled d shell
        return outside - 10
    return outside + 8 if core >= 18 and outside <= 12 else outside


def volume_per_atom_a3(material: Material) -> float:
    """Composition average over the elements' own crystals; from covalent radii where there is none
    (Å^3).
    """
    return sum(part * _element_volume_a3(symbol) for symbol, part in material.fractions.items())


def _element_volume_a3(symbol: str) -> float:
    number = atomic_numbers[symbol]
    state: Json = dict(reference_states[number] or {})
    name, a = str(state.get("symmetry")), float(state.get("a") or 0.0)
    if name in _ATOMS_PER_CELL and a:
        return a**3 / _ATOMS_PER_CELL[name]
    if name == "hcp" and a:
        return a**3 * float(state.get("c/a", 1.633)) * math.sqrt(3) / 4
    return 4.0 / 3.0 * math.pi * float(covalent_radii[number]) ** 3 / 0.35


def kpoints(material: Material, dft: DftPlan, atoms: int) -> int:
    """k-points of a compact (face-centred) cell of that many atoms, without symmetry but for time
    reversal.
    """
    edge = (4 * atoms * volume_per_atom_a3(material)) ** (1 / 3)
    cell = (1 - np.eye(3)) * edge / 2
    return len(
        choose_grid(cell, (True, True, True), dft.kspacing_per_a, dft.kmesh_shifted).points()
    )


@functools.lru_cache(maxsize=16)
def _molecule(text: str) -> tuple[int, float]:
    """Atoms of a molecule and the volume of its box (Å^3)."""
    from mlip_autopipec.science.generation import molecule_names

    atoms = molecule_names.one_geometry(text)
    return len(atoms), float(atoms.get_volume())


def molecule_atoms(material: Material) -> int:
    """Atoms of the molecule that a material of the kind ``molecule`` is."""
    return _molecule(str(material.structure_file or material.molecule))[0]


def _boxed_label_cpu_s(material: Material, dft: DftPlan, atoms: int) -> float:
    """A molecule in its box, or several in a larger one: plane waves fill the empty space as
    well.
    """
    one, volume = _molecule(str(material.structure_file or material.molecule))
    electrons = atoms * sum(
        part * valence_electrons(symbol) for symbol, part in material.fractions.items()
    )
    waves = atoms / one * volume / BOX_VOLUME_A3 * float((dft.cutoff_ry / BOX_RY) ** 1.5)
    return START_S + BOX_S * waves * float((electrons / BOX_ELECTRONS) ** 0.6) * (
        2.0 if dft.spin_polarized else 1.0
    )


def label_cpu_s(material: Material, dft: DftPlan, atoms: int) -> float:
    """Expected CPU seconds of one SCF with forces and stress, one core; twice that with spin."""
    if material.kind == "molecule":
        return _boxed_label_cpu_s(material, dft, atoms)
    electrons = atoms * sum(
        part * valence_electrons(symbol) for symbol, part in material.fractions.items()
    )
    volume = atoms * volume_per_atom_a3(material)
    bands = float((electrons / ANCHOR_ELECTRONS) ** 1.4)
    waves = volume / ANCHOR_VOLUME_A3 * float((dft.cutoff_ry / ANCHOR_RY) ** 1.5)
    points = kpoints(material, dft, atoms) / ANCHOR_KPOINTS
    return START_S + ANCHOR_S * points * bands * waves * (2.0 if dft.spin_polarized else 1.0)


def _fits_cpu_s(training: Training, elements: int, labels: int) -> float:
    """Two quick fits and a cold and two warm ones; of one trainer alone, one in every round."""
    quick = training.settings_of(training.fast_trainer)
    one = quick.fit_cpu_s(elements, labels, warm=False)
    if training.fast_settings is None:
        return (2 + ROUNDS) * one
    released = training.settings
    warm = (False, True, True)
    return 2 * one + sum(released.fit_cpu_s(elements, labels, warm=w) for w in warm)


def hardest_cutoff_ry(dft: DftPlan, elements: Iterable[str]) -> float:
    """The family's high hint (Ry) for the hardest element, which the reference of a series has to
    pass.
    """
    if dft.engine != QUANTUM_ESPRESSO:
        return dft.cutoff_ry
    return max(pseudos.cutoffs(dft.pseudo_family, element)[2] for element in elements)


def convergence_check(plan: Plan) -> Json:
    """What the series will cost: ``{"calculations", "atoms", "core_hours"}``.

    Two structures at each cutoff, then at each k-point spacing but the first one's own, at the
    derived cutoff. Raises InputError where no start crystal is known.
    """
    dft, atoms = plan.dft, _atoms_of_the_check(plan.material)
    highest = hardest_cutoff_ry(dft, plan.material.elements)
    cutoffs = series.cutoffs_to_try_ry(dft.cutoff_ry, highest)
    spacings = [
        value
        for value in series.spacings_to_try_per_a(dft.kspacing_per_a)
        if value != dft.kspacing_per_a
    ]
    settings = [
        *({"cutoff_ry": value} for value in cutoffs),
        *({"kspacing_per_a": value} for value in spacings),
    ]
    seconds = sum(
        label_cpu_s(plan.material, dft.model_copy(update=change), atoms) for change in settings
    )
    return {
        "calculations": 2 * len(settings),
        "atoms": atoms,
        "core_hours": round(2 * seconds / 3600, 3),
    }


def _atoms_of_the_check(material: Material) -> int:
    """Atoms of the user's smallest structure, else of a primitive cell: one formula unit of a
    compound, roughly.
    """
    from mlip_autopipec.science.generation import starts

    if material.structure_file is not None:
        return min(len(start.atoms) for start in starts.read_structure(material.structure_file))
    first = starts.prototypes(material.fractions)[0]
    return (
        len(first.atoms)
        if len(material.fractions) == 1
        else sum(starts.counts(material.fractions).values())
    )


def estimate(plan: Plan) -> Json:
    """Expected DFT calls, CPU hours by stage and wall minutes; ``convergence_check``: its share,
    None without one.

    Assumes four rounds after the first fit, one small cell (12 atoms, or the molecule) per initial
    label, cells of ``max_dft_atoms`` for half of the later ones, 5 % repeated calculations, and a
    quarter of the cores' time waiting.
    """
    material, dft, elements = plan.material, plan.dft, len(plan.material.elements)

    def label(atoms: int) -> float:
        return label_cpu_s(material, dft, atoms)

    initial, points = plan.selection.initial_count, plan.validation.calls
    later = ROUNDS * plan.selection.batch_count
    check = convergence_check(plan) if dft.convergence == "check" else None
    checks, check_hours = (check["calculations"], check["core_hours"]) if check else (0, 0.0)
    calls = min(
        plan.budget.dft_calls, checks + math.ceil((initial + later + points) * (1 + RETRIES))
    )
    later = max(0, calls - checks - initial - points)
    largest, small = plan.embedding.max_dft_atoms, min(12, plan.embedding.max_dft_atoms)
    if material.kind == "molecule":
        largest = small = molecule_atoms(material)
    dft_s = (initial + points) * label(small) + later * (label(largest) + label(small)) / 2
    fits = _fits_cpu_s(plan.training, elements, initial + later)
    steps = plan.exploration.max_ps * 1000 / plan.exploration.timestep_fs
    md_s = (
        len(plan.exploration.conditions)
        * 2
        * steps
        * plan.exploration.md_atoms
        * MD_CPU_S_PER_ATOM_STEP
    )
    generation_s = SURROGATE_CPU_S * max(1, len(plan.generation.batches))
    total = dft_s + fits + md_s + generation_s + 3600 * check_hours
    return {
        "dft_calls": calls,
        "convergence_check": check,
        "core_hours": {
            **({"convergence": round(check_hours, 2)} if check else {}),
            "generation": round(generation_s / 3600, 2),
            "dft": round(dft_s / 3600, 2),
            "training": round(fits / 3600, 2),
            "exploration": round(md_s / 3600, 2),
            "total": round(total / 3600, 2),
        },
        "label_cpu_s": {
            f"{small} atoms": round(label(small), 1),
            f"{largest} atoms": round(label(largest), 1),
        },
        "wall_minutes": round(total / 60 / plan.executor.cores / (1 - IDLE), 1),
        "within_budget": total / 60 / plan.executor.cores / (1 - IDLE) <= plan.budget.wall_minutes,
    }
