"""Every property of this package keeps the contract, and so does the worked example of the page
about them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.science.generation.context import in_a_box
from mlip_autopipec.science.properties import PROPERTIES, property_class
from mlip_autopipec.science.properties.port import Subject
from mlip_autopipec.testing import PropertyContract

PAGE = Path(__file__).parents[2] / "docs" / "developing" / "add-a-property.md"
COPPER = bulk("Cu", a=3.5900, cubic=True)


def relaxed_tetrahedron() -> Atoms:
    from ase.optimize import BFGS

    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    atoms = in_a_box(Atoms("Cu4", positions=0.87 * corners))
    moving = atoms.copy()
    moving.calc = EMT()
    BFGS(moving, logfile=None).run(fmax=1e-3)
    atoms.positions = moving.positions
    return atoms


class TestEquationOfState(PropertyContract):
    item = property_class("equation_of_state")
    start = COPPER
    calculator = EMT()


class TestElasticConstants(PropertyContract):
    item = property_class("elastic")
    start = COPPER
    calculator = EMT()


class TestMoleculeAtRest(PropertyContract):
    item = property_class("molecule")
    start = relaxed_tetrahedron()
    calculator = EMT()
    subject = Subject("molecule", 4)
    tolerance = 0.02  # Å and 1/cm


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL
    )


def example() -> type:
    """The class of the page, in a module of the name that the page gives it."""
    if "energy_of_bcc" not in sys.modules:
        module = ModuleType("energy_of_bcc")
        sys.modules["energy_of_bcc"] = module
        exec(blocks("python")[0], module.__dict__)
    return property_class("energy_of_bcc:EnergyOfBcc")


class TestEnergyOfBcc(PropertyContract):
    item = example()
    start = COPPER
    calculator = EMT()


def test_every_property_has_its_suite() -> None:
    suites = {
        suite.item.__name__ for suite in (TestEquationOfState, TestElasticConstants,
                                          TestMoleculeAtRest)
    }  # fmt: skip
    assert {target.partition(":")[2] for target in PROPERTIES.built_in.values()} == suites
