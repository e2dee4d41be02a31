"""What CP2K 2023.1 printed in recorded runs (shortened to the lines that say something)."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.cp2k import failures
from mlip_autopipec.engines.dft.cp2k.engine import Cp2k
from mlip_autopipec.engines.dft.cp2k.outputs import parse_folder, read_output

RUNS = Path(__file__).parents[3] / "fixtures" / "cp2k"


def silicon() -> Atoms:
    atoms = bulk("Si", a=5.47)
    atoms.positions[1, 0] += 0.1
    return atoms


JOB = LabelJob(silicon(), {"engine": "cp2k"})


def edited(tmp_path: Path, run: str, old: str, new: str) -> Path:
    text = (RUNS / run / "cp2k.out").read_text()
    assert old in text
    (tmp_path / "cp2k.out").write_text(text.replace(old, new))
    return tmp_path


def test_a_converged_run_is_a_label_in_our_units_and_signs() -> None:
    label = parse_folder(RUNS / "si2", JOB, 0)
    assert isinstance(label, Label), label
    # By hand: -7.864170504279306 Ha, 0.027420331576 Ha/bohr, -5.96357755 GPa of the printed xy.
    assert label.energy_ev == pytest.approx(-7.864170504279306 * 27.211386245988, abs=1e-9)
    assert label.forces[0, 0] == pytest.approx(0.027420331576 * 51.422067476, abs=2e-6)
    assert label.forces[1, 0] == -label.forces[0, 0]
    assert label.stress is not None
    assert label.stress * 160.21766208 == pytest.approx(
        [0.415777549, -0.300128639, -0.300123725, 10.0491811, 5.96357673, 5.96357837], abs=1e-6
    )
    assert label.method_hash == JOB.method_hash
    assert (label.scf_steps, label.total_magnetization) == (9, 0.0)


def test_energy_is_that_of_the_forces_not_the_one_before_the_last_update() -> None:
    text = (RUNS / "si2" / "cp2k.out").read_text()
    assert "Total energy:                                                -7.86416852869818" in text
    assert read_output(text).energy_ev != pytest.approx(-7.86416852869818 * 27.211386, abs=1e-5)


def test_a_radical_has_its_spin_and_no_stress() -> None:
    atom = Atoms("H", [[2, 2, 2]], cell=[4, 4, 4], pbc=False)
    label = parse_folder(RUNS / "hydrogen", LabelJob(atom, {"engine": "cp2k"}), 0)
    assert isinstance(label, Label), label
    assert label.total_magnetization == pytest.approx(1.0)
    assert label.stress is None and np.abs(label.forces).max() == 0.0


@pytest.mark.parametrize(
    ("run", "exit_code", "kind", "words"),
    [
        ("noscf", 0, "scf_not_converged", "SCF run NOT converged"),
        ("walltime", 0, "out_of_walltime", "exceeded requested execution time"),
        ("same", 1, "geometry", "GEOMETRY wrong or EMAX_SPLINE too small!"),
        ("nobasis", 1, "data", "NOPE-MOLOPT-SR-GTH-q4"),
        ("badkey", 1, "input", "unknown keyword MAX_SCFF in section SCF"),
    ],
)
@pytest.mark.parametrize("seen", [True, False])
def test_every_failure_has_its_class_and_the_line_that_proves_it(
    run: str, exit_code: int, kind: str, words: str, seen: bool
) -> None:
    found = parse_folder(RUNS / run, JOB, exit_code if seen else None)
    assert isinstance(found, Failure)
    assert found.kind == kind and words in found.message
    lines = (RUNS / run / "cp2k.out").read_text().splitlines()
    assert found.evidence and all(proof.text in lines[proof.line - 1] for proof in found.evidence)


def test_atoms_almost_on_top_of_each_other_are_a_geometry() -> None:
    atoms = silicon()
    atoms.positions[1] = atoms.positions[0] + [0.3, 0, 0]
    found = parse_folder(RUNS / "overlap", replace(JOB, atoms=atoms), 0)
    assert isinstance(found, Failure) and found.kind == "geometry"
    assert "above the ceiling of 50.0" in found.message


@pytest.mark.parametrize(
    ("exit_code", "kind"),
    [(None, "interrupted"), (137, "interrupted"), (124, "out_of_walltime"), (1, "unknown")],
)
def test_an_output_that_ends_early(tmp_path: Path, exit_code: int | None, kind: str) -> None:
    text = (RUNS / "si2" / "cp2k.out").read_text()
    (tmp_path / "cp2k.out").write_text(text[: text.index("SCF run converged")])
    found = parse_folder(tmp_path, JOB, exit_code)
    assert isinstance(found, Failure) and found.kind == kind


def test_an_empty_folder_was_interrupted(tmp_path: Path) -> None:
    found = parse_folder(tmp_path, JOB, None)
    assert isinstance(found, Failure) and found.message == "no output was written"


def test_another_structure_is_not_taken_for_this_one(tmp_path: Path) -> None:
    other = silicon()
    other.positions[1, 2] += 0.01
    found = parse_folder(RUNS / "si2", replace(JOB, atoms=other), 0)
    assert isinstance(found, Failure) and found.kind == "input"
    stretched = silicon()
    stretched.set_cell(stretched.cell.array * 1.01)
    assert isinstance(parse_folder(RUNS / "si2", replace(JOB, atoms=stretched), 0), Failure)
    moved = silicon()
    moved.positions += moved.cell.array[0]
    assert isinstance(parse_folder(RUNS / "si2", replace(JOB, atoms=moved), 0), Label)


def test_a_small_net_force_is_shared_out_and_a_large_one_is_a_failure(tmp_path: Path) -> None:
    small = edited(tmp_path, "si2", "0.027420331576", "0.027520331576")
    label = parse_folder(small, JOB, 0)
    assert isinstance(label, Label) and np.abs(label.forces.sum(axis=0)).max() < 1e-12
    assert label.forces[0, 0] == pytest.approx(0.02747035765 * 51.422067476, abs=1e-6)
    large = edited(tmp_path, "si2", "0.027420331576", "0.028420331576")
    found = parse_folder(large, JOB, 0)
    assert isinstance(found, Failure) and found.kind == "grid_too_coarse"


@pytest.mark.parametrize(("old", "new"), [("0.027420331576", "NaN"), ("-1.859", "*")])
def test_what_is_no_number_is_no_label(tmp_path: Path, old: str, new: str) -> None:
    text = (RUNS / "si2" / "cp2k.out").read_text()
    text = re.sub(r"0\.027420331576", "*" * 14, text) if new == "*" else text.replace(old, new)
    (tmp_path / "cp2k.out").write_text(text)
    found = parse_folder(tmp_path, JOB, 0)
    assert isinstance(found, Failure) and found.kind in ("geometry", "interrupted")


def test_missing_forces_are_an_early_end(tmp_path: Path) -> None:
    shutil.copytree(RUNS / "si2", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "cp2k.out"
    path.write_text(path.read_text().replace("ATOMIC FORCES in [a.u.]", ""))
    found = parse_folder(tmp_path, JOB, 0)
    assert isinstance(found, Failure) and found.kind == "interrupted"


def test_cures_are_taken_in_turn_and_then_the_structure_is_given_up() -> None:
    engine, job, met = Cp2k(), JOB, []
    for alpha in (0.2, 0.1, 0.2):
        met.append(Failure("scf_not_converged", ""))
        following = engine.repair(job, met)
        assert following is not None and following.numerics["mixing_alpha"] == alpha
        assert following.method == JOB.method
        job = following
    assert job.numerics["mixing"] == "KERKER_MIXING"
    assert engine.repair(job, [*met, Failure("scf_not_converged", "")]) is None
    assert engine.repair(JOB, [Failure("geometry", "")]) is None
    assert engine.repair(JOB, [Failure("lost", "")] * failures.TOTAL_LIMIT) is None


def test_more_time_after_the_time_limit() -> None:
    following = Cp2k().repair(JOB, [Failure("out_of_walltime", "")])
    assert following is not None and following.numerics["walltime_factor"] == 2.0


def test_the_version_stands_in_the_output() -> None:
    assert Cp2k().version(RUNS / "si2") == "2023.1"
    assert Cp2k().version(RUNS / "data") == ""
