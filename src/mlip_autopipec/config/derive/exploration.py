"""Conditions of MD, its cell, its time step and its grades.

What was asked is surrounded by margins, in small cells that DFT labels whole; a large cell checks
it all.
"""

from __future__ import annotations

from typing import Any

from mlip_autopipec.config import cost, facts
from mlip_autopipec.config.derive.material import temperatures_k
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import (
    Condition,
    DftPlan,
    Embedding,
    Exploration,
    Material,
    Training,
)
from mlip_autopipec.engines import registry
from mlip_autopipec.science.dft_rules import wide_gap
from mlip_autopipec.science.judgement import GAMMA_SELECT

__all__ = ["MARGIN", "SMALL_CELLS", "derive_exploration"]

#: Atoms of the cells that MD explores in, the largest first.
SMALL_CELLS = (16, 12, 8)
SMALL_LABEL_CPU_S = 150.0  # that a label of such a cell may cost
#: Of cubic metals: the primitive cell repeated alike in three directions. The k-points are those
#: of the primitive cell, so that energies of all cells agree: perfect aluminium at 0.25 1/Å,
#: against 24x24x24, is off by 0.4 meV/atom in 27 atoms and by -3.2 in 8, but by 13.7 in the 16
#: atoms whose images are farthest apart, three times what its labels are to be known to.
SCALED_CELLS = (27, 8)
# That a label of 27 atoms may cost: its 81 forces cost as much each as the 48 of 16 atoms do.
SCALED_LABEL_CPU_S = 250.0
# Atoms of the cell that checks what small cells taught.
CHECK_ATOMS = 256
MARGIN = 1.2  # times the highest temperature
MARGIN_STRAIN = 0.03  # change of volume, either way
# Of the melting point: from here on a liquid is a margin. (A perfect crystal in a small cell
# outlives its melting point.)
NEAR_MELTING = 0.95
# Times the melting point, where that liquid certainly is one: 16 atoms of aluminium froze at 1.1.
HOT_LIQUID = 1.3
# A vacancy in a smaller cell meets its images.
VACANCY_ATOMS = 12


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


def _name(condition: Condition, several: bool) -> Condition:
    """The same with a name that tells it from the others."""
    words = [condition.ensemble, f"{condition.temperature_k:g}K"]
    if several and condition.ensemble == "npt":
        words.append(f"{condition.pressure_gpa:g}GPa")
    if condition.start != "crystal":
        words.append(condition.start)
    if condition.strain:
        words.append("expanded" if condition.strain > 0 else "compressed")
    words += {"margin": ["margin"], "check": ["large"]}.get(condition.role, [])
    return condition.model_copy(update={"name": "-".join(words)})


def _of_a_molecule(temperatures: list[float]) -> list[Condition]:
    """A molecule alone has no pressure; its plan names its start as plans always did."""
    asked = [Condition(name="", ensemble="nvt", temperature_k=t) for t in temperatures]
    hotter = Condition(
        name="", ensemble="nvt", temperature_k=round(MARGIN * temperatures[-1], 1), role="margin"
    )
    return [*asked, hotter]


def _conditions(
    user: UserInput, material: Material, temperatures: list[float], md_atoms: int
) -> list[Condition]:
    """Asked ones first, then margins, then the check."""
    melting = facts.melting_point_k(material)
    highest, pressures = temperatures[-1], user.pressure_gpa

    def liquid(temperature_k: float) -> bool:
        return user.goal == "liquid" or (
            user.goal != "crystal" and melting is not None and temperature_k >= melting
        )

    def condition(
        temperature_k: float, pressure_gpa: float = pressures[0], **more: Any
    ) -> Condition:
        usual = {"name": "", "ensemble": "npt", "start": "melt" if liquid(highest) else "crystal"}
        values = {"temperature_k": temperature_k, "pressure_gpa": pressure_gpa}
        return Condition.model_validate({**usual, **values, **more})

    found = [
        condition(t, pressure, start="melt" if liquid(t) else "crystal")
        for t in temperatures
        for pressure in pressures
    ]
    if material.kind == "solid_solution" and not liquid(highest):
        found.append(condition(highest, start="phase"))
    margin: dict[str, Any] = {"role": "margin"}
    found.append(condition(round(MARGIN * highest, 1), **margin))
    if 0.0 in pressures:  # the volume of the start cells is that without pressure
        found += [
            condition(highest, 0.0, ensemble="nvt", strain=strain, **margin)
            for strain in (MARGIN_STRAIN, -MARGIN_STRAIN)
        ]
    else:
        around = {pressures[0] / MARGIN, pressures[-1] * MARGIN}
        found += [condition(highest, round(pressure, 3), **margin) for pressure in sorted(around)]
    if not liquid(highest):
        # An ion that is missing alone leaves its charge behind.
        if md_atoms >= VACANCY_ATOMS and not wide_gap(material.fractions).value:
            found.append(condition(highest, start="vacancy", **margin))
        if any(strategy.name == "surface" for strategy in user.strategies):
            found.append(condition(highest, 0.0, ensemble="nvt", start="slab", **margin))
        if user.goal != "crystal" and melting is not None and highest >= NEAR_MELTING * melting:
            hot = round(max(highest, HOT_LIQUID * melting), 1)
            found.append(condition(hot, start="melt", **margin))
    found.append(condition(highest, role="check", atoms=CHECK_ATOMS))
    return found


def _md_atoms(material: Material, dft: DftPlan, embedding: Embedding) -> tuple[int, str]:
    if material.kind == "molecule":
        return facts.molecule_atoms(material), "one molecule alone in a box"
    cubic = facts.is_cubic_metal(material)
    sizes, limit_s = (
        (SCALED_CELLS, SCALED_LABEL_CPU_S) if cubic else (SMALL_CELLS, SMALL_LABEL_CPU_S)
    )
    fitting = [n for n in sizes if n <= embedding.max_dft_atoms] or [embedding.max_dft_atoms]
    cheap = [n for n in fitting if cost.label_cpu_s(material, dft, n) <= limit_s]
    atoms = (cheap or fitting[-1:])[0]
    seconds = cost.label_cpu_s(material, dft, atoms)
    shape = "; the primitive cell's k-points, so that energies of all cells agree" if cubic else ""
    return atoms, f"at most; labelled whole, about {seconds:.0f} s of one core each{shape}"


def derive_exploration(
    user: UserInput,
    material: Material,
    dft: DftPlan,
    embedding: Embedding,
    training: Training,
    why: Reasons,
) -> Exploration:
    """Raises InputError for an MD program that is not known, or cannot run the potentials that will
    be made.
    """
    temperatures = temperatures_k(user)
    md_atoms, md_reason = _md_atoms(material, dft, embedding)
    asked = "given" if user.temperatures_k else f"default of the goal {user.goal!r}"
    if material.kind == "molecule":
        conditions = _of_a_molecule(temperatures)
        around = f"a molecule has no pressure; as a margin {MARGIN:g} times the highest"
    else:
        conditions = _conditions(user, material, temperatures, md_atoms)
        around = (
            f"margins: {MARGIN:g} times the highest, {100 * MARGIN_STRAIN:g} % of volume either"
            f" way, other starts; a check in {CHECK_ATOMS} atoms"
        )
    several = len({item.pressure_gpa for item in conditions if item.ensemble == "npt"}) > 1
    named = [_name(condition, several) for condition in conditions]
    step, step_reason = _timestep_fs(material, temperatures[-1])
    return Exploration(
        engine=_engine(user, training, why),
        conditions=why.because("exploration.conditions", named, f"temperatures {asked}; {around}"),
        md_atoms=why.because("exploration.md_atoms", md_atoms, md_reason),
        timestep_fs=why.because("exploration.timestep_fs", step, step_reason),
        run_ps=why.because(
            "exploration.run_ps",
            10.0,
            "under one potential; forty frames tell one unknown in a hundred from one in ten",
        ),
        sample_every_ps=why.because(
            "exploration.sample_every_ps", 0.25, "some vibrations: frames that differ"
        ),
        gamma_select=why.because(
            "exploration.gamma_select",
            GAMMA_SELECT,
            "an atom is unknown above it, where the trainer predicts no errors",
        ),
        gamma_break=why.because(
            "exploration.gamma_break", 12.0, "beyond it forces cannot be trusted: rewind and wait"
        ),
    )
