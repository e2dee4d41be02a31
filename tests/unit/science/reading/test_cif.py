"""CIF: settings of space groups, and what is no ordered crystal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.io import write
from ase.spacegroup import crystal

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.science.reading import read_frames

HEAD = """data_x
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {c}
_cell_angle_alpha {alpha}
_cell_angle_beta {alpha}
_cell_angle_gamma {gamma}
{symmetry}
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
{sites}
"""
NAME = "_symmetry_space_group_name_H-M '{}'"


def cif(
    folder: Path,
    symmetry: str,
    sites: str,
    a: float = 5.431,
    c: float | None = None,
    alpha: float = 90,
    gamma: float = 90,
) -> Path:
    path = folder / "a.cif"
    path.write_text(
        HEAD.format(a=a, c=c or a, alpha=alpha, gamma=gamma, symmetry=symmetry, sites=sites)
    )
    return path


def read(path: Path) -> tuple[str, float]:
    (atoms,) = read_frames(path)
    apart = atoms.get_all_distances(mic=True) + 99 * np.eye(len(atoms))
    return str(atoms.symbols), float(apart.min())


EIGHTH, ORIGIN = "Si1 0.125 0.125 0.125", "Si1 0 0 0"


@pytest.mark.parametrize(
    ("symmetry", "site"),
    [
        (NAME.format("F d -3 m :2"), EIGHTH),
        (NAME.format("F d -3 m :1"), ORIGIN),
        (NAME.format("Fd-3m:2"), EIGHTH),
        (NAME.format("F d -3 m Z"), EIGHTH),
        (NAME.format("F d -3 m S"), ORIGIN),
        ("_space_group_name_Hall '-F 4vw 2vw 3'", EIGHTH),
        ("_space_group_IT_number 227\n_space_group_IT_coordinate_system_code 2", EIGHTH),
        (
            NAME.format("F d -3 m") + "\n_chemical_formula_sum Si\n_cell_formula_units_Z 8",
            EIGHTH,
        ),
    ],
)
def test_the_origin_of_a_space_group_is_the_one_that_the_file_means(
    tmp_path: Path, symmetry: str, site: str
) -> None:
    symbols, bond = read(cif(tmp_path, symmetry, site))
    assert symbols == "Si8" and bond == pytest.approx(2.352, abs=1e-3)


@pytest.mark.parametrize("symmetry", [NAME.format("F d -3 m"), "_space_group_IT_number 227"])
def test_an_origin_that_nobody_told_is_refused(tmp_path: Path, symmetry: str) -> None:
    with pytest.raises(InputError, match="two origin choices"):
        read_frames(cif(tmp_path, symmetry, EIGHTH))


def test_axes_of_rhombohedral_and_monoclinic_groups(tmp_path: Path) -> None:
    hexagonal = "Al1 0 0 0.3522\nO1 0.3063 0 0.25"
    rhombohedral = "Al1 0.3522 0.3522 0.3522\nO1 0.5563 0.9437 0.25"
    for name in ("R -3 c", "R -3 c :H"):
        path = cif(tmp_path, NAME.format(name), hexagonal, a=4.76, c=12.99, gamma=120)
        assert read(path) == ("Al12O18", pytest.approx(1.855, abs=5e-3))
    path = cif(tmp_path, NAME.format("R -3 c"), rhombohedral, a=5.128, alpha=55.28, gamma=55.28)
    assert read(path) == ("Al4O6", pytest.approx(1.855, abs=5e-3))
    for name in ("P 1 21/n 1", "P 21/n"):
        path = cif(tmp_path, NAME.format(name), "C1 0.1 0.2 0.3", a=6)
        (atoms,) = read_frames(path)
        found = {tuple(np.round(row, 4)) for row in atoms.get_scaled_positions()}
        # n glide: a and c halves; 21/c would move only c
        assert (0.6, 0.3, 0.8) in found and len(atoms) == 4


def test_operations_of_the_file_go_before_names(tmp_path: Path) -> None:
    write(
        tmp_path / "a.cif",
        crystal("Si", [(0, 0, 0)], spacegroup=227, cellpar=[5.43] * 3 + [90] * 3),
    )
    assert read(tmp_path / "a.cif")[0] == "Si8"


def with_occupancy(folder: Path, first: str, second: str) -> Path:
    path = cif(folder, NAME.format("F m -3 m"), f"Pd1 0 0 0 {first}\nNi1 {second}", a=3.79)
    path.write_text(path.read_text().replace("_fract_z", "_fract_z\n_atom_site_occupancy"))
    return path


def test_partly_occupied_sites_are_named_and_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"partly occupied \(Pd1: Pd 0.6, Ni1: Ni 0.4\)"):
        read_frames(with_occupancy(tmp_path, "0.6", "0 0 0 0.4"))
    with pytest.raises(InputError, match=r"partly occupied \(Pd1: Pd 0.9\)"):
        read_frames(with_occupancy(tmp_path, "0.90(2)", ".5 .5 .5 1"))
    with pytest.raises(InputError, match="at one site"):
        read_frames(with_occupancy(tmp_path, "1", "0 0 0 1"))
    assert read(with_occupancy(tmp_path, "1.0", ".5 .5 .5 ."))[0] == "Pd4Ni4"


def test_split_sites_and_lacking_atoms_are_refused(tmp_path: Path) -> None:
    split = "C1 0 0 0\nO1 0.5 0.5 0.5\nO2 0.55 0.5 0.5"
    with pytest.raises(InputError, match="split sites"):
        read_frames(cif(tmp_path, NAME.format("P 1"), split))
    formula = NAME.format("P 1") + "\n_chemical_formula_sum 'C H4'"
    with pytest.raises(InputError, match="its sites make C, but the file says C H4"):
        read_frames(cif(tmp_path, formula, "C1 0 0 0"))
    (tmp_path / "a.cif").write_text("this is not a structure")
    with pytest.raises(InputError, match="cannot be read as CIF"):
        read_frames(tmp_path / "a.cif")
