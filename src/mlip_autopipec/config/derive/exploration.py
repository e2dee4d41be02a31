"""Conditions of MD, its cell, its time step and its grades."""

from __future__ import annotations

from mlip_autopipec.config import facts
from mlip_autopipec.config.derive.material import temperatures_k
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Condition, Embedding, Exploration, Material, Training
from mlip_autopipec.engines import registry

__all__ = ["SMALLEST_CELL_TO_CUT_FOR", "derive_exploration"]

SMALLEST_CELL_TO_CUT_FOR = 16  # a cutout of fewer atoms would be all seam


def _timestep_fs(material: Material, highest_k: float) -> tuple[float, str]:
    lightest, mass = facts.lightest(material)
    step = 2.0 if mass >= 20 else 1.0 if mass >= 5 else 0.5
    reason = f"about 1/30 of the fastest vibration of {lightest} ({mass:.0f} amu)"
    return (step / 2, f"{reason}, halved above 2500 K") if highest_k > 2500 else (step, reason)


def _engine(user: UserInput, training: Training, why: Reasons) -> str:
    """The MD program, which has to be able to run what both trainers make."""
    name = user.exploration.engine
    engine = registry.md_engine(name)
    for trainer in (training.fast_trainer, training.trainer):
        engine.require(registry.trainer(trainer).family)
    if "engine" in user.exploration.model_fields_set:
        why.because("exploration.engine", name, "given")
    return name


def derive_exploration(
    user: UserInput, material: Material, embedding: Embedding, training: Training, why: Reasons
) -> Exploration:
    """Raises InputError for an MD program that is not known, or cannot run the potentials that will
    be made.
    """
    temperatures = temperatures_k(user)
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
        md_atoms, md_reason = facts.molecule_atoms(material), "one molecule alone in a box"
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
        engine=_engine(user, training, why),
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
