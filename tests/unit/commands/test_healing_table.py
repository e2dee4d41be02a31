"""``mlip-auto dft report`` and the status of a folder of labels, from what a driver left there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from executors_for_tests import Instant
from rich.console import Console

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.commands.dft import label_atoms
from mlip_autopipec.commands.label import healing_table
from mlip_autopipec.commands.label.options import Options
from mlip_autopipec.report import status_page
from mlip_autopipec.report.values import to_json
from mlip_autopipec.runtime.driver import hold

SIMULATED = "mlip_autopipec.testing:SimulatedDft"
UNCONVERGED = Failure("scf_not_converged", "convergence NOT achieved")


class Moody(Instant):
    """The first attempt of every structure is not converged; of a strained one all are not."""

    def submit(self, request):
        spec = json.loads((request.folder / "spec.json").read_text())
        strained = spec["payload"]["job"]["atoms"]["cell"][0][0] > 4.0
        self.failing = (lambda _: UNCONVERGED) if spec["attempt"] == 1 or strained else None
        return super().submit(request)


def cells() -> list[Atoms]:
    strained = bulk("Cu", cubic=True)
    strained.set_cell(strained.cell * 1.2, scale_atoms=True)
    return [bulk("Cu", cubic=True), bulk("Cu"), strained]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "dft"
    label_atoms(
        cells(),
        out,
        Options(engine=SIMULATED, cores=2),
        progress=Progress(io.StringIO()),
        executor=Moody(),
    )
    return out


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """As if a driver were at work: its log is not for other readers."""
    with hold(folder):
        yield


def test_the_table_counts_what_was_met_healed_and_given_up(folder: Path) -> None:
    found = healing_table.report(folder)
    (row,) = found.classes
    assert (found.structures, found.labelled, found.quarantined) == (3, 2, 1)
    assert (row.kind, row.tasks, row.healed, row.quarantined, row.open) == (
        "scf_not_converged", 3, 2, 1, 0,
    )  # fmt: skip
    assert sum(cure.worked for cure in row.cures) == 2
    assert row.met == found.calculations - found.labelled == sum(c.tried for c in row.cures) + 1
    assert to_json(found)["classes"][0]["class"] == "scf_not_converged"
    head, titles, *lines = healing_table.table(found).splitlines()
    assert head.startswith(f"2 labelled, 1 quarantined, {found.calculations} calculations")
    assert titles.split()[:3] == ["class", "met", "tasks"]
    assert len(lines) == len(row.cures)
    assert lines[0].split()[:6] == ["scf_not_converged", str(row.met), "3", "2", "1", "0"]


def test_while_a_driver_works_the_same_comes_from_its_status(folder: Path) -> None:
    from_log = healing_table.report(folder)
    with at_work(folder):
        assert healing_table.report(folder) == from_log


def test_the_status_page_of_labels_shows_cures_and_no_md(folder: Path) -> None:
    status = status_page.collect(folder)
    assert (status.kind, status.end_state, status.tasks.all) == ("labels", "complete", 3)
    console = Console(file=io.StringIO(), width=160)
    status_page.show(folder, console=console)
    text = console.file.getvalue()
    assert "ended: complete" in text and "scf_not_converged" in text
    assert f"DFT calls   {status.budget.dft_calls_used}, no limit" in text
    assert "potential swaps" not in text and "Targets" not in text


def test_quarantine_and_summary_name_the_class(folder: Path) -> None:
    (lost,) = json.loads((folder / "quarantine.json").read_text())
    assert (lost["class"], lost["formula"]) == ("scf_not_converged", "Cu4")
    assert [attempt["attempt"] for attempt in lost["attempts"]] == list(
        range(1, len(lost["attempts"]) + 1)
    )
    assert lost["attempts"][-1]["next"] is None
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["failures"][0]["class"] == "scf_not_converged"
    assert summary["version"] == 2 and summary["of_this_call"]["quarantined"] == 1


def test_a_folder_without_a_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run in this folder"):
        healing_table.report(tmp_path)
