"""The DFT factory without a DFT program: structures, method, folder, command line."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.db import connect
from ase.db.sqlite import init_statements
from ase.io import read, write
from executors_for_tests import Instant

from mlip_autopipec import DFTFactory
from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure, Outcome, Task
from mlip_autopipec.base.typed import to_json
from mlip_autopipec.campaign.events import AttemptEnded, AttemptPlanned, TaskPlanned
from mlip_autopipec.campaign.state import CampaignState, fold
from mlip_autopipec.cli.main import main
from mlip_autopipec.commands.dft import label_atoms, label_files
from mlip_autopipec.commands.label.options import (
    Options,
    parse_budget,
    parse_settings,
    read_executor,
)
from mlip_autopipec.commands.label.plan import plan_for
from mlip_autopipec.commands.label.structures import as_calculated, read_structures
from mlip_autopipec.config.label_plan import LabelBudget, LabelPlan
from mlip_autopipec.config.plan import ExecutorPlan
from mlip_autopipec.runtime import dataset_db
from mlip_autopipec.science.kpoints import choose_grid

SIMULATED = "mlip_autopipec.testing:SimulatedDft"
WATER = molecule("H2O")


def rattled(count: int, symbol: str = "Cu") -> list[Atoms]:
    cells = []
    for seed in range(count):
        atoms = bulk(symbol, cubic=True)
        atoms.rattle(0.05, seed=seed)
        cells.append(atoms)
    return cells


def label(cells: list[Atoms], out: Path, executor: Any = None, **options: Any) -> dict[str, Any]:
    given = Options(engine=SIMULATED, cores=2, **options)
    summary = label_atoms(
        cells, out, given, progress=Progress(io.StringIO()), executor=executor or Instant()
    )
    return to_json(summary)


# --- structures


def test_a_molecule_gets_a_box_with_six_angstrom_on_every_side_and_one_k_point() -> None:
    atoms = as_calculated(WATER).atoms
    assert not any(atoms.pbc)
    assert atoms.positions.min() >= 6.0 - 1e-9
    assert (atoms.cell.lengths() - atoms.positions.max(axis=0)).min() >= 6.0 - 1e-9
    assert atoms.get_all_distances() == pytest.approx(WATER.get_all_distances())
    assert choose_grid(atoms.cell.array, atoms.pbc, 0.25, False).gamma_only


def test_a_molecule_cut_by_the_faces_of_a_periodic_box_is_put_together() -> None:
    cut = WATER.copy()
    cut.set_cell([9, 9, 9])
    cut.pbc = True
    cut.positions -= cut.positions[0]
    cut.wrap()
    assert cut.get_all_distances().max() > 7
    atoms = as_calculated(cut).atoms
    assert not any(atoms.pbc)
    assert atoms.get_all_distances() == pytest.approx(WATER.get_all_distances())


def test_a_slab_keeps_its_cell_and_has_one_k_point_across_the_vacuum() -> None:
    slab = fcc111("Al", (1, 1, 3), vacuum=8)
    slab.pbc = True
    found = as_calculated(slab).atoms
    assert found.pbc.tolist() == [True, True, False]
    assert found.cell.array == pytest.approx(slab.cell.array)
    grid = choose_grid(found.cell.array, found.pbc, 0.25, False)
    assert grid.divisions[2] == 1 and min(grid.divisions[:2]) > 5


@pytest.mark.parametrize("name", ["Si", "Al", "Fe"])
def test_a_crystal_stays_as_it_is(name: str) -> None:
    crystal = bulk(name)
    found = as_calculated(crystal).atoms
    assert found.pbc.all() and found.positions == pytest.approx(crystal.positions)


def test_bad_files_are_named_with_the_frame(tmp_path: Path) -> None:
    bad = bulk("Cu")
    bad.positions[0, 0] = np.nan
    write(tmp_path / "bad.extxyz", [bulk("Cu"), bad])
    with pytest.raises(InputError, match=r"bad\.extxyz: frame 1: positions or cell are not finite"):
        read_structures([tmp_path / "bad.extxyz"])
    (tmp_path / "notes.txt").write_text("hello")
    for name, words in (("absent.xyz", "no such file"), ("notes.txt", "ASE cannot read it")):
        with pytest.raises(InputError, match=words):
            read_structures([tmp_path / name])


# --- method


def test_the_method_serves_the_hardest_element_and_the_densest_mesh() -> None:
    alone, both = (
        plan_for(cells).dft.method for cells in ([bulk("Si")], [bulk("Si"), bulk("Fe"), WATER])
    )
    iron = plan_for([bulk("Fe")]).dft.method
    assert both.cutoff_ry == iron.cutoff_ry > alone.cutoff_ry
    assert both.rho_cutoff_ry == pytest.approx(4 * both.cutoff_ry)
    assert (alone.spin_polarized, both.spin_polarized) == (False, True)
    assert both.starting_moments["Fe"] > 2 and both.starting_moments["Si"] == 0
    assert both.kspacing_per_a == iron.kspacing_per_a < alone.kspacing_per_a
    assert (alone.smearing, iron.smearing, both.smearing) == ("gaussian", "mv", "gaussian")
    assert set(both.pseudos) == {"Fe", "H", "O", "Si"}


def test_oxygen_molecules_are_triplets_and_water_has_no_spin() -> None:
    assert plan_for([molecule("O2")]).dft.method.spin_polarized
    assert plan_for([molecule("O2"), WATER]).dft.method.spin_polarized
    assert not plan_for([WATER]).dft.method.spin_polarized
    beside_iron = plan_for([molecule("O2"), bulk("Fe")]).dft.method.starting_moments
    assert beside_iron["O"] == 1.0 and beside_iron["Fe"] > 2


def test_a_cutoff_that_is_given_keeps_the_dual() -> None:
    dft = plan_for([bulk("Si")], Options(settings=parse_settings(["cutoff_ry=20"]))).dft.method
    assert (dft.cutoff_ry, dft.rho_cutoff_ry) == (20, 80)
    with pytest.raises(InputError, match="did you mean 'cutoff_ry'"):
        plan_for([bulk("Si")], Options(settings={"cutof_ry": 20}))


def test_budgets_are_calculations_or_time() -> None:
    assert parse_budget("200") == LabelBudget(dft_calls=200)
    assert parse_budget("8h") == LabelBudget(wall_minutes=480)
    assert parse_budget("200,90min") == LabelBudget(dft_calls=200, wall_minutes=90)
    for bad in ("0", "soon", "1.5", "-3"):
        with pytest.raises(InputError, match="--budget"):
            parse_budget(bad)


# --- folder


def test_equal_structures_are_calculated_once_and_all_files_are_left(tmp_path: Path) -> None:
    cells, executor = rattled(5), Instant()
    write(tmp_path / "a.extxyz", cells)
    write(tmp_path / "b.extxyz", cells[:2])
    out, options = tmp_path / "dft", Options(engine=SIMULATED, cores=2)
    files = [tmp_path / "a.extxyz", tmp_path / "b.extxyz"]
    summary = label_files(files, out, options, progress=Progress(io.StringIO()), executor=executor)
    assert summary.end_state == "complete" and summary.labelled == 5 == len(executor.names)
    assert to_json(summary) == read_json(out / "summary.json")
    frames = read(out / "labels.extxyz", ":")
    for frame, cell in zip(frames, cells, strict=True):
        assert frame.positions == pytest.approx(cell.positions, abs=1e-7)
        assert frame.get_potential_energy() == pytest.approx(-4.0)
        assert frame.get_forces() == pytest.approx(np.full((4, 3), 0.1))
        assert frame.get_stress() == pytest.approx(np.arange(6))
    assert connect(out / "dataset.db", use_lock_file=False).count() == 5
    assert json.loads((out / "quarantine.json").read_text()) == []
    places = json.loads((out / "sources.json").read_text())
    assert sum(len(found) for found in places.values()) == 7


def test_a_second_call_calculates_only_what_is_new(tmp_path: Path) -> None:
    cells, executor = rattled(5), Instant()
    label(cells[:3], tmp_path / "dft", executor)
    before = list(executor.names)
    assert label(cells[:3], tmp_path / "dft", executor)["end_state"] == "complete"
    assert executor.names == before
    summary = label(cells[1:], tmp_path / "dft", executor)
    assert summary["labelled"] == 5 and len(executor.names) == 5 == len(set(executor.names))
    assert summary["of_this_call"] == {"structures": 4, "labelled": 4, "quarantined": 0}
    assert len(read(tmp_path / "dft" / "labels.extxyz", ":")) == 5


def test_a_raised_budget_goes_on(tmp_path: Path) -> None:
    cells = rattled(5)
    summary = label(cells, tmp_path / "dft", budget=LabelBudget(dft_calls=3))
    assert (summary["end_state"], summary["labelled"], summary["left"]) == (
        "budget_exhausted",
        3,
        2,
    )
    assert label(cells, tmp_path / "dft")["labelled"] == 5


def test_a_folder_keeps_one_method(tmp_path: Path) -> None:
    first = label(rattled(1), tmp_path / "dft", elements=("Ag",))
    second = label(rattled(1, "Ag"), tmp_path / "dft")
    assert first["method_hash"] == second["method_hash"]
    with pytest.raises(InputError, match=r"begun without Au.*--element Au"):
        label(rattled(1, "Au"), tmp_path / "dft")
    with pytest.raises(InputError, match="kspacing_per_a"):
        label(rattled(1), tmp_path / "dft", settings={"kspacing_per_a": 0.5})


def test_given_up_structures_are_kept_with_their_history(tmp_path: Path) -> None:
    executor = Instant(failing=lambda attempt: Failure("scf_not_converged", f"try {attempt}"))
    summary = label(rattled(2), tmp_path / "dft", executor)
    assert (summary["end_state"], summary["quarantined"], summary["labelled"]) == ("complete", 2, 0)
    first, _ = json.loads((tmp_path / "dft" / "quarantine.json").read_text())
    assert [item["message"] for item in first["attempts"]] == ["try 1", "try 2"]
    assert first["attempts"][0]["next"] == "mixing_beta=0.3" and first["sources"] == ["given#0"]
    assert (tmp_path / "dft" / first["attempts"][0]["folder"] / "spec.json").exists()


def test_labels_of_any_hash_enter_the_database(tmp_path: Path) -> None:
    """ASE refuses texts that look like numbers, which a hexadecimal hash may do."""
    assert dataset_db._as_text("942486835775") == "h942486835775"
    assert dataset_db._as_text("1e1234567890") == "h1e1234567890"
    assert dataset_db._as_text("0832aae97216") == "0832aae97216"


@pytest.mark.parametrize("statements", [0, 1, 5, len(init_statements) - 1])
def test_a_database_whose_making_was_killed_is_made_anew(tmp_path: Path, statements: int) -> None:
    path = tmp_path / "dataset.db"
    with closing(sqlite3.connect(path)) as half:
        for statement in init_statements[:statements]:
            half.execute(statement)
        half.commit()
    known = dataset_db.names(path)
    assert known == set()
    record = next(iter(labelled_state().with_status("done")))
    dataset_db.add(path, [record], known)
    assert dataset_db.names(path) == known == {record.task.id}
    dataset_db.add(path, [record], known)
    assert len(connect(path)) == 1


def labelled_state() -> CampaignState:
    """One label, done."""
    atoms = rattled(1)[0]
    candidate = Candidate(atoms, Provenance("given", "cell"))
    payload = {"candidate": candidate.to_json(), "purpose": "train", "job": {}}
    label = Label(-1.5, np.zeros((len(atoms), 3)), np.zeros(6), "hash", 5, 1.0)
    task = Task("label", payload)
    return fold(
        [
            TaskPlanned(task),
            AttemptPlanned(task.id, 1),
            AttemptEnded(task.id, 1, Outcome(label.to_json()), "done"),
        ]
    )


# --- command line and facade


def run_cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended_with:
        main(list(words))
    return int(ended_with.value.code or 0), capsys.readouterr().out


@pytest.mark.parametrize("words", [["dft"], ["dft", "label"]])
def test_command_line_labels_files(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "mlip_autopipec.runtime.executors.local.LocalExecutor", lambda setup: Instant()
    )
    write(tmp_path / "cu.extxyz", rattled(2))
    out = tmp_path / "dft"
    code, text = run_cli(
        capsys,
        *words,
        str(tmp_path / "cu.extxyz"),
        "--out",
        str(out),
        "--engine",
        SIMULATED,
        "--json",
    )
    assert code == 0 and json.loads(text)["labelled"] == 2
    code, text = run_cli(capsys, "dft", "report", str(out))
    assert code == 0 and text.startswith("2 labelled, 0 quarantined, 2 calculations")
    code, text = run_cli(capsys, "dft", "report", str(out), "--json")
    assert json.loads(text)["classes"] == []


def test_command_line_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = run_cli(capsys, "dft", str(tmp_path / "absent.cif"), "--json")
    assert code == 2 and "no such file" in json.loads(text)["error"]["message"]
    code, text = run_cli(capsys, "dft", "report", str(tmp_path), "--json")
    assert code == 2 and "no run in this folder" in json.loads(text)["error"]["message"]


def test_facade_needs_no_campaign_plan(tmp_path: Path) -> None:
    factory = DFTFactory.for_structures(rattled(1), engine=SIMULATED)
    found = factory.run_calculation(rattled(1)[0], folder=tmp_path)
    assert isinstance(found, Label) and found.method_hash == factory.plan.dft.method_hash


def test_labels_go_to_the_queue_that_a_file_names_and_stay_there(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(
        "executor:\n  name: slurm\n  cores: 64\n  cores_per_node: 32\n  queue: standard\n"
    )
    executor = read_executor(file)
    assert executor is not None and (executor.name, executor.cores, executor.queue) == (
        "slurm",
        64,
        "standard",
    )
    given = Options(engine=SIMULATED, executor=executor)
    label_atoms(
        rattled(2), tmp_path / "dft", given, progress=Progress(io.StringIO()), executor=Instant()
    )
    plan = plan_in(tmp_path / "dft")
    assert plan.executor == executor
    later = Options(engine=SIMULATED)
    label_atoms(
        rattled(3), tmp_path / "dft", later, progress=Progress(io.StringIO()), executor=Instant()
    )
    assert plan_in(tmp_path / "dft").executor == executor, "the folder was begun on the cluster"
    here = Options(engine=SIMULATED, cores=2)
    label_atoms(
        rattled(4), tmp_path / "dft", here, progress=Progress(io.StringIO()), executor=Instant()
    )
    assert plan_in(tmp_path / "dft").executor == ExecutorPlan(cores=2)


def test_a_wrong_executor_is_one_line_with_file_and_key(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("executor: {name: slurm, cores: 64, cores_per_nod: 32}\n")
    with pytest.raises(InputError, match="cores_per_node") as caught:
        read_executor(file)
    assert caught.value.key == "cores_per_nod" and caught.value.file == file


def plan_in(folder: Path) -> LabelPlan:
    return LabelPlan.model_validate_json((folder / "plan.json").read_text())
