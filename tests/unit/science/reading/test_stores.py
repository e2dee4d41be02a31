"""Labelled sets of other programs: MTP, DeePMD, pacemaker, VASP, ASE databases."""

from __future__ import annotations

import gzip
import io
import os
import pickle
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
import pandas
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.science.reading import Given, read_frames, vasp

FORCES = np.array([[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])

MTP = """BEGIN_CFG
 Size
    2
 Supercell
    4.0 0.0 0.0
    0.0 4.0 0.0
    0.0 0.0 5.0
 AtomData:  id type       cartes_x      cartes_y      cartes_z           fx          fy          fz
             1    0       0.0  0.0  0.0    0.1  0.2  0.3
             2    1       2.0  2.0  2.5   -0.1 -0.2 -0.3
 Energy
    -7.5
 PlusStress:  xx          yy          zz          yz          xz          xy
     80.0  160.0  240.0  8.0  16.0  24.0
 Feature   EFS_by       VASP
END_CFG
"""
#: -PlusStress / 80 Å^3
STRESS = [-1.0, -2.0, -3.0, -0.1, -0.2, -0.3]


def same(atoms: Atoms, symbols: str = "CuZr") -> None:
    assert str(atoms.symbols) == symbols and atoms.cell.volume == pytest.approx(80)
    assert atoms.pbc.all() and atoms.positions[1] == pytest.approx([2, 2, 2.5])
    results = atoms.calc.results
    assert results["energy"] == -7.5
    np.testing.assert_allclose(results["forces"], FORCES)
    np.testing.assert_allclose(results["stress"], STRESS)


def test_configurations_of_moment_tensor_potentials(tmp_path: Path) -> None:
    path = tmp_path / "train.cfg"
    path.write_text(MTP * 2)
    frames = read_frames(path, Given(("Cu", "Zr")))
    assert len(frames) == 2
    same(frames[1])
    with pytest.raises(InputError, match="types 1, 2 are numbers"):
        read_frames(path)


@pytest.mark.parametrize("named", [True, False])
def test_folders_of_deepmd(tmp_path: Path, named: bool) -> None:
    part = tmp_path / "system" / "set.000"
    part.mkdir(parents=True)
    (part.parent / "type.raw").write_text("0\n1\n")
    if named:
        (part.parent / "type_map.raw").write_text("Cu\nZr\n")
    np.save(part / "coord.npy", np.array([[0, 0, 0, 2, 2, 2.5]] * 2))
    np.save(part / "box.npy", np.array([np.diag([4.0, 4, 5]).ravel()] * 2))
    np.save(part / "energy.npy", np.array([-7.5, -7.5]))
    np.save(part / "force.npy", np.array([FORCES.ravel()] * 2))
    virial = np.array([[80, 24, 16], [24, 160, 8], [16, 8, 240.0]])
    np.save(part / "virial.npy", np.array([virial.ravel()] * 2))
    for frame in read_frames(tmp_path, Given() if named else Given(("Cu", "Zr"))):
        same(frame)
    if not named:
        with pytest.raises(InputError, match="numbers"):
            read_frames(tmp_path)


def table(**more: Any) -> pandas.DataFrame:
    atoms = Atoms("CuZr", positions=[[0, 0, 0], [2, 2, 2.5]], cell=[4, 4, 5], pbc=True)
    row = {"ase_atoms": atoms, "energy": -7.5, "forces": FORCES, "w_energy": 0.5, **more}
    return pandas.DataFrame([row] * 3)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", ["a.pckl.gzip", "a.pkl", "odd.bin"])
def test_pickles_of_pacemaker_are_read(tmp_path: Path, protocol: int, name: str) -> None:
    raw = pickle.dumps(table(), protocol=protocol)
    (tmp_path / name).write_bytes(gzip.compress(raw) if "gzip" in name else raw)
    frames = read_frames(tmp_path / name)
    assert len(frames) == 3 and frames[0].info["w_energy"] == 0.5
    assert frames[2].calc.results["energy"] == -7.5 and str(frames[0].symbols) == "CuZr"
    np.testing.assert_allclose(frames[1].calc.results["forces"], FORCES)


def test_results_inside_a_pickled_structure_are_read(tmp_path: Path) -> None:
    pickled = table()
    atoms = pickled.loc[0, "ase_atoms"]
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=FORCES)
    pickled = pickled.drop(columns=["energy", "forces"])
    pickled.to_pickle(tmp_path / "a.pkl")
    assert read_frames(tmp_path / "a.pkl")[0].calc.results["energy"] == -1.0


class _Runs:
    """What a hostile pickle does: it calls a function of its choice."""

    def __init__(self, call: Any, *words: Any) -> None:
        self.call, self.words = call, words

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, self.words


@pytest.mark.parametrize(
    "call", [(os.system, "touch ran"), (eval, "open('ran', 'w')"), (exec, "open('ran', 'w')")]
)
def test_a_pickle_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: tuple[Any, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (_Runs(*call), table(extra=_Runs(*call))):
        (tmp_path / "a.pckl").write_bytes(pickle.dumps(content))
        with pytest.raises(InputError, match="more than arrays, tables and structures") as caught:
            read_frames(tmp_path / "a.pckl")
        assert "pandas.read_pickle" in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"\x80\x04damaged", pickle.dumps([1, 2]), b"\x80\x04K\x01."])
def test_other_pickles_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(InputError, match="this pickle"):
        read_frames(tmp_path / "a.pkl")


def test_steps_of_vasp_that_ran_out_of_iterations_are_told() -> None:
    steps = "".join(f"<calculation>{'<scstep></scstep>' * n}</calculation>" for n in (2, 5))
    text = f'<m><incar><i type="int" name="NELM">5</i></incar>{steps}</m>'
    assert list(vasp.converged_xml(io.BytesIO(text.encode()))) == [True, False]
    head, done = "   NELM   =  60;\n", "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"
    told = " aborting loop EDIFF was not reached (unconverged)\n"
    lines = [f"--- Iteration {n}( {last})  ---\n" for n, last in ((1, 8), (2, 60), (3, 9))]
    text = head + lines[0] + done + lines[1] + done + lines[2] + told + done
    found = list(vasp.converged_outcar(io.BytesIO(text.encode())))
    assert found == [True, False, False]


@pytest.mark.parametrize("head", [b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"])
def test_archives_without_a_standard_say_how_to_convert(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(head + b"0" * 100)
    with pytest.raises(InputError, match="extended XYZ"):
        read_frames(tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_rows_of_an_ase_database_keep_their_keys(tmp_path: Path, name: str) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((4, 3)))
    with ase.db.connect(tmp_path / name) as database:
        database.write(atoms, split="test", data={"core": [0, 1]})
        database.write(bulk("Cu"), split="train")
    first, second = read_frames(tmp_path / name)
    assert first.calc.results["energy"] == -1.0 and first.info["split"] == "test"
    assert list(first.info["core"]) == [0, 1] and second.calc is None
