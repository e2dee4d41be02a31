"""Settings that are checked before the first label: what is chosen, kept, counted and not done
twice.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from mlip_autopipec import WorkflowManager, make_plan
from mlip_autopipec.base.errors import CampaignStateError, InputError
from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.tasks import Failure, Outcome
from mlip_autopipec.base.typed import to_json
from mlip_autopipec.campaign.events import DriverStarted, SettingsChecked, from_record, to_record
from mlip_autopipec.campaign.state import CampaignState, fold
from mlip_autopipec.cli.main import main
from mlip_autopipec.commands.active_learning import ActiveLearning
from mlip_autopipec.commands.dft import label_atoms
from mlip_autopipec.commands.dft_check.of_folder import representative
from mlip_autopipec.commands.dft_check.series import plot
from mlip_autopipec.commands.label.options import Options
from mlip_autopipec.commands.label.plan import plan_for
from mlip_autopipec.commands.run import checked
from mlip_autopipec.config import cost, dft_check, load
from mlip_autopipec.config.load import PreparedPlan
from mlip_autopipec.report import status
from mlip_autopipec.runtime.executors.ports import JobRequest

CHECK = Path(dft_check.FOLDER, dft_check.RESULT)


def made_label(job: LabelJob) -> Label:
    """Errors that fall off with the cutoff (10 meV/Å at 31.7 Ry) and with the fourth power of the
    spacing.
    """
    off_ev = (
        0.5 * np.exp(-(job.method["cutoff_ry"] - 20) / 3) + 1.0 * job.method["kspacing_per_a"] ** 4
    )
    forces = np.full((len(job.atoms), 3), off_ev)
    return Label(0.01 * off_ev * job.atoms.get_volume(), forces, None, job.method_hash, 5, 1.0)


def machine(jobs: Sequence[LabelJob]) -> list[Label | Failure]:
    return [made_label(job) for job in jobs]


def broken(jobs: Sequence[LabelJob]) -> list[Label | Failure]:
    return [Failure("disk", "full") for _ in jobs]


def quiet() -> Progress:
    return Progress(io.StringIO())


def write_input(folder: Path, more: str = "") -> Path:
    """Silicon from a file, so that no surrogate has to look for the cell."""
    write(folder / "si.cif", bulk("Si", a=5.47))
    path = folder / "input.yaml"
    path.write_text(f"structure: si.cif\ndft: {{convergence: check}}\n{more}")
    return path


def prepared_in(folder: Path, path: Path | None = None) -> PreparedPlan:
    return load.load(path or folder / "input.yaml", runs_dir=folder / "runs", cores=2)


# --- campaigns


def test_the_plan_says_that_a_check_will_be_run_and_what_it_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    Path("input.yaml").write_text("material: Si\ndft: {convergence: check}\n")
    with pytest.raises(SystemExit):
        main(["plan", "input.yaml"])
    text = capsys.readouterr().out
    assert (
        "convergence check, before the first label: 20 of them, in a cell of about 2 atoms" in text
    )
    assert "where a series begins" in next(
        line for line in text.splitlines() if line.startswith("dft.convergence")
    )
    assert "convergence: check" in Path("runs/Si/plan.yaml").read_text()
    plan, plain = make_plan(material="Si", dft={"convergence": "check"}), make_plan(material="Si")
    assert plan.dft.method_hash == plain.dft.method_hash and plan.hash != plain.hash
    found = cost.estimate(plan)
    assert found.core_hours["convergence"] > 0 and found.dft_calls > cost.estimate(plain).dft_calls
    assert cost.estimate(plain).convergence_check is None


def test_the_choice_of_the_series_replaces_the_derived_settings_with_its_reason(
    tmp_path: Path,
) -> None:
    write_input(tmp_path)
    asked = prepared_in(tmp_path)
    found = checked(asked, progress=quiet(), label=machine)
    assert isinstance(found, PreparedPlan), found
    assert (asked.plan.dft.method.cutoff_ry, asked.plan.dft.method.kspacing_per_a) == (28.0, 0.36)
    # 0.5 exp(-(E - 20) / 3): 36 Ry is the first tried above 31.7; 0.36^4 - 0.18^4 is 16 meV/Å,
    # 0.288^4 - 0.18^4 is 6.
    assert (
        found.plan.dft.method.cutoff_ry,
        found.plan.dft.method.rho_cutoff_ry,
        found.plan.dft.method.kspacing_per_a,
    ) == (36, 144, 0.288)
    assert found.plan.dft.convergence == "checked"
    assert "checked: cheapest within 10 meV/Å" in found.reasons["dft.method.cutoff_ry"]
    assert (
        "(derived: 28)" in found.reasons["dft.method.cutoff_ry"]
        and "(derived: 0.36)" in found.reasons["dft.method.kspacing_per_a"]
    )
    home = tmp_path / "runs" / "Si2" / "convergence"
    home = found.root / "convergence"
    assert {path.name for path in home.iterdir()} >= {
        "convergence.json",
        "convergence.png",
        "convergence.svg",
    }
    rest = {"dft", "executor"}
    assert found.plan.model_dump(exclude=rest) == asked.plan.model_dump(exclude=rest)


def test_a_checked_campaign_is_found_again_from_its_input_and_from_its_plan(tmp_path: Path) -> None:
    write_input(tmp_path)
    found = checked(prepared_in(tmp_path), progress=quiet(), label=machine)
    assert isinstance(found, PreparedPlan)
    # Killed between the check and the driver: the plan.yaml of before is no obstacle.
    load.check_same_plan(prepared_in(tmp_path))
    ActiveLearning(found.plan, found.reasons).settle(found.root)
    for path in (tmp_path / "input.yaml", found.root / "plan.yaml"):
        again = prepared_in(tmp_path, path)
        load.check_same_plan(again)
        assert again.plan.hash == found.plan.hash and again.root == found.root
        assert checked(again, progress=quiet(), label=broken) == again
        assert again.reasons["dft.method.cutoff_ry"] == found.reasons["dft.method.cutoff_ry"]
    assert (
        WorkflowManager(tmp_path / "input.yaml", runs_dir=tmp_path / "runs").plan.hash
        == found.plan.hash
    )
    write_input(tmp_path, "pressure_gpa: 3\n")
    with pytest.raises(InputError, match=r"another plan: exploration\.conditions.* differ"):
        load.check_same_plan(prepared_in(tmp_path))


def test_a_series_belongs_to_its_material_and_method(tmp_path: Path) -> None:
    write_input(tmp_path, "name: a\n")
    found = checked(prepared_in(tmp_path), progress=quiet(), label=machine)
    assert isinstance(found, PreparedPlan)
    write_input(tmp_path, "name: a\nseed: 7\n")
    assert prepared_in(tmp_path).plan.dft.convergence == "check"


def test_a_check_that_fails_ends_the_run_and_leaves_the_settings_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_input(tmp_path)
    monkeypatch.setattr(
        "mlip_autopipec.commands.run.converge_cell", lambda *_, **__: Failure("disk", "full")
    )
    with pytest.raises(SystemExit) as left:
        main(["run", "input.yaml", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert left.value.code == 6 and answer["end_state"] == "needs_attention"
    assert "convergence check failed, disk: full" in answer["reason"]
    assert prepared_in(tmp_path).plan.dft.convergence == "check"


def test_a_driver_takes_no_plan_that_waits_for_its_check(tmp_path: Path) -> None:
    write_input(tmp_path)
    asked = prepared_in(tmp_path)
    with pytest.raises(InputError, match="convergence check was not made"):
        ActiveLearning(asked.plan, asked.reasons).settle(asked.root)
    plain = asked.plan.model_copy(
        update={"dft": asked.plan.dft.model_copy(update={"convergence": "derived"})}
    )
    ActiveLearning(plain, {}).settle(asked.root)
    with pytest.raises(CampaignStateError, match="begun without a convergence check"):
        checked(asked, progress=quiet(), label=machine)


def test_calculations_of_the_check_are_dft_calls(tmp_path: Path) -> None:
    event = SettingsChecked(14, 7200.0)
    assert from_record(*to_record(event)) == event
    state = fold([DriverStarted("hash", 0.0, {}), event])
    assert state.dft_calls == 14
    assert status.core_hours(state) == {"convergence": 2.0}
    write_input(tmp_path)
    found = checked(prepared_in(tmp_path), progress=quiet(), label=machine)
    assert isinstance(found, PreparedPlan)
    (made,) = ActiveLearning(found.plan, {}).earlier(found.root, CampaignState())
    assert isinstance(made, SettingsChecked)
    assert (
        made.calculations
        == read_json(found.root / "convergence" / "convergence.json")["calculations"]
        == 22
    )
    assert ActiveLearning(found.plan, {}).earlier(found.root, state) == []
    assert ActiveLearning(found.plan, {}).earlier(tmp_path, CampaignState()) == []


def test_a_check_of_an_early_version_is_read(tmp_path: Path) -> None:
    """Files did not always say what a setting is called, and what follows it."""
    write_input(tmp_path)
    found = checked(prepared_in(tmp_path), progress=quiet(), label=machine)
    assert isinstance(found, PreparedPlan)
    now = dft_check.stored(found.root)
    assert now is not None and to_json(now) == read_json(found.root / CHECK)
    early = read_json(found.root / CHECK)
    for item in early["series"]:
        del item["title"], item["in_step"]
    write_json(found.root / CHECK, {**early, "hardest_cutoff_ry": 48.0})
    read = dft_check.stored(found.root)
    assert read is not None and read.key == now.key
    assert prepared_in(tmp_path).plan.dft.convergence == "checked"
    assert (read.chosen, read.calculations, read.cpu_s) == (now.chosen, now.calculations, now.cpu_s)
    assert [(item.points, item.title) for item in read.series] == [
        (item.points, "") for item in now.series
    ]
    assert len(plot(read, tmp_path)) == 2
    write_json(found.root / CHECK, {"formula": "Cu"})
    with pytest.raises(InputError, match=r"convergence\.json: is no convergence check: method"):
        dft_check.stored(found.root)


# --- labels


class Machine:
    """An executor that answers with :func:`made_label` at once."""

    def __init__(self) -> None:
        self.jobs: list[LabelJob] = []
        self.failing = False

    def submit(self, request: JobRequest) -> str:
        job = LabelJob.from_json(read_json(request.folder / "spec.json")["payload"]["job"])
        self.jobs.append(job)
        outcome = (
            Outcome(None, Failure("geometry", "no"))
            if self.failing
            else Outcome(made_label(job).to_json())
        )
        (request.folder / "outcome.json").write_text(json.dumps(outcome.to_json(), default=list))
        return request.name

    def poll(self, ids: Iterable[str]) -> Mapping[str, bool]:
        return dict.fromkeys(ids, False)

    def cancel(self, ids: Iterable[str]) -> None:
        return None


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlip_autopipec.commands.dft._check_programs", lambda *_: None)


def label(cells: list[Atoms], out: Path, executor: Machine, **options: Any) -> dict[str, Any]:
    given = Options(cores=2, **{"converge": True, **options})
    return to_json(label_atoms(cells, out, given, progress=quiet(), executor=executor))


@pytest.mark.usefixtures("no_programs")
def test_labels_are_made_with_the_settings_that_were_checked(tmp_path: Path) -> None:
    cells, executor, out = (
        [bulk("Si", a=5.4 + 0.01 * step) for step in range(3)],
        Machine(),
        tmp_path / "dft",
    )
    summary = label(cells, out, executor)
    assert (summary["end_state"], summary["labelled"]) == ("complete", 3)
    assert (summary["method"]["cutoff_ry"], summary["method"]["kspacing_per_a"]) == (36.0, 0.288)
    assert summary["calculations"] == len(executor.jobs) == 20 + 3, "the check counts"
    assert {job.method["cutoff_ry"] for job in executor.jobs[-3:]} == {36.0}
    assert "(derived: 28)" in (out / "parameters.yaml").read_text()
    assert (out / "convergence" / "convergence.svg").exists()
    assert label(cells, out, executor)["method_hash"] == summary["method_hash"]
    assert len(executor.jobs) == 23
    again = label([*cells, bulk("Si", a=5.3)], out, executor, converge=False)
    assert (again["labelled"], len(executor.jobs), again["method_hash"]) == (
        4,
        24,
        summary["method_hash"],
    )


@pytest.mark.usefixtures("no_programs")
def test_what_the_checked_cell_does_not_stand_for_keeps_its_settings(tmp_path: Path) -> None:
    cells = [molecule("H2O"), bulk("Si"), bulk("Al")]
    assert representative(cells, plan_for(cells).dft).get_chemical_symbols() == ["Al"]
    summary = label(cells, tmp_path / "dft", Machine())
    alone = label([molecule("H2O"), bulk("Si")], tmp_path / "other", Machine(), converge=False)
    assert summary["method"]["cutoff_ry"] == alone["method"]["cutoff_ry"] > 36, (
        "oxygen needs more than aluminium"
    )
    assert summary["method"]["rho_cutoff_ry"] == 4 * summary["method"]["cutoff_ry"]
    assert summary["method"]["kspacing_per_a"] <= alone["method"]["kspacing_per_a"]
    assert (
        "was checked to be enough, but O needs the most"
        in (tmp_path / "dft" / "parameters.yaml").read_text()
    )


@pytest.mark.usefixtures("no_programs")
def test_a_cell_of_one_atom_is_doubled_for_it_has_no_forces(tmp_path: Path) -> None:
    executor = Machine()
    label([bulk("Al")], tmp_path / "dft", executor)
    assert {len(job.atoms) for job in executor.jobs[:-1]} == {2} and len(
        executor.jobs[-1].atoms
    ) == 1


@pytest.mark.usefixtures("no_programs")
def test_labels_of_a_failed_check_are_not_made(tmp_path: Path) -> None:
    executor = Machine()
    executor.failing = True
    summary = label([bulk("Si")], tmp_path / "dft", executor)
    assert (summary["end_state"], summary["labelled"]) == ("needs_attention", 0)
    assert "convergence check failed, geometry: cutoff_ry" in summary["reason"]
    assert not (tmp_path / "dft" / "plan.json").exists()


@pytest.mark.usefixtures("no_programs")
def test_a_check_that_leaves_nothing_to_choose_is_refused(tmp_path: Path) -> None:
    executor = Machine()
    with pytest.raises(InputError, match=r"--set cutoff_ry: is what --converge chooses"):
        label([bulk("Si")], tmp_path / "dft", executor, settings={"cutoff_ry": 30})
    with pytest.raises(InputError, match="ASE calculator has no settings to converge"):
        label([bulk("Cu")], tmp_path / "dft", executor, calculator="ase.calculators.emt:EMT")
    with pytest.raises(InputError, match="needs a folder"):
        plan_for([bulk("Si")], Options(converge=True))
    label([bulk("Si")], tmp_path / "dft", executor, converge=False)
    with pytest.raises(InputError, match="begun without it"):
        label([bulk("Si")], tmp_path / "dft", executor)
