"""Which surrogate a campaign uses, and why.

``auto``: MACE-MP where its environment is installed and its weights are here or can be downloaded,
else CHGNet, whose weights come with its package. The choice is made once, for the plan: a run never
changes its surrogate on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.config.derive.reasons import Reasons
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Material, SurrogatePlan
from mlip_autopipec.engines import registry

__all__ = ["AUTO", "OFFLINE", "SurrogateChoice", "choose_surrogate", "derive_surrogate"]

MOLECULE_SURROGATE = "gfn2"

AUTO, PREFERRED, OFFLINE = "auto", "mace", "chgnet"


@dataclass(frozen=True, slots=True)
class SurrogateChoice:
    """``engine`` and ``model`` for :func:`registry.surrogate`; ``reason`` is one line for the
    plan.
    """

    engine: str
    model: str | None
    reason: str


# Silicon, three early fits: with 80 of them 9 of 15 runs of MD break, with 240 none.
HIGH_ENERGY_STRUCTURES = 240


def choose_surrogate(
    engine: str, symbols: Sequence[str], model: str | None = None
) -> SurrogateChoice:
    """The surrogate to be used for ``symbols``; ``engine``: a name of the registry or ``auto``.

    Loads no model by name and takes a fraction of a second, but for the download of MACE-MP's
    weights the first time (at most three minutes; given up within seconds where there is no
    network). A named engine is taken as it is: raises MissingProgramError with the command that
    installs it, InputError for an unknown engine or model. With ``auto`` no model may be named.
    """
    if engine != AUTO:
        registry.surrogate(engine, model).require()
        return SurrogateChoice(engine, model, "given")
    if model is not None:
        hint = "name the engine that the model belongs to"
        raise InputError(
            "a model cannot be named with engine auto",
            key="surrogate.model",
            value=model,
            hint=hint,
        )
    mace = registry.surrogate(PREFERRED)
    name = str(getattr(mace, "model", "")) or None
    unknown = [symbol for symbol in sorted(set(symbols)) if not mace.supports([symbol])]
    if unknown:
        return _offline(f"MACE-MP does not know {', '.join(unknown)}")
    try:
        mace.require()
    except MissingProgramError as absent:
        return _offline(f"MACE-MP cannot be used: {absent}")
    return SurrogateChoice(
        PREFERRED, name, f"MACE-MP {name}: installed, its weights are on this machine"
    )


def _offline(cause: str) -> SurrogateChoice:
    registry.surrogate(OFFLINE).require()
    return SurrogateChoice(OFFLINE, None, f"its weights come with its package; {cause}")


def derive_surrogate(user: UserInput, material: Material, why: Reasons) -> SurrogatePlan:
    asked = user.surrogate
    if material.kind == "molecule" and asked.engine == AUTO:
        reason = (
            "GFN2-xTB is made for molecules; potentials learned from crystals have hardly seen one"
        )
        return SurrogatePlan(
            engine=why.because("surrogate.engine", MOLECULE_SURROGATE, reason),
            high_energy_structures=_high_energy(why),
        )
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
        engine=why.because("surrogate.engine", chosen.engine, chosen.reason),
        model=chosen.model,
        high_energy_structures=_high_energy(why),
    )


def _high_energy(why: Reasons) -> int:
    why.because(
        "surrogate.high_energy_structures",
        HIGH_ENERGY_STRUCTURES,
        "labelled by the surrogate alone, of hardly any weight in a fit: where DFT says nothing the"
        " potential knows at least that it is high (silicon: all runs of a vacancy cell stay whole,"
        " without them a third)",
    )
    return HIGH_ENERGY_STRUCTURES
