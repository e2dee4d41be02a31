"""Every strategy of the package keeps the contract, and is offered for the materials it is for."""

from __future__ import annotations

import numpy as np
import pytest

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.science import generation
from mlip_autopipec.science.generation import melt_quench
from mlip_autopipec.science.generation.context import Context
from mlip_autopipec.testing import StrategyContract
from mlip_autopipec.testing.contracts.strategy import COUNT, MATERIALS

CHEAP: dict[str, dict[str, float]] = {
    "melt_quench": {"every_steps": 1, "max_atoms": 4, "melt_k": 6000.0},
    "thermal": {"every_steps": 2, "equilibration_steps": 3, "max_atoms": 8},
    "normal_modes": {"max_atoms": 8},
    "mc_rattle": {"max_atoms": 8},
    "sqs": {"max_atoms": 8, "iterations": 2000, "relax_steps": 2},
    "random_substitution": {"max_atoms": 8, "relax_steps": 2},
    **{
        name: {"max_atoms": 16, "relax_steps": 2}
        for name in ("vacancy", "divacancy", "antisite", "substitution")
    },
    "interstitial": {"max_atoms": 16, "relax_steps": 2},
    "surface": {"max_atoms": 16, "relax_steps": 2},
}


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # What melts and how is another test's; here a few steps of every stage will do.
    for name, value in (
        ("HEATING_BLOCK_STEPS", 4),
        ("MAX_HEATING_BLOCKS", 2),
        ("SETTLING_STEPS", 2),
    ):
        monkeypatch.setattr(melt_quench, name, value)


OFFERED = {
    "element": {
        "prototypes",
        "strain",
        "rattle",
        "mc_rattle",
        "normal_modes",
        "vacancy",
        "divacancy",
        "interstitial",
        "surface",
        "cluster",
        "atoms_and_dimers",
        "thermal",
        "melt_quench",
    },
    "alloy": {
        "sqs",
        "random_substitution",
        "substitution",
        "strain",
        "rattle",
        "vacancy",
        "cluster",
    },
    "quaternary": {"sqs", "random_substitution", "substitution"},
    "compound": {
        "antisite",
        "interstitial",
        "vacancy",
        "divacancy",
        "surface",
        "normal_modes",
        "strain",
    },
    "molecule": {
        "normal_modes",
        "rattle",
        "mc_rattle",
        "molecule_pair",
        "cluster",
        "strain",
        "thermal",
    },
}


for _name in generation.STRATEGIES:
    _class = f"Test_{_name}"
    globals()[_class] = type(
        _class,
        (StrategyContract,),
        {
            "strategy": _name,
            "options": CHEAP.get(_name, {}),
            "meant_for": next(material for material in OFFERED if _name in OFFERED[material]),
            "keeps_composition": _name not in {"cluster", "atoms_and_dimers", "molecule_pair"},
            "draws": _name not in {"prototypes", "atoms_and_dimers"},
        },
    )


def _made(name: str, context: Context) -> list[Candidate]:
    return generation.strategy(name)(
        context, COUNT, np.random.default_rng(0), **CHEAP.get(name, {})
    )


@pytest.mark.parametrize("material", OFFERED)
def test_a_material_gets_what_is_meant_for_it(material: str) -> None:
    for name in sorted(OFFERED[material]):
        assert len(_made(name, MATERIALS[material]())) == COUNT, name


def test_what_makes_no_sense_is_not_offered() -> None:
    for name in (
        "vacancy",
        "divacancy",
        "antisite",
        "interstitial",
        "surface",
        "melt_quench",
        "sqs",
    ):
        assert _made(name, MATERIALS["molecule"]()) == []
    for name in ("sqs", "random_substitution", "antisite", "substitution"):
        assert _made(name, MATERIALS["pure end of an alloy"]()) == []
    for name in ("sqs", "random_substitution", "substitution"):
        assert _made(name, MATERIALS["compound"]()) == []  # sodium does not sit on chlorine's sites
