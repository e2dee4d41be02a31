"""Contract suite of the generation strategies: pure, seeded, within the largest cell, on every kind
of material.

A strategy may offer fewer candidates than asked, or none, but never more or wrong ones.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

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
from mlip_autopipec.science.generation.context import Context

__all__ = ["MATERIALS", "MAX_ATOMS", "StrategyContract", "context_of"]

MAX_ATOMS = 24
COUNT = 5


def context_of(
    atoms: Atoms, calculator: Calculator | None, fractions: dict[str, float] | None = None
) -> Context:
    """One start crystal or molecule, at 300 and 600 K, in cells of at most MAX_ATOMS."""
    count = Counter(atoms.get_chemical_symbols())
    found = fractions or {symbol: number / len(atoms) for symbol, number in count.items()}
    start = Candidate(atoms, Provenance("start", f"start:{atoms.symbols}"))
    return Context(found, (start,), calculator, (300.0, 600.0), max_atoms=MAX_ATOMS, seed=5)


def _pairs(bond_a: float, depth_ev: float) -> Calculator:
    # A pair potential whose minimum is at the bond: enough for forces of the right size, at no
    # cost.
    return LennardJones(sigma=bond_a / 2 ** (1 / 6), epsilon=depth_ev, rc=2 * bond_a, smooth=True)


MATERIALS: dict[str, Callable[[], Context]] = {
    "element": lambda: context_of(bulk("Cu", a=3.61), EMT()),
    "alloy": lambda: context_of(bulk("Au", a=4.06), EMT(), {"Au": 0.75, "Cu": 0.25}),
    "pure end of an alloy": lambda: context_of(bulk("Cu", a=3.61), EMT(), {"Cu": 1.0}),
    "quaternary": lambda: context_of(
        bulk("Pd", a=3.9), EMT(), {"Ag": 0.3, "Cu": 0.2, "Ni": 0.1, "Pd": 0.4}
    ),
    "compound": lambda: context_of(bulk("NaCl", "rocksalt", a=5.64), _pairs(2.82, 0.3)),
    "molecule": lambda: context_of(molecule("CO2"), _pairs(1.18, 4.0)),
    "two atoms": lambda: context_of(molecule("N2"), _pairs(1.1, 5.0)),
    "one atom": lambda: context_of(Atoms("Cu"), EMT()),
    "one atom of a crystal": lambda: context_of(bulk("Al", "sc", a=2.8), EMT()),
    "slab": lambda: context_of(
        Atoms("Cu2", [[0, 0, 0], [1.8, 1.8, 1.8]], cell=[3.6, 3.6, 20], pbc=(1, 1, 0)), EMT()
    ),
    "no surrogate": lambda: context_of(bulk("Cu", a=3.61), None),
    "no start": lambda: replace(context_of(bulk("Cu", a=3.61), EMT()), starts=()),
}


class StrategyContract:
    """What is to be set:

    ``strategy``: its name in a plan, or ``module:function``. ``called``: the name that it writes
    into provenances, where that is another. ``options``: keep the test short. ``meant_for``: one of
    MATERIALS that it has something to offer for. ``keeps_composition``: whether a candidate has the
    composition of the start, but for what its provenance calls ``removed``, ``added`` or
    ``counts``. ``draws``: whether another seed gives other candidates.
    """

    strategy: ClassVar[str]
    called: ClassVar[str | None] = None
    options: ClassVar[dict[str, float | int | str | bool]] = {}
    meant_for: ClassVar[str] = "element"
    keeps_composition: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    def make(self, context: Context, count: int = COUNT, seed: int = 0) -> list[Candidate]:
        make = generation.strategy(self.strategy)
        return make(context, count, np.random.default_rng(seed), **self.options)

    @pytest.mark.parametrize("material", MATERIALS)
    def test_equal_arguments_give_equal_sane_candidates(self, material: str) -> None:
        context = MATERIALS[material]()
        if context.calculator is None and generation.needs(self.strategy).calculator:
            with pytest.raises(ValueError, match="surrogate"):
                self.make(context)
            return
        starts = [start.to_json() for start in context.starts]
        made = self.make(context)
        assert len(made) <= COUNT
        for item in made:
            self.check(item, context)
        assert [start.to_json() for start in context.starts] == starts, "it changed the starts"
        np.random.seed(len(made))  # noqa: NPY002  another global state: nothing may depend on it
        again = self.make(MATERIALS[material]())
        assert [item.to_json() for item in made] == [item.to_json() for item in again]

    def test_it_offers_what_is_asked_for_where_it_makes_sense(self) -> None:
        assert len(self.make(MATERIALS[self.meant_for]())) == COUNT
        assert self.make(MATERIALS[self.meant_for](), count=0) == []

    def test_no_cell_is_larger_than_dft_may_be_asked_for(self) -> None:
        smaller = replace(MATERIALS[self.meant_for](), max_atoms=6)
        assert all(len(item.atoms) <= 6 for item in self.make(smaller))

    def test_another_seed_gives_other_candidates(self) -> None:
        one, two = (
            [item.to_json() for item in self.make(MATERIALS[self.meant_for](), seed=seed)]
            for seed in (0, 1)
        )
        assert (one != two) == self.draws

    def check(self, item: Candidate, context: Context) -> None:
        """Provenance that can be read again, a whole cell, no atoms on top of each other."""
        atoms, provenance = item.atoms, item.provenance
        assert provenance.strategy == (self.called or self.strategy) and provenance.group
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
        start = context.starts[0].atoms if context.starts else atoms
        own = provenance.parameters.get("min_contact")
        limit = min(BUILT_LIMIT, 0.9 * closest_contact(start)) if own is None else own
        assert closest_contact(atoms) >= limit - 1e-9
        self.check_composition(item, context)

    def check_composition(self, item: Candidate, context: Context) -> None:
        """As recorded: what was taken out put back, what was put in taken out, it is whole formula
        units of the start again.
        """
        found = Counter(item.atoms.get_chemical_symbols())
        parameters = item.provenance.parameters
        assert set(found) <= set(context.elements)
        if "atoms" in parameters:
            assert parameters["atoms"] == len(item.atoms)
        if "counts" in parameters:
            assert parameters["counts"] == dict(found)
            return
        if not self.keeps_composition:
            return
        removed, added = parameters.get("removed", []), parameters.get("added", [])
        found.update([removed] if isinstance(removed, str) else removed)
        found.subtract(added)
        start = Counter(context.starts[0].atoms.get_chemical_symbols())
        found = Counter({symbol: number for symbol, number in found.items() if number})
        units = sum(found.values()) / sum(start.values())
        assert found == Counter({symbol: round(units * n) for symbol, n in start.items()})
