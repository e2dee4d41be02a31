"""The check of an embedding by the potential itself: who can tell the cutout from its parent, and
what of its buffer may be learned.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import all_changes
from embedding_examples import CRYSTALS, Graded, cut_one, one_hot

from mlip_autopipec.science.embedding import Cutout, Skipped, cut
from mlip_autopipec.science.embedding.core import Local, differences
from mlip_autopipec.science.embedding.screen import Screen


def parent_of(name: str, sigma: float = 0.1) -> Atoms:
    parent = CRYSTALS[name] * ((3 if name == "diamond" else 4,) * 3)
    parent.rattle(sigma, seed=4)
    return parent


def cut_96(parent: Atoms, atom: int = 30, **changes: Any) -> Cutout:
    """A cutout of 96 silicon atoms: images 13.4 Å apart."""
    options = {
        "primitive": CRYSTALS["diamond"],
        "max_atoms": 96,
        "min_atoms": 96,
        "buffer_a": 3.5,
    }
    return cut_one(parent, atom, **(options | changes))


@pytest.mark.parametrize("name", ["diamond", "fcc"])
def test_core_forces_are_the_parents_when_the_cutoff_fits_the_environment(name: str) -> None:
    """A pair force needs the neighbours within the cutoff: with those in place the core cannot feel
    the cut at all.
    """
    parent = parent_of(name)
    pair = Graded(cutoff_a=3.0, sigma_a=2.0)
    cutout = cut_96(parent, primitive=CRYSTALS[name], environment_a=3.1, core_radius_a=3.2)
    inside, outside = (
        pair.get_forces(cutout.atoms),
        pair.get_forces(parent)[list(cutout.parent_indices)],
    )
    core = list(cutout.core)
    assert len(core) >= 5
    np.testing.assert_allclose(inside[core], outside[core], atol=1e-9)
    buffer = np.setdiff1d(np.arange(len(cutout.atoms)), core)
    assert np.abs(inside[buffer] - outside[buffer]).max() > 1e-2


class Shifted(Graded):
    """Its energies hold those of isolated atoms, as those of DFT do."""

    def calculate(self, atoms: Atoms, properties: Any, system_changes: Any) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["energies"] = self.results["energies"] - 158.0


@pytest.mark.parametrize("kind", [Graded, Shifted])
@pytest.mark.parametrize("limit", ["energy_tolerance_ev", "force_tolerance_ev_per_a"])
def test_atoms_that_the_potential_can_tell_apart_leave_the_core(
    kind: type[Graded], limit: str
) -> None:
    """With a cutoff beyond the environment some core atoms see strangers: energy or force betrays
    them, whatever the energy of an isolated atom is.
    """
    parent = CRYSTALS["diamond"] * (3, 3, 3)
    calm = parent.get_distances(30, range(216), mic=True) < 5.0
    at_rest = parent.positions.copy()
    parent.rattle(0.15, seed=4)
    parent.positions[calm] = at_rest[calm]
    potential = kind(5.0, 2.0)
    wide = {"core_radius_a": 4.1, "environment_a": 2.6}
    loose = {"energy_tolerance_ev": 1e3, "force_tolerance_ev_per_a": 1e3}
    blind = cut_96(parent, calculator=potential, **wide, **loose)
    assert blind.checks["demoted"] == 0
    energies, forces = by_hand(blind, parent, potential)
    if limit == "energy_tolerance_ev":
        value = 2e-3
        same = energies <= value
    else:  # or a tenth of the atom's own force
        value = 1e-2
        same = forces <= np.maximum(value, 0.1 * own_forces(blind, parent, potential))
    sharp = cut_96(parent, calculator=potential, **wide, **(loose | {limit: value}))
    kept = [i for i in blind.core if same[i]]
    assert sharp.core == tuple(kept)
    assert sharp.checks["demoted"] == len(blind.core) - len(kept) > 0
    assert sharp.checks["core_energy_difference_ev"] == pytest.approx(energies[kept].max())
    assert sharp.checks["core_force_difference_ev_per_a"] == pytest.approx(forces[kept].max())


def by_hand(cutout: Cutout, parent: Atoms, potential: Graded) -> tuple[np.ndarray, np.ndarray]:
    """By how much local energies (eV) and forces (eV/Å) of the atoms differ from the parent's."""
    rows, found = list(cutout.parent_indices), []
    for atoms in (cutout.atoms, parent):
        potential.calculate(atoms, ["energies"], all_changes)
        found.append([np.array(potential.results[key]) for key in ("energies", "forces")])
    (e, f), (energies, forces) = found
    return np.abs(e - energies[rows]), np.linalg.norm(f - forces[rows], axis=1)


def own_forces(cutout: Cutout, parent: Atoms, potential: Graded) -> np.ndarray:
    forces = potential.get_forces(parent)[list(cutout.parent_indices)]
    return np.asarray(np.linalg.norm(forces, axis=1))


def test_differences_are_absolute_and_a_silent_potential_is_judged_by_forces_alone() -> None:
    inside = Local(np.array([[0.3, 0.4, 0.0], [0, 0, 0]]), np.array([-158.0, -157.5]), None)
    outside = Local(np.zeros((2, 3)), np.array([-158.0, -158.0]), None)
    energies, forces = differences(inside, outside)
    np.testing.assert_allclose(energies, [0.0, 0.5])
    np.testing.assert_allclose(forces, [0.5, 0.0])
    energies, forces = differences(Local(inside.forces, None, None), outside)
    np.testing.assert_allclose(energies, 0.0)
    np.testing.assert_allclose(forces, [0.5, 0.0])


class FarSighted(Graded):
    """Every energy depends a little on how many atoms there are: 1 meV per atom of the cell."""

    shift_ev: ClassVar[float] = 1e-3

    def calculate(self, atoms: Atoms, properties: Any, system_changes: Any) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["energies"] = self.results["energies"] - 158.0 + self.shift_ev * len(atoms)


def test_embedding_that_changes_the_centre_is_reported() -> None:
    """216 - 96 atoms are 120 meV here: nothing to the energy of an atom, six times the limit."""
    found = cut(
        parent_of("diamond"),
        one_hot(216, 9),
        gamma_select=2.0,
        max_atoms=96,
        core_radius_a=3.0,
        buffer_a=3.5,
        environment_a=3.0,
        calculator=FarSighted(3.0, 2.0),
        primitive=CRYSTALS["diamond"],
    )
    assert isinstance(found[0], Skipped)
    assert "the centre differs from the parent by 120 meV and 0 meV/Å" in found[0].reason


# ----- what of the buffer is learned


def test_calm_cutout_counts_in_full_and_remembers_its_core() -> None:
    """DFT of a periodic cell is exact: where nothing is unphysical nothing is masked, and energy
    and stress count as well.
    """
    cutout = cut_96(parent_of("diamond"), calculator=Graded(3.0, 2.0))
    assert cutout.unphysical == ()
    assert cutout.learned is None
    assert not cutout.masked
    assert 1 <= len(cutout.core) < 96


def test_without_a_potential_nobody_says_that_the_buffer_is_calm() -> None:
    cutout = cut_96(parent_of("diamond"))
    assert cutout.masked
    assert cutout.learned == cutout.core
    assert len(cutout.core) + len(cutout.unphysical) == 96


def odd_where_cut(atoms: Atoms) -> np.ndarray:
    """Predicted errors: 0.1 eV/Å in the parent, more on every third atom of a cutout."""
    errors = np.full(len(atoms), 0.1)
    if len(atoms) < 200:
        errors[::3] = 0.3
    return errors


def test_buffer_of_which_the_potential_knows_too_little_is_masked_and_the_core_never() -> None:
    parent = parent_of("diamond")
    potential = Graded(3.0, 2.0)
    cutout = cut_96(parent, calculator=potential, force_errors=odd_where_cut)
    odd = set(range(0, 96, 3))
    assert odd & set(cutout.core)
    assert set(cutout.unphysical) == odd - set(cutout.core)
    assert cutout.learned == tuple(i for i in range(96) if i not in cutout.unphysical)
    assert set(cutout.core) <= set(cutout.learned)
    known = cut_96(
        parent, calculator=potential, force_errors=odd_where_cut, max_force_error_ev_per_a=0.3
    )
    assert known.learned is None
    as_the_parent = cut_96(
        parent, calculator=potential, force_errors=lambda atoms: np.full(len(atoms), 5.0)
    )
    assert as_the_parent.learned is None


def test_screen_names_each_kind_of_unphysical_atom_of_the_buffer_alone() -> None:
    atoms = CRYSTALS["fcc"] * (2, 2, 2)
    atoms.positions[5] = atoms.positions[4] + [1.2, 0.0, 0.0]
    forces = np.zeros((32, 3))
    forces[7] = [3.0, 4.0, 0.0]
    forces[8] = [0.0, 4.9, 0.0]
    buffer = np.arange(5, 32)
    screen = Screen(distance_a=1.5, force_ev_per_a=4.95)
    assert screen.beyond(atoms, forces, buffer).tolist() == [5, 7]
    errors = np.full(32, 0.1)
    errors[[2, 20]], errors[21] = 0.2, np.nan
    by_error = Screen(1.5, 4.95, 0.15, lambda _: errors)
    assert by_error.beyond(atoms, forces, buffer).tolist() == [5, 7, 20, 21]


def test_crystal_without_a_known_cell_is_cut_where_it_repeats_itself() -> None:
    """A box along the axes takes lattice periods as its widths: no seam, nothing merged."""
    parent = CRYSTALS["diamond"] * (4, 4, 4)
    parent.rattle(0.03, seed=1)
    cutout = cut_one(
        parent,
        77,
        max_atoms=128,
        min_atoms=96,
        core_radius_a=2.7,
        buffer_a=3.6,
        environment_a=3.6,
        calculator=Graded(3.0, 2.0),
    )
    assert cutout.kind == "box"
    assert cutout.checks["merged"] == 0
    multiples = np.diag(cutout.atoms.cell.array) / 5.47
    np.testing.assert_allclose(2 * multiples, np.round(2 * multiples), atol=0.05)
    assert cutout.atoms.get_volume() / len(cutout.atoms) == pytest.approx(5.47**3 / 8, rel=0.02)
    assert cutout.learned is None
