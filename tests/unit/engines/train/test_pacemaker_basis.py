"""A basis with a number of functions of its own for each element, and the linear fit in it."""

from __future__ import annotations

from collections import Counter

import numpy as np
from ase import Atoms

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.engines.ports import TrainJob
from mlip_autopipec.engines.train.pacemaker.basis import empty_basis
from mlip_autopipec.engines.train.pacemaker.fit_linear import fit_linear
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings, settings_of
from mlip_autopipec.engines.train.pacemaker.schema import PacemakerSettings


def settings(**functions: int) -> FitSettings:
    return FitSettings("linear", tuple(sorted(functions)), 3.5, functions, 10, 0.5, 1, 0.0, None, 1)


def hydride(seed: int) -> LabelledStructure:
    """Carbon with four hydrogen atoms on springs of 20 eV/Å², 1.1 Å long."""
    rng = np.random.default_rng(seed)
    arms = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 1.1 / np.sqrt(3)
    atoms = Atoms(
        "CH4", positions=np.vstack([np.zeros(3), arms]) + rng.normal(scale=0.05, size=(5, 3))
    )
    bonds = atoms.positions[1:] - atoms.positions[0]
    lengths = np.linalg.norm(bonds, axis=1)
    pull = -20.0 * ((lengths - 1.1) / lengths)[:, None] * bonds
    forces = np.vstack([-pull.sum(axis=0), pull])
    label = Label(float(10 * ((lengths - 1.1) ** 2).sum()), forces, None, "hash", 5, 1.0)
    return LabelledStructure(f"label-{seed}", atoms, label, Provenance("rattle", f"g{seed}"))


def test_each_element_has_its_own_number_of_functions() -> None:
    basis = empty_basis(settings(C=6, H=40))
    count: Counter[str] = Counter()
    for block in basis.funcspecs_blocks:
        count[block.block_name.split()[0]] += len(block.funcspecs)
    assert 4 <= count["C"] <= 6 and 30 <= count["H"] <= 40


def test_all_functions_of_all_elements_are_fitted() -> None:
    """python-ace's own design matrix comes back empty where the last element has the most."""
    from pyace import ACEBBasisSet, PyACECalculator

    items = [hydride(seed) for seed in range(20)]
    fitted = fit_linear(settings(C=40, H=40), items[:16], {"C": 0.0, "H": 0.0}).configuration
    sizes = {block.block_name: len(block.funcspecs) for block in fitted.funcspecs_blocks}
    assert sizes == {"C": 20, "C H": 20, "H": 20, "H C": 20}
    calculator = PyACECalculator(ACEBBasisSet(fitted))
    wrong, size = [], []
    for item in items[16:]:
        atoms = item.atoms.copy()
        atoms.calc = calculator
        wrong.append(atoms.get_forces() - item.label.forces)
        size.append(item.label.forces)
    assert np.sqrt(np.mean(np.square(wrong))) < 0.2 * np.sqrt(np.mean(np.square(size)))


def test_the_nonlinear_fit_has_as_many_for_each_element() -> None:
    items = tuple(hydride(seed) for seed in range(12))
    asked = PacemakerSettings(
        cutoff_a=3.5, functions_per_element=500, kappa=0.5, max_iterations=10, warm_iterations=5
    )
    job = TrainJob(("C", "H"), items, (), asked, seed=1)
    assert settings_of(job, "linear").functions_per_element == {"C": 500, "H": 500}
    assert settings_of(job, "pacemaker").functions_per_element == {"C": 8, "H": 8}
    assert settings_of(job, "pacemaker").basis["functions_per_element"] == 8
