"""From the few lines of ``input.yaml`` to a whole plan, with the reason for each derived number.

Every rule looks at the material, the goal and the seed alone: neither the machine's cores nor (from
45 DFT calls on) the budget change what is calculated, so both may be raised later and the campaign
goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ase.data import atomic_masses, atomic_numbers, covalent_radii
from pydantic import BaseModel

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.config import cost
from mlip_autopipec.config.derive.fixed import FIXED
from mlip_autopipec.config.derive.generation import default_generation, form_of
from mlip_autopipec.config.derive.surrogate import AUTO, choose_surrogate
from mlip_autopipec.config.input import UserInput, material_of
from mlip_autopipec.config.plan import (
    Budget,
    Condition,
    Convergence,
    DftPlan,
    Embedding,
    ExecutorPlan,
    Exploration,
    Generation,
    Material,
    Plan,
    Selection,
    SurrogatePlan,
    Training,
    Validation,
)
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.science import dft_rules
from mlip_autopipec.science.dft_rules import Choice

__all__ = ["derive"]

T = TypeVar("T")

FAMILY = pseudos.DEFAULT_FAMILY
MOLECULE_SURROGATE = "gfn2"

EOS_STRAINS = [-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06]
DEFAULT_TEMPERATURES_K = {"general": [300.0, 900.0], "crystal": [300.0, 600.0]}
LABEL_CPU_S = 400.0
PAIR_CPU_S = 60.0  # of two molecules: their MD is that of one
MOLECULE_MODES = 3
DFT_CELL_SIZES = (32, 24, 16)
SMALLEST_CELL_TO_CUT_FOR = 16  # a cutout of fewer atoms would be all seam
CONVERGENCE = {
    "derived": "these settings are taken as they are; 'check' runs a series of calculations first",
    "check": (
        "cutoff and k-points here are where a series begins, before the first label; its choice"
        " replaces them"
    ),
}
_IONIC = {
    "H",
    "N",
    "O",
    "F",
    "Cl",
    "Br",
    "I",
}  # anions that make a compound with a gap an insulator
# As many as the labels carry (a fit takes fewer while they are few). Silicon, 73 labels of a
# campaign, the same 11 held out: 120 functions 5.8 meV/atom and 84 meV/Å (errors in training as
# large), 200 functions 4.0 and 75, 300 2.9 and 71.
ACE_FUNCTIONS = {1: 300, 2: 100}


@dataclass
class _Reasons:
    """Collects dotted key -> reason while values pass through."""

    found: dict[str, str] = field(default_factory=lambda: dict(FIXED))

    def because(self, key: str, value: Any, reason: str) -> Any:
        self.found[key] = reason
        return value


def derive(user: UserInput, *, cores: int) -> tuple[Plan, dict[str, str]]:
    """The plan of a campaign and dotted key -> reason for every derived number.

    ``cores``: cores of this machine that may work at once (recorded under ``executor``, changes
    nothing else). Raises InputError for a material that the pseudopotential family or the surrogate
    does not know.
    """
    why = _Reasons()
    material = material_of(user)
    _check_elements(material)
    dft = _dft(user, material, why)
    embedding = _embedding(material, dft, user.dft.max_atoms, why)
    validation = _validation(material, why)
    selection = _selection(user, validation.calls, why)
    plan = Plan(
        name=why.because(
            "name", user.name or material.formula, "given" if user.name else "the formula"
        ),
        goal=why.because("goal", user.goal, _given(user, "goal")),
        seed=why.because(
            "seed", user.seed, f"{_given(user, 'seed')}; every random choice follows from it"
        ),
        material=why.because("material", material, "atomic fractions of what was given"),
        dft=_with_walltime(material, dft, embedding.max_dft_atoms, why),
        generation=_generation(user, material, embedding, selection.initial_count, why),
        surrogate=_surrogate(user, material, why),
        selection=selection,
        training=_training(material, why),
        exploration=_exploration(user, material, embedding, why),
        embedding=embedding,
        validation=validation,
        convergence=_convergence(why),
        budget=_budget(user, why),
        executor=ExecutorPlan(
            cores=why.because("executor.cores", cores, "cores that may work at once here")
        ),
    )
    return plan, why.found


def _given(user: BaseModel, key: str) -> str:
    return "given" if key in user.model_fields_set else "default"


def _check_elements(material: Material) -> None:
    for element in material.elements:
        pseudos.cutoffs(FAMILY, element)  # InputError for an element that the family lacks


def _radius_a(material: Material) -> float:
    """Covalent radius of the largest element (Å)."""
    return max(float(covalent_radii[atomic_numbers[element]]) for element in material.elements)


def _dft(user: UserInput, material: Material, why: _Reasons) -> DftPlan:
    elements, composition = material.elements, material.fractions
    periodic = (material.kind != "molecule",) * 3
    facts = pseudos.family_facts(FAMILY)

    def chosen(keys: str, choice: Choice[T]) -> T:
        for key in keys.split():
            why.found[f"dft.{key}"] = choice.reason
        return choice.value

    def or_given(choice: Choice[float], given: float | None) -> Choice[float]:
        return (
            choice
            if given is None
            else Choice(given, f"given, instead of {choice.value:g}: {choice.reason}")
        )

    hints = {e: pseudos.cutoffs(FAMILY, e) for e in elements}
    cutoff = chosen(
        "cutoff_ry", or_given(dft_rules.wavefunction_cutoff_ry(hints), user.dft.cutoff_ry)
    )
    spacing = or_given(dft_rules.kspacing_per_a(composition, periodic), user.dft.kspacing_per_a)
    smearing, degauss_ry = chosen("smearing degauss_ry", dft_rules.smearing(composition))
    return DftPlan.model_validate(
        {
            "functional": why.because(
                "dft.functional", facts.functional, "the family's functional"
            ),
            "pseudo_family": why.because(
                "dft.pseudo_family", FAMILY, "one family and version for the whole campaign"
            ),
            "pseudos": why.because(
                "dft.pseudos", {e: f"{e}.upf" for e in elements}, "see: mlip-auto pseudos list"
            ),
            "pseudo_sha256": why.because(
                "dft.pseudo_sha256",
                {e: facts.elements[e].sha256 for e in elements},
                "checked before every run",
            ),
            "cutoff_ry": cutoff,
            "rho_cutoff_ry": chosen(
                "rho_cutoff_ry",
                dft_rules.rho_cutoff_ry(
                    cutoff, facts.dual, pseudos.density_cutoffs_ry(FAMILY, elements)
                ),
            ),
            "kspacing_per_a": chosen("kspacing_per_a", spacing),
            "kmesh_shifted": chosen(
                "kmesh_shifted", dft_rules.kmesh_shifted(composition, periodic)
            ),
            "smearing": smearing,
            "degauss_ry": degauss_ry,
            "spin_polarized": chosen("spin_polarized", dft_rules.spin_polarized(composition)),
            "starting_moments": chosen("starting_moments", dft_rules.starting_moments(composition)),
            "isolated": "none"
            if all(periodic)
            else why.because(
                "dft.isolated",
                "martyna_tuckerman",
                "no images: forces in a box with 4 Å around ethanol are then as good as with 6 Å,"
                " at a third of the cost",
            ),
            "convergence": why.because(
                "dft.convergence", user.dft.convergence, CONVERGENCE[user.dft.convergence]
            ),
        }
    )


def _with_walltime(material: Material, dft: DftPlan, atoms: int, why: _Reasons) -> DftPlan:
    """Half an hour, or five times what the largest label is expected to take."""
    seconds = 5 * cost.label_cpu_s(material, dft, atoms)
    if seconds <= dft.walltime_s:
        return dft
    limit = 600.0 * math.ceil(seconds / 600)
    value = why.because(
        "dft.walltime_s", limit, "one attempt: five times what the largest label should take"
    )
    return dft.model_copy(update={"walltime_s": value})


def _kind(material: Material) -> str:
    if material.kind == "molecule":
        return "molecule"
    if dft_rules.is_metal(material.fractions).value:
        return "metal"
    return "insulator" if _IONIC & set(material.elements) else "semiconductor"


def _temperatures_k(user: UserInput) -> list[float]:
    return user.temperatures_k or DEFAULT_TEMPERATURES_K[user.goal]


def _generation(
    user: UserInput, material: Material, embedding: Embedding, count: int, why: _Reasons
) -> Generation:
    """The default strategies; the goal ``crystal`` leaves the melt out, ``liquid`` doubles it."""
    kind, temperatures = _kind(material), _temperatures_k(user)
    if user.goal == "crystal":
        kind, temperatures = (
            "insulator",
            [min(t, 1500.0) for t in temperatures],
        )  # the set without a melt
    form = form_of(material.fractions, material.kind)
    generation, reasons = default_generation(
        kind, embedding.max_dft_atoms, temperatures, count, form
    )
    if user.goal == "crystal" and form != "molecule":
        reasons["generation.batches.melt_quench"] = "left out: the goal is the crystal"
    if user.goal == "liquid":
        generation = Generation(
            batches=[
                [
                    s.model_copy(update={"count": 2 * s.count}) if s.name == "melt_quench" else s
                    for s in batch
                ]
                for batch in generation.batches
            ]
        )
    present = {strategy.name for batch in generation.batches for strategy in batch}
    for key, reason in reasons.items():
        name = key.removeprefix("generation.batches").lstrip(".")
        if not name or name in present:
            why.found[key] = reason
        else:
            why.found["generation.batches"] += f"; {name} {reason}"
    return generation


def _surrogate(user: UserInput, material: Material, why: _Reasons) -> SurrogatePlan:
    asked = user.surrogate
    if material.kind == "molecule" and asked.engine == AUTO:
        reason = (
            "GFN2-xTB is made for molecules; potentials learned from crystals have hardly seen one"
        )
        return SurrogatePlan(engine=why.because("surrogate.engine", MOLECULE_SURROGATE, reason))
    chosen = choose_surrogate(asked.engine, material.elements, asked.model)
    found = registry.surrogate(chosen.engine, chosen.model)
    for element in material.elements:
        if not found.supports([element]):
            raise InputError(
                f"the surrogate {chosen.engine} does not know {element}",
                key="material",
                value=element,
            )
    return SurrogatePlan(
        engine=why.because("surrogate.engine", chosen.engine, chosen.reason), model=chosen.model
    )


def _selection(user: UserInput, points: int, why: _Reasons) -> Selection:
    calls = user.budget.dft_calls
    initial, reason = 36, "spans prototypes, strain, rattle and melt; enough for a first fit"
    if calls < 52:
        initial = max(8, (calls - points) * 2 // 3)
        reason = (
            f"two thirds of the {calls} calls that the budget leaves beside the {points} of the"
            " validation"
        )
    return Selection(
        initial_count=why.because("selection.initial_count", initial, reason),
        batch_count=why.because(
            "selection.batch_count", 4, "large cells cost minutes: train and look again soon"
        ),
    )


def _training(material: Material, why: _Reasons) -> Training:
    n, radius = len(material.elements), _radius_a(material)
    # Ethanol, 14 labels, linear, held out: 626 meV/Å at 4.5 Å, 313 at 3.6, 301 at 3.0 (a short
    # range needs fewer radial functions, and within a molecule of this size there is little
    # beyond).
    least = 3.0 if material.kind == "molecule" else 4.5
    cutoff = min(6.5, max(least, round(2.3 * 2 * radius, 1)))
    functions = ACE_FUNCTIONS.get(n, 80)
    trainer = "pacemaker"
    if material.kind == "molecule":
        trainer = why.because(
            "training.trainer",
            "linear",
            "the non-linear fit has as many functions for each element as the rarest carries, in a"
            " molecule a handful",
        )
    return Training(
        trainer=trainer,
        cutoff_a=why.because(
            "training.cutoff_a", cutoff, f"2.3 bonds of {2 * radius:.2f} Å, within {least:g}-6.5"
        ),
        functions_per_element=why.because(
            "training.functions_per_element",
            functions,
            f"{n} element{'s' if n > 1 else ''}; a fit of a few minutes",
        ),
        fast_functions_per_element=why.because(
            "training.fast_functions_per_element", 150 if n == 1 else 100, "cheap in a linear fit"
        ),
        held_out_fraction=why.because(
            "training.held_out_fraction",
            0.15,
            "by group; a tenth of so few labels is too few to judge by",
        ),
        max_iterations=why.because(
            "training.max_iterations", 150, "BFGS steps; more gains little on this many labels"
        ),
        warm_iterations=why.because(
            "training.warm_iterations", 75, "enough from the last potential"
        ),
    )


def _timestep_fs(material: Material, highest_k: float) -> tuple[float, str]:
    lightest = min(material.elements, key=lambda element: atomic_masses[atomic_numbers[element]])
    mass = float(atomic_masses[atomic_numbers[lightest]])
    step = 2.0 if mass >= 20 else 1.0 if mass >= 5 else 0.5
    reason = f"about 1/30 of the fastest vibration of {lightest} ({mass:.0f} amu)"
    return (step / 2, f"{reason}, halved above 2500 K") if highest_k > 2500 else (step, reason)


def _exploration(
    user: UserInput, material: Material, embedding: Embedding, why: _Reasons
) -> Exploration:
    temperatures = _temperatures_k(user)
    md_atoms, md_reason = (
        2 * embedding.max_dft_atoms,
        "twice the largest DFT cell: room for what it hides",
    )
    if embedding.max_dft_atoms < SMALLEST_CELL_TO_CUT_FOR:
        md_atoms = embedding.max_dft_atoms
        md_reason = (
            "the largest DFT cell: too small to stand for a piece of a larger one, so labelled"
            " whole"
        )
    if material.kind == "molecule":
        md_atoms, md_reason = cost.molecule_atoms(material), "one molecule alone in a box"
    asked = "given" if user.temperatures_k else f"default of the goal {user.goal!r}"
    fixed = temperatures if material.kind == "molecule" else temperatures[-1:]
    conditions = [
        Condition(
            name=f"npt-{t:g}K", ensemble="npt", temperature_k=t, pressure_gpa=user.pressure_gpa
        )
        for t in (temperatures if material.kind != "molecule" else [])
    ]
    conditions += [Condition(name=f"nvt-{t:g}K", ensemble="nvt", temperature_k=t) for t in fixed]
    step, step_reason = _timestep_fs(material, temperatures[-1])
    return Exploration(
        conditions=why.because(
            "exploration.conditions",
            conditions,
            f"temperatures {asked}; "
            + (
                "a molecule has no pressure"
                if material.kind == "molecule"
                else "fixed volume too at the highest"
            ),
        ),
        md_atoms=why.because("exploration.md_atoms", md_atoms, md_reason),
        timestep_fs=why.because("exploration.timestep_fs", step, step_reason),
        clean_ps=why.because(
            "exploration.clean_ps", 8.0, "in a row with gamma below gamma_select, then done"
        ),
        max_ps=why.because(
            "exploration.max_ps", 40.0, "with one potential; then MD waits for a better one"
        ),
        # Silicon, 20 cutouts flagged at 2.5 to 4: the force error of their core atoms, 107 meV/Å,
        # was hardly above that of any atom (90), at ten times the cost of a small cell.
        gamma_select=why.because(
            "exploration.gamma_select",
            4.0,
            "1 is the edge of the training set; up to 4 forces of silicon held as well",
        ),
        gamma_break=why.because(
            "exploration.gamma_break", 12.0, "beyond it forces cannot be trusted: rewind and wait"
        ),
    )


def _molecule_embedding(material: Material, dft: DftPlan, why: _Reasons) -> Embedding:
    """A molecule is never cut: it is labelled whole, and beside a second one where that is
    cheap.
    """
    atoms = cost.molecule_atoms(material)
    alone, beside = (cost.label_cpu_s(material, dft, n) for n in (atoms, 2 * atoms))
    pairs = beside <= PAIR_CPU_S
    reason = f"the molecule, about {alone:.0f} s of one core for a label"
    reason += (
        f", and a pair of it, {beside:.0f} s" if pairs else f"; a pair would take {beside:.0f} s"
    )
    reach = 2 * _radius_a(material)
    why.found |= dict.fromkeys(
        [f"embedding.{key}_a" for key in ("core_radius", "buffer", "environment")]
        + ["embedding.seam_force_ev_per_a", "embedding.energy_weight"],
        "without effect: a molecule is labelled whole",
    )
    return Embedding(
        max_dft_atoms=why.because("embedding.max_dft_atoms", 2 * atoms if pairs else atoms, reason),
        core_radius_a=round(reach, 2),
        buffer_a=round(reach, 2),
        environment_a=round(reach, 2),
    )


def _embedding(material: Material, dft: DftPlan, given: int | None, why: _Reasons) -> Embedding:
    if material.kind == "molecule":
        return _molecule_embedding(material, dft, why)
    affordable = [n for n in DFT_CELL_SIZES if cost.label_cpu_s(material, dft, n) <= LABEL_CPU_S]
    atoms = given or (affordable[0] if affordable else DFT_CELL_SIZES[-1])
    bond = 2 * _radius_a(material)
    # Half the height of a compact cell of that many atoms, less 12 % for cells that are not the
    # ideal shape.
    reach = 0.44 * (atoms * cost.volume_per_atom_a3(material)) ** (1 / 3)
    core = round(min(1.22 * bond, 0.72 * reach), 2)
    # Silicon, core forces of cutouts against the parent's: 0.11 eV/Å off at 1.35 bonds, 0.04 at
    # 1.7.
    environment = round(min(1.7 * bond, 1.3 * reach), 2)
    seconds = cost.label_cpu_s(material, dft, atoms)
    return Embedding(
        max_dft_atoms=why.because(
            "embedding.max_dft_atoms",
            atoms,
            f"{'given; ' if given else ''}about {seconds:.0f} s of one core for such a label",
        ),
        core_radius_a=why.because(
            "embedding.core_radius_a", core, f"first neighbours at about {bond:.2f} Å"
        ),
        buffer_a=why.because(
            "embedding.buffer_a", round(reach - core, 2), "what a cell of max_dft_atoms leaves"
        ),
        environment_a=why.because(
            "embedding.environment_a",
            environment,
            f"{environment / bond:.2g} bonds that must equal the parent's",
        ),
    )


def _validation(material: Material, why: _Reasons) -> Validation:
    if material.kind == "molecule":
        atoms = cost.molecule_atoms(material)
        for key in ("lattice_tolerance", "bulk_modulus_tolerance"):
            why.found.pop(f"validation.{key}")  # those of crystals
        modes = min(MOLECULE_MODES, 1 if atoms == 2 else 3 * atoms - 6)
        return Validation(
            modes=why.because(
                "validation.modes",
                modes,
                f"the stiffest, the softest and between: {2 + 2 * modes} calculations in all",
            ),
            geometry_tolerance_a=why.because(
                "validation.geometry_tolerance_a",
                0.02,
                "RMSD of the relaxed geometries, potential against our own DFT",
            ),
            frequency_tolerance_per_cm=why.because(
                "validation.frequency_tolerance_per_cm",
                50.0,
                "1/cm, RMS, potential against our own DFT",
            ),
        )
    return Validation(
        eos_strains=why.because(
            "validation.eos_strains", EOS_STRAINS, "volume strains: spans the harmonic region"
        )
    )


def _convergence(why: _Reasons) -> Convergence:
    return Convergence(
        force_rmse_change=why.because(
            "convergence.force_rmse_change", 0.15, "few held-out labels scatter this much"
        ),
        energy_rmse_mev_per_atom=why.because(
            "convergence.energy_rmse_mev_per_atom", 5.0, "held out; a fifth of kT at 300 K"
        ),
        force_rmse_mev_per_a=why.because(
            "convergence.force_rmse_mev_per_a", 100.0, "held out; a tenth of thermal forces"
        ),
    )


def _budget(user: UserInput, why: _Reasons) -> Budget:
    told: Mapping[str, str] = {
        key: _given(user.budget, key) for key in ("dft_calls", "wall_minutes")
    }
    return Budget(
        dft_calls=why.because(
            "budget.dft_calls", user.budget.dft_calls, f"{told['dft_calls']}; may be raised later"
        ),
        wall_minutes=why.because(
            "budget.wall_minutes",
            user.budget.wall_minutes,
            f"{told['wall_minutes']}; may be raised later",
        ),
    )
