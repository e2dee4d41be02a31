"""Too close: one measure of contacts, and the order of its limits."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.data import covalent_radii

from mlip_autopipec.science import contacts


def pair(symbols: str, ratio: float, cell_a: float = 12.0) -> Atoms:
    first, second = Atoms(symbols).numbers
    apart = ratio * (covalent_radii[first] + covalent_radii[second])
    return Atoms(symbols, [(0, 0, 0), (apart, 0, 0)], cell=[cell_a] * 3, pbc=True)


def test_the_ratio_is_that_of_the_pair_nearest_by_its_radii_not_by_its_distance() -> None:
    atoms = Atoms("HHCs2", [(0, 0, 0), (0.74, 0, 0), (0, 6, 0), (2.4, 6, 0)], cell=[15] * 3, pbc=1)
    found = contacts.too_close(atoms, 0.6)
    assert found is not None and (found.first, found.second) == (2, 3)
    assert found.distance_a == pytest.approx(2.4)
    assert found.ratio == pytest.approx(2.4 / (2 * covalent_radii[55]))


def test_an_image_is_a_contact() -> None:
    atoms = Atoms("Si", cell=[1.2, 9, 9], pbc=True)
    assert contacts.closest_contact(atoms) == pytest.approx(1.2 / (2 * covalent_radii[14]))
    assert contacts.closest_contact(Atoms("Si", cell=[9, 9, 9], pbc=True)) == float("inf")


@pytest.mark.parametrize("limit", ["LABEL_LIMIT", "STREAM_LIMIT", "SCREEN_LIMIT"])
def test_each_limit_lets_through_what_is_just_beyond_it(limit: str) -> None:
    value = getattr(contacts, limit)
    assert contacts.too_close(pair("SiSi", value - 0.01), value) is not None
    assert contacts.too_close(pair("SiSi", value + 0.01), value) is None


def test_pairs_with_hydrogen_are_measured_looser_by_the_screen_alone() -> None:
    assert contacts.closest_contact(pair("SiH", 0.6)) == pytest.approx(0.6 / 0.8)
    assert contacts.too_close(pair("SiH", 0.59), contacts.STREAM_LIMIT) is not None


def test_what_one_step_lets_through_the_next_does_not_refuse() -> None:
    """Built, screened, streamed, labelled: each limit is below the one before."""
    limits = (
        contacts.BUILT_LIMIT,
        contacts.SCREEN_LIMIT,
        contacts.STREAM_LIMIT,
        contacts.DIMER_LIMIT,
        contacts.LABEL_LIMIT,
    )
    assert list(limits) == sorted(limits, reverse=True)
