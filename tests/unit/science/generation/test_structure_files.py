"""The user's structure file: what is read, and what is refused with what to write."""

from __future__ import annotations

from pathlib import Path

import ase.io
import pytest
from ase.build import bulk

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.science.generation import (
    starts,
)
from mlip_autopipec.science.generation.matching import same_crystal


def test_the_users_file_is_read_or_refused_with_its_name(tmp_path: Path) -> None:
    good, bad = tmp_path / "cell.xyz", tmp_path / "cell.cif"
    ase.io.write(good, [bulk("Si"), bulk("Si", cubic=True)], format="extxyz")
    assert [len(item.atoms) for item in starts.read_structure(good)] == [2, 8]
    bad.write_text("this is no structure")
    for path in (bad, tmp_path / "absent.cif"):
        with pytest.raises(InputError, match=path.name) as caught:
            starts.read_structure(path)
        assert "structure_file" in str(caught.value)


def test_formats_of_pymatgen_are_read_too(tmp_path: Path) -> None:
    from pymatgen.core.structure import Structure

    salt = bulk("NaCl", "rocksalt", a=5.64)
    path = tmp_path / "salt.json"
    Structure(salt.cell.array, salt.get_chemical_symbols(), salt.get_scaled_positions()).to(
        filename=str(path)
    )
    [read] = starts.read_structure(path)
    assert read.atoms.get_chemical_formula() == "ClNa" and read.atoms.pbc.all()
    assert same_crystal(read.atoms, salt, strict=True)
    assert read.atoms.get_volume() == pytest.approx(salt.get_volume())


def test_shared_sites_are_refused_with_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "alloy.cif"
    path.write_text(
        "data_alloy\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha"
        " 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P"
        " 1'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_occupancy\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nAl1"
        " Al 0.75 0 0 0\nCu1 Cu 0.25 0 0 0\n"
    )
    with pytest.raises(InputError, match="composition"):
        starts.read_structure(path)
