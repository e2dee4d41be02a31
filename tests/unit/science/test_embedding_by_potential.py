"""The check of an embedding by the potential itself: who can tell the cutout from its parent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import all_changes
from embedding_examples import CRYSTALS, REPEATS, Graded, cut_one, one_hot

from mlip_autopipec.science.embedding import Cutout, Skipped, cut
from mlip_autopipec.science.embedding.core import Local, agreement


@pytest.mark.parametrize("name", ["diamond", "fcc"])
def test_core_forces_are_the_parents_when_the_cutoff_fits_the_environment(name: str) -> None:
    """A pair force needs the neighbours within the cutoff: with those in place the core cannot feel
    the cut at all.
    """
    reference = CRYSTALS[name]
    parent = reference * ((REPEATS[name],) * 3)
    parent.rattle(0.1, seed=4)
    pair = Graded(cutoff_a=3.0, sigma_a=2.0)
    atoms, core_radius_a = (32, 3.0) if name == "diamond" else (64, 3.4)
    cutout = cut_one(
        parent,
        30,
        primitive=reference,
        environment_a=3.1,
        max_atoms=atoms,
        core_radius_a=core_radius_a,
        buffer_a=3.0,
    )
    inside, outside = (
        pair.get_forces(cutout.atoms),
        pair.get_forces(parent)[list(cutout.parent_indices)],
    )
    core = list(cutout.core)
    assert len(core) >= 5
    np.testing.assert_allclose(inside[core], outside[core], atol=1e-9)
    buffer = np.setdiff1d(np.arange(len(cutout.atoms)), core)
    assert np.abs(inside[buffer] - outside[buffer]).max() > 1e-2


def test_check_by_the_potential_demotes_atoms_it_can_tell_apart() -> None:
    """With a cutoff beyond the environment two of the centre's bonds see strangers, and their
    grades or local energies betray them; the centre itself sees none.
    """
    reference = CRYSTALS["diamond"]
    parent = reference * (2, 2, 2)
    parent.rattle(0.15, seed=1)
    potential = Graded(3.8, 2.0)
    unchecked = cut_one(parent, 9, primitive=reference)
    blind = cut_one(parent, 9, primitive=reference, calculator=Graded(3.0, 2.0))
    sharp = cut_one(parent, 9, primitive=reference, calculator=potential)
    assert len(unchecked.core) == len(blind.core) == 5
    assert not unchecked.checks["checked_by_potential"]
    assert blind.checks["demoted"] == 0
    told_apart = differences_by_hand(sharp, parent, potential) > 0.05
    demoted = set(blind.core) - set(sharp.core)
    assert sharp.checks["demoted"] == len(demoted) == 2
    assert all(told_apart[list(demoted)])
    assert not any(told_apart[list(sharp.core)])
    assert sharp.centre in sharp.core
    assert sharp.checks["core_difference"] <= 0.05


def differences_by_hand(cutout: Cutout, parent: Atoms, potential: Graded) -> np.ndarray:
    """Largest relative difference of local energy and grade of each atom from the parent's."""
    found = []
    for atoms in (cutout.atoms, parent):
        potential.calculate(atoms, ["energies"], all_changes)
        found.append([np.array(potential.results[key]) for key in ("energies", "gamma")])
    inside, outside = found
    rows = list(cutout.parent_indices)
    return np.max(
        [
            np.abs(here - there[rows]) / np.maximum(1.0, np.abs(there[rows]))
            for here, there in zip(inside, outside, strict=True)
        ],
        axis=0,
    )


@pytest.mark.parametrize("silent_about", ["energies", "gamma"])
def test_either_of_grade_and_local_energy_betrays_an_atom(silent_about: str) -> None:
    inside, outside = (
        Local(np.zeros((2, 3)), np.array([3.0, energy]), np.array([5.0, gamma]))
        for energy, gamma in ((2.0, 3.0), (2.5, 5.0))
    )
    left = {"energies": 0.4, "gamma": 0.2}[silent_about]
    quiet = replace(inside, **{silent_about: None})
    np.testing.assert_allclose(agreement(inside, outside), [0.0, 0.4])
    np.testing.assert_allclose(agreement(quiet, outside), [0.0, left])
    nothing = replace(inside, energies=None, gamma=None)
    assert not agreement(nothing, outside).any()


class FarSighted(Graded):
    """Grades every atom by how many there are: no cutout can look like its parent to it."""

    def calculate(self, atoms: Atoms, properties: Any, system_changes: Any) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["gamma"] = np.full(len(atoms), float(len(atoms)))


def test_embedding_that_changes_the_centre_is_reported() -> None:
    reference = CRYSTALS["diamond"]
    found = cut(
        reference * (2, 2, 2),
        one_hot(64, 9),
        gamma_select=2.0,
        max_atoms=32,
        core_radius_a=3.0,
        buffer_a=1.6,
        environment_a=3.0,
        calculator=FarSighted(3.0, 2.0),
        primitive=reference,
    )
    assert isinstance(found[0], Skipped)
    assert "local energy or gamma of the centre differs by 50 %" in found[0].reason
