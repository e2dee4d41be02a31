"""The release gate: a potential that brings atoms back passes, one that lets them fall into each
other, explodes or invents the energy of an atom does not.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list

from mlip_autopipec.science.generation.context import in_a_box
from mlip_autopipec.science.release_gate import FreeAtom, Gate, GateCheck, release_gate

COPPER = bulk("Cu", cubic=True)
ALONE = in_a_box(Atoms("Cu"))
NAMES = ["md-10%", "md+0%", "md+10%", "dimer Cu-Cu", "free atom Cu"]


class Pairs(Calculator):  # type: ignore[misc]
    """``height`` exp(-(r / ``width``)^2) of each pair: a repulsion, or with height < 0 a well
    without a floor.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]  # type: ignore[misc]

    def __init__(self, height_ev: float, width_a: float) -> None:
        super().__init__()
        self.height_ev, self.width_a = height_ev, width_a

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        i, distance, vector = neighbor_list("idD", self.atoms, 4.0)
        pair = self.height_ev * np.exp(-((distance / self.width_a) ** 2))
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, i, (-2 * pair / self.width_a**2)[:, None] * vector)
        self.results = {"energy": float(pair.sum()) / 2, "forces": forces}


class NoNumber(Pairs):
    """Forces that are no numbers."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        self.results["forces"][:] = np.nan


class GivesUp(Pairs):
    """Calculates no crystal."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        if len(self.atoms) > 2:
            raise RuntimeError("outside the basis")


def gate(calculator: Calculator, start: Atoms = COPPER, **changes: Any) -> dict[str, GateCheck]:
    dft = FreeAtom(ALONE, changes.pop("atom_ev", 0.0))
    asked = {"temperature_k": 300.0, "timestep_fs": 4.0, "ps": 0.2, **changes}
    found = release_gate(calculator, start, ["Cu"], free_atoms=[dft], **asked)
    assert Gate.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.passed is found.to_json()["passed"]
    assert found.passed is all(check.passed for check in found.checks)
    return {check.name: check for check in found.checks}


def passed(checks: dict[str, GateCheck]) -> dict[str, bool]:
    return {name: check.passed for name, check in checks.items()}


def test_a_potential_that_repels_passes_and_says_what_was_tried() -> None:
    alone = ALONE.copy()
    alone.calc = EMT()
    checks = gate(EMT(), atom_ev=alone.get_potential_energy())
    assert passed(checks) == dict.fromkeys(NAMES, True)
    assert "16 atoms at 450 K and -10% volume: 0.2 ps" in checks["md-10%"].text
    assert "repels from 1.85 to 0.3 Å" in checks["dimer Cu-Cu"].text


def test_atoms_that_fall_into_each_other_do_not() -> None:
    checks = gate(Pairs(-20.0, 1.5), ps=1.0)
    assert passed(checks) == {**dict.fromkeys(NAMES[:4], False), "free atom Cu": True}
    assert "pair at" in checks["md+0%"].text or " K after" in checks["md+0%"].text
    assert "attracts at" in checks["dimer Cu-Cu"].text


def test_a_wall_with_a_hole_behind_it_is_found() -> None:
    """Repulsion that ends at 0.8 Å: hot MD of a crystal never gets there, the dimer does."""

    class Hole(Pairs):
        def calculate(self, *args: Any, **kwargs: Any) -> None:
            super().calculate(*args, **kwargs)
            if len(self.atoms) == 2 and self.atoms.get_distance(0, 1) < 0.8:
                self.results["energy"] = 0.0

    checks = gate(Hole(30.0, 1.5))
    assert [name for name, check in checks.items() if not check.passed] == ["dimer Cu-Cu"]


def test_forces_have_to_repel_too() -> None:
    class Backwards(Pairs):
        def calculate(self, *args: Any, **kwargs: Any) -> None:
            super().calculate(*args, **kwargs)
            self.results["forces"] *= -1

    assert not gate(Backwards(30.0, 1.5))["dimer Cu-Cu"].passed


@pytest.mark.parametrize(
    ("broken", "words"), [(NoNumber, "finite"), (GivesUp, "RuntimeError: outside the basis")]
)
def test_forces_that_are_no_numbers_and_errors_are_failures(
    broken: type[Pairs], words: str
) -> None:
    checks = gate(broken(30.0, 1.5))
    assert words in checks["md+0%"].text and not checks["md+0%"].passed


def test_a_free_atom_costs_what_dft_says() -> None:
    alone = ALONE.copy()
    alone.calc = EMT()
    energy = float(alone.get_potential_energy())
    for off, right in ((0.19, True), (-0.19, True), (0.21, False), (-0.21, False)):
        check = gate(EMT(), atom_ev=energy - off, ps=0.04)["free atom Cu"]
        assert check.passed is right and f"{off:+.3f} eV" in check.text


def test_an_explosion_is_one_by_its_temperature() -> None:
    """A step far too long for the wall: the energy grows without bounds."""
    checks = gate(Pairs(4000.0, 1.0), temperature_k=3000.0, timestep_fs=40.0, ps=20.0)
    assert not any(checks[name].passed for name in NAMES[:3])


def test_a_molecule_moves_in_its_box_alone() -> None:
    molecule = in_a_box(Atoms("Cu2", positions=[[0, 0, 0], [2.2, 0, 0]]))
    checks = gate(EMT(), molecule, ps=0.04)
    assert [name for name in checks if name.startswith("md")] == ["md"]
    assert "volume" not in checks["md"].text
