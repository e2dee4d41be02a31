"""``mlip-auto select`` on files: what is picked, what is written, and what is refused."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.cli import main
from mlip_autopipec.engines.train.pacemaker.projections import AceProjections
from mlip_autopipec.science.fingerprints import structure_fingerprints
from mlip_autopipec.science.reading import Frames
from mlip_autopipec.science.selection import farthest_points
from mlip_autopipec.selecting.rows import scan

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Invoke:
    """Run ``mlip-auto select`` in an empty folder with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("MLIP_DATA", str(tmp_path / "data"))

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main.main(["select", *words])
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


def _pool(count: int = 24) -> list[Atoms]:
    """Silicon cells, each more disordered than the one before, with a label; the last is a copy of
    the first.
    """
    rng = np.random.default_rng(1)
    frames = []
    for number in range(count - 1):
        atoms = bulk("Si", cubic=True)
        atoms.positions = np.round(
            atoms.positions + rng.normal(scale=0.01 * (1 + number), size=(8, 3)), 8
        )
        atoms.calc = SinglePointCalculator(
            atoms, energy=-1.0 * number, forces=np.full((8, 3), 0.1 * number)
        )
        frames.append(atoms)
    return [*frames, frames[0].copy()]


def test_picks_are_the_farthest_points_and_are_written_in_their_order(invoke: Invoke) -> None:
    pool = _pool()
    ase.io.write("pool.xyz", pool, format="extxyz")
    code, out, err = invoke("pool.xyz", "-n", "6", "--method", "fps", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    expected = farthest_points(structure_fingerprints(pool[:-1], ["Si"]), 6)
    assert result["indices"] == expected
    assert (result["of"], result["distinct"], result["method"]) == (24, 23, "fps")
    assert result["reasons"] == ["farthest"] * 6
    distances = result["min_distances"]
    assert distances[0] is None and distances[1:] == sorted(distances[1:], reverse=True)
    written = ase.io.read("selected.extxyz", index=":")
    assert [atoms.info["source_index"] for atoms in written] == expected
    assert {atoms.info["picked"] for atoms in written} == {"farthest"}
    for atoms, index in zip(written, expected, strict=True):
        assert atoms.positions == pytest.approx(pool[index].positions, abs=1e-8)
        assert atoms.get_potential_energy() == pytest.approx(-index)  # labels of the file stay
    again = json.loads(
        invoke("pool.xyz", "-n", "6", "--method", "fps", "--json", "--out", "b.xyz")[1]
    )
    assert {**again, "out": None} == {**result, "out": None}  # fingerprints from disk this time


def test_labelled_structures_repel_and_are_not_picked_again(invoke: Invoke) -> None:
    pool = _pool()
    ase.io.write("pool.xyz", pool, format="extxyz")
    ase.io.write("known.traj", [pool[-2], pool[4]])
    result = json.loads(invoke("pool.xyz", "-n", "9", "--existing", "known.traj", "--json")[1])
    assert (result["method"], result["existing"], result["distinct"]) == ("fps", 2, 21)
    assert not {4, 22} & set(result["indices"])
    assert result["reasons"] == ["farthest"] * 6 + ["random"] * 3
    fingerprints = structure_fingerprints(pool[:-1], ["Si"])
    away = np.linalg.norm(fingerprints[:, None] - fingerprints[[4, 22]], axis=2).min(axis=1)
    assert result["indices"][0] == np.argmax(away)
    assert result["min_distances"][0] == pytest.approx(away.max(), rel=1e-4)
    other = json.loads(
        invoke("pool.xyz", "-n", "9", "--existing", "known.traj", "--json", "--seed", "2")[1]
    )
    assert other["indices"][:6] == result["indices"][:6] and other["indices"] != result["indices"]


@pytest.mark.parametrize("method", ["auto", "clusters", "environments", "random"])
def test_every_method_picks_as_many_as_asked_and_copies_once(invoke: Invoke, method: str) -> None:
    ase.io.write("pool.xyz", _pool(), format="extxyz")
    first = json.loads(invoke("pool.xyz", "-n", "23", "--method", method, "--json")[1])
    assert sorted(first["indices"]) == list(range(23))
    some = [
        json.loads(invoke("pool.xyz", "-n", "5", "--method", method, "--json")[1])["indices"]
        for _ in range(2)
    ]
    assert some[0] == some[1] and len(set(some[0])) == 5
    code, out, _ = invoke("pool.xyz", "-n", "5", "--method", method)
    assert code == 0 and out.startswith("5 of 24 structures picked (") and out.count("\n") == 1


def test_frames_of_every_format_are_the_same_one_by_one(tmp_path: Path) -> None:
    pool = [*_pool(3), Atoms("H2O", [[0, 0, 0], [0, 0, 1], [0, 1, 0]])]
    for name in ("pool.xyz", "pool.traj", "pool.xyz.gz", "pool.json"):
        ase.io.write(tmp_path / name, pool)
        frames = Frames(tmp_path / name)
        assert len(frames) == 4
        for index in (3, 0, 2, 1):
            assert str(frames[index].symbols) == str(pool[index].symbols)
            assert frames[index].positions == pytest.approx(pool[index].positions, abs=1e-7)
            assert (frames[index].pbc == pool[index].pbc).all()


def test_memory_does_not_hold_the_structures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames of an extended XYZ file live one at a time while it is read."""
    alive, most = 0, 0
    original = Atoms.__init__

    class Counted(Atoms):
        def __init__(self, *args: object, **kwargs: object) -> None:
            nonlocal alive, most
            original(self, *args, **kwargs)
            gc.collect()
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    ase.io.write(tmp_path / "pool.xyz", _pool(), format="extxyz")
    monkeypatch.setattr("ase.io.extxyz.Atoms", Counted)
    gc.freeze()  # what is there already need not be looked at by each collection
    try:
        seen = scan(Frames(tmp_path / "pool.xyz"), Progress())
    finally:
        gc.unfreeze()
    assert len(seen.keys) == 24 and seen.first_of_each == list(range(23))
    assert (
        0 < most <= 4
    )  # the one at hand and the next, each with the copy that its label belongs to


def test_ace_rows_are_the_design_matrix_of_the_energy() -> None:
    """Block by species, a supercell has the row of its cell, and the mixture lies between its
    parts.
    """
    describe = AceProjections(["Al", "Cu"])
    cell = bulk("CuAl", "cesiumchloride", a=3.0)
    cell.rattle(0.05, seed=1)
    vectors = describe(cell)
    assert vectors.shape == (2, describe.columns) and describe.columns == 200
    assert not (vectors[0] * vectors[1]).any() and vectors.any(axis=1).all()
    assert describe(cell.repeat((2, 1, 1))).mean(axis=0) == pytest.approx(
        vectors.mean(axis=0), abs=1e-10
    )
    assert describe(cell[[1, 0]])[::-1] == pytest.approx(vectors)


def test_d_optimal_goes_by_the_projections(invoke: Invoke) -> None:
    ase.io.write("pool.xyz", _pool(), format="extxyz")
    result = json.loads(invoke("pool.xyz", "-n", "8", "--method", "d_optimal", "--json")[1])
    assert len(set(result["indices"])) == 8 and set(result["reasons"]) == {"d_optimal"}
    rows = np.array([AceProjections(["Si"])(atoms).mean(axis=0) for atoms in _pool()[:-1]])
    rows /= np.sqrt((rows**2).mean(axis=0))

    def information(picks: list[int]) -> float:
        return float(
            np.linalg.slogdet(rows[picks].T @ rows[picks] + 1e-3 * np.eye(rows.shape[1]))[1]
        )

    rng = np.random.default_rng(0)
    assert information(result["indices"]) > max(
        information(rng.choice(23, 8, replace=False).tolist()) for _ in range(40)
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("absent.xyz", "-n", "2"), "absent.xyz: no such file"),
        (("pool.xyz", "-n", "99"), "(got 99); 24 here"),
        (("pool.xyz", "-n", "0"), "-n"),
        (("pool.xyz",), "-n"),
        (("pool.xyz", "-n", "2", "--method", "cluster"), "did you mean 'clusters'?"),
        (("pool.xyz", "-n", "2", "--existing", "absent.xyz"), "absent.xyz: no such file"),
        (("pool.xyz", "-n", "2", "--out", "pool.xyz"), "--out: this file is read"),
        (("pool.xyz", "-n", "2", "--method", "fps", "--potential", "x"), "only d_optimal"),
        (
            ("pool.xyz", "-n", "2", "--method", "d_optimal", "--potential", "absent"),
            "absent: no such potential",
        ),
        (("cut.xyz", "-n", "2"), "frame 1 is cut off: 8 atoms should follow"),
        (("words.xyz", "-n", "2"), "a number of atoms should stand for 'these are no'"),
        (("empty.xyz", "-n", "2"), "empty.xyz: "),
        (("nan.xyz", "-n", "1"), "nan.xyz: frame 1: positions or cell are not finite"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    invoke: Invoke, words: tuple[str, ...], said: str
) -> None:
    pool = _pool()
    ase.io.write("pool.xyz", pool, format="extxyz")
    Path("cut.xyz").write_text("\n".join(Path("pool.xyz").read_text().splitlines()[:15]) + "\n")
    Path("words.xyz").write_text("these are no\nstructures\n")
    Path("empty.xyz").write_text("")
    pool[1].positions[2, 0] = np.nan
    ase.io.write("nan.xyz", pool[:2], format="extxyz")
    before = sorted(Path().rglob("*"))
    code, out, err = invoke(*words)
    assert (code, out) == (2, "")
    assert said in err and err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before


def test_a_killed_batch_leaves_a_table_that_goes_on(tmp_path: Path) -> None:
    from mlip_autopipec.selecting.table import RowTable

    keys = [bytes([number]) * 16 for number in range(1, 5)]
    table = RowTable(tmp_path, {"kind": "test"}, 2)
    table.add(keys[:2], [np.ones((3, 2)), np.full((1, 2), 2.0)])
    with (table.folder / "rows.f32").open("ab") as file:  # rows whose index was never written
        file.write(b"torn")
    with (table.folder / "index.bin").open("ab") as file:
        file.write(b"half a record")
    again = RowTable(tmp_path, {"kind": "test"}, 2)
    assert keys[0] in again and keys[2] not in again
    again.add(keys[2:], [np.full((2, 2), 3.0), np.full((1, 2), 4.0)])
    found, starts = RowTable(tmp_path, {"kind": "test"}, 2).rows([keys[3], keys[0], keys[2]])
    assert starts.tolist() == [0, 1, 4, 6]
    assert found[:].tolist() == [[4.0, 4.0], *[[1.0, 1.0]] * 3, *[[3.0, 3.0]] * 2]
    assert found[np.array([0, 5])].tolist() == [[4.0, 4.0], [3.0, 3.0]]


def test_a_potential_of_other_elements_is_refused(tmp_path: Path) -> None:
    from pyace import create_multispecies_basis_config

    from mlip_autopipec.engines.train.pacemaker.config import basis_spec

    create_multispecies_basis_config(basis_spec(["Al"], 5, 5.0, linear=True)).save(
        str(tmp_path / "potential.yaml")
    )
    assert AceProjections(["Al"], tmp_path).columns == 5
    with pytest.raises(InputError, match="does not know an element"):
        AceProjections(["Si"], tmp_path)
