"""The one reader of structures: right, or one line; elements are never guessed."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.science.reading import Frames, Given, read_frames, read_start, uncharged

CUBE = 'Lattice="3.61 0 0 0 3.61 0 0 0 3.61"'
FCC = ((0, 0, 0), (0, 1.805, 1.805), (1.805, 0, 1.805), (1.805, 1.805, 0))


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def xyz(header: str, symbols: str = "Cu Cu Cu Cu") -> str:
    rows = [
        f"{symbol} {x} {y} {z}" for symbol, (x, y, z) in zip(symbols.split(), FCC, strict=False)
    ]
    return "\n".join([str(len(rows)), header, *rows]) + "\n"


def refused(path: Path, given: Given | None = None) -> str:
    with pytest.raises(InputError) as error:
        read_frames(path, given)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    return str(error.value)


@pytest.mark.parametrize("key", ["Lattice", "lattice", "LATTICE"])
def test_the_lattice_of_an_extended_xyz_counts_however_it_is_spelled(
    tmp_path: Path, key: str
) -> None:
    header = CUBE.replace("Lattice", key) + " properties=Species:s:1:POS:r:3"
    for name in ("a.xyz", "Cu@300K.xyz", "model", "b.xyz.gz"):
        text = xyz(header)
        if name.endswith("gz"):
            import gzip

            (tmp_path / name).write_bytes(gzip.compress(text.encode()))
        else:
            written(tmp_path, name, text)
        (atoms,) = read_frames(tmp_path / name)
        assert atoms.pbc.all() and atoms.cell.volume == pytest.approx(3.61**3)
        assert str(atoms.symbols) == "Cu4"


def test_a_stress_of_six_numbers_is_read_in_the_order_of_ase(tmp_path: Path) -> None:
    path = written(tmp_path, "a.xyz", xyz(CUBE + ' energy=-1 stress="1 2 3 4 5 6"'))
    (atoms,) = read_frames(path)
    assert list(atoms.calc.results["stress"]) == [1, 2, 3, 4, 5, 6]


def test_deuterium_is_hydrogen(tmp_path: Path) -> None:
    text = "3\nheavy water\nO 0 0 0\nD 0.957 0 0\nD -0.24 0.927 0\n"
    assert str(read_frames(written(tmp_path, "a.xyz", text))[0].symbols) == "OH2"
    poscar = "D in Si\n1\n5.4 0 0\n0 5.4 0\n0 0 5.4\nSi D\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"
    assert str(read_frames(written(tmp_path, "POSCAR", poscar))[0].symbols) == "SiH"
    assert "'Q'" in refused(written(tmp_path, "q.xyz", xyz(CUBE, "Q Cu")))


def poscar(comment: str) -> str:
    rows = "\n".join(f"{x / 3.61} {y / 3.61} {z / 3.61}" for x, y, z in FCC)
    return f"{comment}\n1.0\n3.61 0 0\n0 3.61 0\n0 0 3.61\n2 2\nDirect\n{rows}\n"


def test_a_poscar_of_vasp_4_is_read_only_where_its_elements_are_named(tmp_path: Path) -> None:
    for comment in ("Na Cl", "Na2 Cl2"):
        assert str(read_frames(written(tmp_path, "POSCAR", poscar(comment)))[0].symbols) == "Na2Cl2"
    for comment in ("rock salt, old style", "NaCl", "H He Li", "Cu4 Zr4", ""):
        assert "--types" in refused(written(tmp_path, "POSCAR", poscar(comment)))
    named = read_frames(tmp_path / "POSCAR", Given(("Na", "Cl")))
    assert str(named[0].symbols) == "Na2Cl2"


def dump(columns: str, marks: tuple[str, ...]) -> str:
    rows = "\n".join(
        f"{number} {mark} {x} {y} {z}"
        for number, (mark, (x, y, z)) in enumerate(zip(marks, FCC, strict=True), 1)
    )
    box = "0 3.61\n" * 3
    return (
        f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n4\nITEM: BOX BOUNDS pp pp pp\n{box}"
        f"ITEM: ATOMS id {columns} x y z\n{rows}\n"
    )


def test_types_of_a_lammps_dump_are_no_elements(tmp_path: Path) -> None:
    numbers = written(tmp_path, "a.lammpstrj", dump("type", ("1", "1", "2", "2")) * 2)
    assert "types 1, 2 are numbers" in refused(numbers)
    assert "1 were named" in refused(numbers, Given(("Cu",)))
    frames = read_frames(numbers, Given(("Cu", "Zr")))
    assert [str(atoms.symbols) for atoms in frames] == ["Cu2Zr2", "Cu2Zr2"]
    named = written(tmp_path, "b.dump", dump("element", ("Cu", "Cu", "Zr", "Zr")))
    assert str(read_frames(named)[0].symbols) == "Cu2Zr2"
    wrong = written(tmp_path, "c.dump", dump("element", ("C1", "C1", "2", "2")))
    assert "no element" in refused(wrong)


def data_file(masses: str, style: str = " # atomic") -> str:
    rows = "\n".join(f"{n} {1 if n < 3 else 2} {x} {y} {z}" for n, (x, y, z) in enumerate(FCC, 1))
    return (
        "by someone\n\n4 atoms\n2 atom types\n\n0 3.61 xlo xhi\n0 3.61 ylo yhi\n0 3.61 zlo zhi\n\n"
        f"{masses}Atoms{style}\n\n{rows}\n"
    )


def test_masses_of_a_lammps_data_file_name_elements_or_nothing_does(tmp_path: Path) -> None:
    for masses in ("1 63.546\n2 91.2", "1 1.0 # Cu\n2 1.0 # Zr"):
        path = written(tmp_path, "a.data", data_file(f"Masses\n\n{masses}\n\n"))
        (atoms,) = read_frames(path)
        assert str(atoms.symbols) == "Cu2Zr2" and atoms.pbc.all()
    assert "names no element" in refused(
        written(tmp_path, "a.data", data_file("Masses\n\n1 1.0\n2 1.0\n\n"))
    )
    bare = written(tmp_path, "structure.data", data_file("", ""))
    assert "types 1, 2 are numbers" in refused(bare)
    assert str(read_frames(bare, Given(("Si", "C")))[0].symbols) == "Si2C2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.positions.__setitem__((1, 0), np.nan), "not finite"),
        (lambda a: a.positions.__setitem__((1, 0), np.inf), "not finite"),
        (lambda a: a.set_cell(a.cell * np.nan), "not finite"),
        (lambda a: a.set_cell(a.cell * 1e200), "beyond"),
        (lambda a: a.set_cell([[1, 0, 0], [2, 0, 0], [0, 0, 1]]), "without volume"),
        (lambda a: a.set_cell([3.6, 3.6, 0]), "without a lattice vector"),
        (lambda a: a.set_cell(a.cell / 10, scale_atoms=True), "have to be in Å"),
        (lambda a: a.positions.__setitem__(1, a.positions[0] + [0.01, 0, 0]), "at one place"),
        (lambda a: a.positions.__setitem__(1, a.positions[0] + a.cell[2]), "at one place"),
        (lambda a: a.set_pbc(False), "is not periodic"),
    ],
)
def test_what_cannot_be_calculated_is_one_line(tmp_path: Path, change: object, said: str) -> None:
    good, bad = bulk("Cu", cubic=True), bulk("Cu", cubic=True)
    change(bad)  # type: ignore[operator]
    ase.io.write(tmp_path / "a.extxyz", [good, bad])
    frames = Frames(tmp_path / "a.extxyz")
    assert len(frames[0]) == 4
    with pytest.raises(InputError, match=f"frame 1: .*{said}"):
        frames[1]


def test_coinciding_atoms_of_a_large_cell_are_found_too(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True) * (3, 3, 3)
    atoms.positions[100] = atoms.positions[7] + 0.02 - atoms.cell[0]
    ase.io.write(tmp_path / "a.extxyz", atoms)
    assert "atoms 7 and 100 are at one place" in refused(tmp_path / "a.extxyz")


def test_a_cell_full_of_atoms_is_periodic_or_the_user_says_it_is_not(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.pbc = False
    ase.io.write(tmp_path / "a.extxyz", atoms)
    assert "--pbc" in refused(tmp_path / "a.extxyz")
    assert read_frames(tmp_path / "a.extxyz", Given(pbc=(True, True, True)))[0].pbc.all()
    assert not read_frames(tmp_path / "a.extxyz", Given(pbc=(False, False, False)))[0].pbc.any()
    boxed = molecule("CH3CH2OH", vacuum=4.0)
    ase.io.write(tmp_path / "b.extxyz", boxed)
    assert not read_frames(tmp_path / "b.extxyz")[0].pbc.any()


@pytest.mark.parametrize(
    ("types", "pbc", "right"),
    [
        ("Cu Zr", None, Given(("Cu", "Zr"))),
        ("Cu,Zr", "TTT", Given(("Cu", "Zr"), (True, True, True))),
        (None, "t t f", Given((), (True, True, False))),
        (None, "false", Given((), (False, False, False))),
        ("Xx", None, None),
        ("", None, None),
        (None, "TT", None),
    ],
)
def test_what_a_user_says_of_a_file(
    types: str | None, pbc: str | None, right: Given | None
) -> None:
    if right is None:
        with pytest.raises(InputError):
            Given.parse(types, pbc)
    else:
        assert Given.parse(types, pbc) == right


def test_a_start_has_a_lattice_no_charge_and_one_set_of_elements(tmp_path: Path) -> None:
    def start(lattice: bool = True) -> list[Atoms]:
        return read_start(tmp_path / "a.extxyz", key="structure", lattice=lattice)

    ase.io.write(tmp_path / "a.extxyz", [bulk("Cu"), bulk("Cu", cubic=True)])
    assert len(start()) == 2
    ase.io.write(tmp_path / "a.extxyz", [bulk("Cu"), bulk("Al")])
    with pytest.raises(InputError, match="structure 1 has Al, which structure 0 lacks"):
        start()
    ase.io.write(tmp_path / "a.extxyz", molecule("H2O"))
    assert len(start(lattice=False)) == 1
    with pytest.raises(InputError, match="no lattice"):
        start()
    ion = molecule("OH")
    ion.info["charge"] = -1
    ase.io.write(tmp_path / "a.extxyz", ion)
    with pytest.raises(InputError, match=r"charge of -1 e"):
        start(lattice=False)


def test_a_start_is_told_what_to_write_into_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "POSCAR", poscar("old style"))
    with pytest.raises(InputError, match="structure: does not name its elements") as error:
        read_start(path, key="structure")
    assert "--types" not in str(error.value)
    atoms = bulk("Cu", cubic=True)
    atoms.pbc = False
    ase.io.write(tmp_path / "a.extxyz", atoms)
    with pytest.raises(InputError, match='write pbc="T T T" into the file') as error:
        read_start(tmp_path / "a.extxyz", key="structure")
    assert "--pbc" not in str(error.value)


MOL = """ammonium
 by hand

  5  4  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 N   0  {code}  0  0
    0.5900    0.5900    0.5900 H   0  0  0  0
   -0.5900   -0.5900    0.5900 H   0  0  0  0
    0.5900   -0.5900   -0.5900 H   0  0  0  0
   -0.5900    0.5900   -0.5900 H   0  0  0  0
  1  2  1  0
  1  3  1  0
  1  4  1  0
  1  5  1  0
{charges}M  END
"""


@pytest.mark.parametrize(
    ("code", "charges", "ion"),
    [("0", "M  CHG  1   1   1\n", True), ("3", "", True), ("0", "", False)],
)
def test_charges_of_molecule_files_are_not_dropped(
    tmp_path: Path, code: str, charges: str, ion: bool
) -> None:
    (atoms,) = read_frames(written(tmp_path, "a.mol", MOL.format(code=code, charges=charges)))
    assert len(atoms) == 5
    if ion:
        with pytest.raises(ValueError, match=r"charge of \+1 e"):
            uncharged(atoms)
    else:
        uncharged(atoms)
