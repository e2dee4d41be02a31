"""What every generation strategy promises, on every kind of material: one contract, no exceptions.

Composition as recorded, sane cells, no atoms on top of each other, provenance that can be read
again, and the same candidates for the same seed. A strategy may offer fewer candidates than asked,
or none, but never more or wrong ones.
"""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science import generation
from mlip_autopipec.science.contacts import BUILT_LIMIT, closest_contact
from mlip_autopipec.science.generation import melt_quench
from mlip_autopipec.science.generation.context import Context

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
MAX_ATOMS = 24
COUNT = 5


def _start(atoms: Atoms) -> Candidate:
    return Candidate(atoms, Provenance("start", f"start:{atoms.symbols}"))


def _context(
    atoms: Atoms, calculator: Calculator | None, fractions: dict[str, float] | None = None
) -> Context:
    count = Counter(atoms.get_chemical_symbols())
    found = fractions or {symbol: number / len(atoms) for symbol, number in count.items()}
    return Context(found, (_start(atoms),), calculator, (300.0, 600.0), max_atoms=MAX_ATOMS, seed=5)


def _pairs(bond_a: float, depth_ev: float) -> Calculator:
    # A pair potential whose minimum is at the bond: enough for forces of the right size, at no
    # cost.
    return LennardJones(sigma=bond_a / 2 ** (1 / 6), epsilon=depth_ev, rc=2 * bond_a, smooth=True)


MATERIALS = {
    "element": lambda: _context(bulk("Cu", a=3.61), EMT()),
    "alloy": lambda: _context(bulk("Au", a=4.06), EMT(), {"Au": 0.75, "Cu": 0.25}),
    "pure end of an alloy": lambda: _context(bulk("Cu", a=3.61), EMT(), {"Cu": 1.0}),
    "quaternary": lambda: _context(
        bulk("Pd", a=3.9), EMT(), {"Ag": 0.3, "Cu": 0.2, "Ni": 0.1, "Pd": 0.4}
    ),
    "compound": lambda: _context(bulk("NaCl", "rocksalt", a=5.64), _pairs(2.82, 0.3)),
    "molecule": lambda: _context(molecule("CO2"), _pairs(1.18, 4.0)),
    "two atoms": lambda: _context(molecule("N2"), _pairs(1.1, 5.0)),
    "one atom": lambda: _context(Atoms("Cu"), EMT()),
    "one atom of a crystal": lambda: _context(bulk("Al", "sc", a=2.8), EMT()),
    "slab": lambda: _context(
        Atoms("Cu2", [[0, 0, 0], [1.8, 1.8, 1.8]], cell=[3.6, 3.6, 20], pbc=(1, 1, 0)), EMT()
    ),
    "no surrogate": lambda: _context(bulk("Cu", a=3.61), None),
}


def _made(name: str, context: Context, seed: int = 0) -> list[Candidate]:
    return generation.strategy(name)(
        context, COUNT, np.random.default_rng(seed), **CHEAP.get(name, {})
    )


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    # What melts and how is another test's; here a few steps of every stage will do.
    for name, value in (
        ("HEATING_BLOCK_STEPS", 4),
        ("MAX_HEATING_BLOCKS", 2),
        ("SETTLING_STEPS", 2),
    ):
        monkeypatch.setattr(melt_quench, name, value)


@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize("name", sorted(generation.STRATEGIES))
def test_a_strategy_keeps_its_contract(name: str, material: str) -> None:
    if material == "no surrogate" and name in generation.NEEDS_CALCULATOR:
        with pytest.raises(ValueError, match="surrogate"):
            _made(name, MATERIALS[material]())
        return
    context = MATERIALS[material]()
    made = _made(name, context)
    assert len(made) <= COUNT
    assert [item.to_json() for item in made] == [
        item.to_json() for item in _made(name, MATERIALS[material]())
    ]
    for item in made:
        _assert_sane(item, name, context)


def _assert_sane(item: Candidate, name: str, context: Context) -> None:
    atoms, provenance = item.atoms, item.provenance
    assert provenance.strategy == name and provenance.group
    assert json.loads(json.dumps(item.to_json())) == item.to_json()
    assert Candidate.from_json(item.to_json()).provenance == provenance
    assert 1 <= len(atoms) <= context.max_atoms
    assert atoms.calc is None and not atoms.constraints
    assert np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()
    if atoms.pbc.any():
        assert atoms.cell.rank == 3
        periodic = atoms.cell.lengths()[atoms.pbc]
        assert periodic.min() > 1.5 and atoms.get_volume() / len(atoms) > 5.0
        assert np.linalg.det(atoms.cell.array) > 0
    limit = provenance.parameters.get(
        "min_contact", min(BUILT_LIMIT, 0.9 * closest_contact(context.starts[0].atoms))
    )
    assert closest_contact(atoms) >= limit - 1e-9
    _assert_composition(item, context)


def _assert_composition(item: Candidate, context: Context) -> None:
    found = Counter(item.atoms.get_chemical_symbols())
    parameters = item.provenance.parameters
    assert set(found) <= set(context.elements)
    if "atoms" in parameters:
        assert parameters["atoms"] == len(item.atoms)
    if "counts" in parameters:
        assert parameters["counts"] == dict(found)
        return
    if item.provenance.strategy in {"cluster", "molecule_pair"}:
        return
    removed, added = parameters.get("removed", []), parameters.get("added", [])
    # What was taken out put back, what was put in taken out: whole formula units of the start
    # again.
    found.update([removed] if isinstance(removed, str) else removed)
    found.subtract(added)
    start = Counter(context.starts[0].atoms.get_chemical_symbols())
    found = Counter({symbol: number for symbol, number in found.items() if number})
    units = sum(found.values()) / sum(start.values())
    assert found == Counter({symbol: round(units * number) for symbol, number in start.items()})


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


@pytest.mark.parametrize("name", sorted(set(generation.STRATEGIES) - {"prototypes"}))
def test_another_seed_gives_other_candidates(name: str) -> None:
    material = next(
        key for key in ("element", "alloy", "compound", "molecule") if name in OFFERED[key]
    )
    one, two = (
        [item.to_json() for item in _made(name, MATERIALS[material](), seed)] for seed in (0, 1)
    )
    assert one != two
