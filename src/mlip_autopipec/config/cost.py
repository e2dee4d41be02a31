"""What a plan will cost: what the DFT code says of a label, and a few scaling laws for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mlip_autopipec.config import facts
from mlip_autopipec.config.plan import DftPlan, Exploration, Material, Plan, Training
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import CellSize, Converges
from mlip_autopipec.science.properties.calls import expected_calls

__all__ = [
    "LATER_LABELS",
    "ROUNDS",
    "ROUND_LABELS",
    "CheckCost",
    "Estimate",
    "Stages",
    "attempt_s",
    "cell_size",
    "convergence_check",
    "estimate",
    "expected_points",
    "label_cpu_s",
    "stages",
    "wall_s",
]

MD_CPU_S_PER_ATOM_STEP = 45e-6
# Of a batch of strategies: silicon 50 s, compounds with many prototypes 170.
SURROGATE_CPU_S = 120.0
#: Rounds after the first fit that a campaign is expected to need, and labels of each.
ROUNDS = 3
ROUND_LABELS = 6
LATER_LABELS = ROUNDS * ROUND_LABELS
# Of MD to every condition.
VISITS = 2
RETRIES = 0.05
# Atoms of a first label: forced cells have 1 or 2, the others 4 to 16.
FORCED_ATOMS, USUAL_ATOMS = 2, 8
IDLE = 0.25  # share of the cores' time lost while one task waits for another


@dataclass(frozen=True, slots=True)
class CheckCost:
    """DFT calculations of a convergence check, the atoms of its cell, and CPU hours."""

    calculations: int
    atoms: int
    core_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Expected cost of a campaign.

    ``dft_calls``, ``wall_minutes``: to its convergence; ``first_fit_calls``,
    ``first_fit_minutes``: to the first potential that can be validated.
    ``convergence_check``: its share, None without one; ``core_hours``: by stage, and in ``total``;
    ``label_cpu_s``: CPU seconds of one label, by size ("12 atoms").
    """

    dft_calls: int
    first_fit_calls: int
    first_fit_minutes: float
    convergence_check: CheckCost | None
    core_hours: dict[str, float]
    label_cpu_s: dict[str, float]
    wall_minutes: float
    within_budget: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Expected CPU seconds: of all candidates, of the first set of labels, of the validation's
    labels, of one later label, of all fits, and of one visit of MD to every condition.
    """

    generation_s: float
    first_labels_s: float
    validation_s: float
    later_label_s: float
    fits_s: float
    md_s: float


def cell_size(material: Material, atoms: int) -> CellSize:
    """A compact (face-centred) cell of that many atoms; of a molecule its box, or a larger one for
    several.
    """
    counts = {symbol: atoms * part for symbol, part in material.fractions.items()}
    if material.kind == "molecule":
        one, volume_a3 = facts.molecule_box(material)
        edge = (atoms / one * volume_a3) ** (1 / 3)
        return CellSize(counts, edge * np.eye(3), (False, False, False))
    edge = (4 * atoms * facts.volume_per_atom_a3(material)) ** (1 / 3)
    return CellSize(counts, (1 - np.eye(3)) * edge / 2)


def label_cpu_s(material: Material, dft: DftPlan, atoms: int) -> float:
    """Expected CPU seconds of one label of that many atoms, as the DFT code says."""
    return registry.dft_engine(dft.engine).cpu_s(dft.method, cell_size(material, atoms))


def attempt_s(dft: DftPlan, sizes: Iterable[CellSize]) -> float:
    """Wall time (s) for one attempt: five times what the largest label should take, in steps of ten
    minutes; 0 without any.
    """
    engine = registry.dft_engine(dft.engine)
    longest = max((engine.cpu_s(dft.method, size) for size in sizes), default=0.0)
    return 600.0 * math.ceil(5 * longest / 600)


def _fits_cpu_s(training: Training, elements: int, labels: int) -> float:
    """Two quick fits and a cold and two warm ones; of one trainer alone, one in every round."""
    quick = training.settings_of(training.fast_trainer)
    one = quick.fit_cpu_s(elements, labels, warm=False)
    if training.fast_settings is None:
        return (2 + ROUNDS) * one
    released = training.settings
    warm = (False, True, True)
    return 2 * one + sum(released.fit_cpu_s(elements, labels, warm=w) for w in warm)


def _md_cpu_s(exploration: Exploration) -> float:
    """Of one visit to every condition."""
    steps = (exploration.equilibration_ps + exploration.run_ps) * 1000 / exploration.timestep_fs
    atoms = sum(item.atoms or exploration.md_atoms for item in exploration.conditions)
    return steps * atoms * MD_CPU_S_PER_ATOM_STEP


def convergence_check(plan: Plan) -> CheckCost:
    """What the series will cost.

    Two structures at each value of each setting, but for the settings that the series before had
    already; the others stay as derived. Raises InputError where no start crystal is known.
    """
    dft, atoms = plan.dft, _atoms_of_the_check(plan.material)
    engine, size = registry.dft_engine(dft.engine), cell_size(plan.material, atoms)
    assert isinstance(engine, Converges)  # the input was refused otherwise
    methods = []
    for number, knob in enumerate(engine.knobs(dft.method, plan.material.elements, size.periodic)):
        now = getattr(dft.method, knob.setting)
        methods += [
            dft.method.model_copy(update=knob.changes(value))
            for value in knob.values
            if number == 0 or value != now
        ]
    seconds = sum(engine.cpu_s(method, size) for method in methods)
    return CheckCost(2 * len(methods), atoms, round(2 * seconds / 3600, 3))


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


def _first_labels_cpu_s(plan: Plan) -> float:
    """Of the first set: free atoms and dimers, forced small cells, and the rest."""
    material, dft = plan.material, plan.dft
    largest = plan.embedding.max_dft_atoms
    counts = {item.name: item.count for batch in plan.generation.batches for item in batch}
    alone = min(counts.get("atoms_and_dimers", 0), plan.selection.initial_count)
    forced = min(counts.get("prototypes", 0), plan.selection.initial_count - alone)
    rest = plan.selection.initial_count - alone - forced
    boxed = registry.dft_engine(dft.engine).cpu_s(dft.method, _dimer_box(material))
    if material.kind == "molecule":
        return alone * boxed + (forced + rest) * label_cpu_s(
            material, dft, facts.molecule_atoms(material)
        )
    return (
        alone * boxed
        + forced * label_cpu_s(material, dft, min(FORCED_ATOMS, largest))
        + rest * label_cpu_s(material, dft, min(USUAL_ATOMS, largest))
    )


def _dimer_box(material: Material) -> CellSize:
    """Two atoms of the composition in a box with 5 Å of room on each side."""
    counts = {symbol: 2 * part for symbol, part in material.fractions.items()}
    width_a = 10.0
    return CellSize(
        counts, np.diag([width_a + 2 * facts.radius_a(material), width_a, width_a]), (False,) * 3
    )


def expected_points(plan: Plan) -> int:
    """Calls of the validation that are usual, as far as a property tells them from the most."""
    return sum(expected_calls(item) for item in plan.validation.each.values())


def stages(plan: Plan) -> Stages:
    """What each stage of the campaign will take, in cells of the size of MD after the first fit."""
    material, dft = plan.material, plan.dft
    usual, explored = _usual_and_explored_atoms(plan)
    points = expected_points(plan)
    fits_s = _fits_cpu_s(
        plan.training, len(material.elements), plan.selection.initial_count + LATER_LABELS
    )
    return Stages(
        generation_s=SURROGATE_CPU_S * max(1, len(plan.generation.batches)),
        first_labels_s=_first_labels_cpu_s(plan),
        validation_s=points * label_cpu_s(material, dft, usual),
        later_label_s=label_cpu_s(material, dft, explored),
        fits_s=fits_s,
        md_s=_md_cpu_s(plan.exploration),
    )


def _usual_and_explored_atoms(plan: Plan) -> tuple[int, int]:
    """Of a first label, and of one that MD asks for."""
    if plan.material.kind == "molecule":
        atoms = facts.molecule_atoms(plan.material)
        return atoms, atoms
    largest = plan.embedding.max_dft_atoms
    return min(USUAL_ATOMS, largest), min(plan.exploration.md_atoms, largest)


def wall_s(core_s: float, cores: int) -> float:
    """Wall time in which ``cores`` do the work of ``core_s``, waiting for each other included."""
    return core_s / cores / (1 - IDLE)


def estimate(plan: Plan) -> Estimate:
    """What the campaign will cost, roughly, whatever its budget is.

    Assumes ROUNDS rounds of ROUND_LABELS after the first fit, 5 % repeated calculations, and a
    quarter of the cores' time waiting.
    """
    expected, cores = stages(plan), plan.executor.cores
    usual, explored = _usual_and_explored_atoms(plan)
    initial, points = plan.selection.initial_count, expected_points(plan)
    check = convergence_check(plan) if plan.dft.convergence == "check" else None
    checks, check_hours = (check.calculations, check.core_hours) if check else (0, 0.0)
    first_calls = checks + math.ceil((initial + points) * (1 + RETRIES))
    calls = checks + math.ceil((initial + LATER_LABELS + points) * (1 + RETRIES))
    first_s = expected.first_labels_s + expected.validation_s
    dft_s = (1 + RETRIES) * (first_s + LATER_LABELS * expected.later_label_s)
    md_s = VISITS * expected.md_s
    before = expected.generation_s + 3600 * check_hours
    total = dft_s + expected.fits_s + md_s + before
    wall_minutes = wall_s(total, cores) / 60
    return Estimate(
        dft_calls=calls,
        first_fit_calls=first_calls,
        first_fit_minutes=round(wall_s(before + first_s + expected.fits_s / ROUNDS, cores) / 60, 1),
        convergence_check=check,
        core_hours={
            **({"convergence": round(check_hours, 2)} if check else {}),
            "generation": round(expected.generation_s / 3600, 2),
            "dft": round(dft_s / 3600, 2),
            "training": round(expected.fits_s / 3600, 2),
            "exploration": round(md_s / 3600, 2),
            "total": round(total / 3600, 2),
        },
        label_cpu_s={
            f"{atoms} atoms": round(label_cpu_s(plan.material, plan.dft, atoms), 1)
            for atoms in (usual, explored)
        },
        wall_minutes=round(wall_minutes, 1),
        within_budget=(wall_minutes <= plan.budget.wall_minutes and calls <= plan.budget.dft_calls),
    )
