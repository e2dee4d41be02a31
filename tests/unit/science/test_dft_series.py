"""Convergence series: what is judged, what is chosen, and that a series can be interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk, molecule

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.typed import to_json
from mlip_autopipec.base.values import Json
from mlip_autopipec.commands.dft_check.series import converge_file, knobs_of, label_in, run_series
from mlip_autopipec.commands.label.method import derive_dft
from mlip_autopipec.config.dft_check import CheckResult
from mlip_autopipec.engines.dft_port import Knob
from mlip_autopipec.science import dft_series as series

METHOD: Json = {
    "engine": "made up",
    "cutoff_ry": 30.0,
    "rho_cutoff_ry": 240.0,
    "kspacing_per_a": 0.3,
}


KNOBS = (
    Knob("cutoff_ry", tuple(series.cutoffs_to_try_ry(30.0, 40.0)), "cutoff (Ry)", "Ry",
         {"rho_cutoff_ry": 8.0}),
    Knob("kspacing_per_a", tuple(series.spacings_to_try_per_a(0.3)), "spacing (1/Å)", "1/Å"),
)  # fmt: skip


def pair(
    energy_error_mev_per_atom: float = 0.0, force_error_mev: float = 0.0, common_ev: float = 0.0
) -> Any:
    """Labels of two atoms, off by this much in the energy difference per atom and in one force
    component.
    """
    labels = []
    for sign in (1, -1):
        forces = np.zeros((2, 3))
        forces[1, 2] = sign * (0.5 + force_error_mev / 1000)
        energy = common_ev + sign * (3.0 + energy_error_mev_per_atom / 1000)
        labels.append(Label(energy, forces, None, "m", 5, 2.0))
    return labels[0], labels[1]


def test_errors_are_those_of_differences_and_of_the_worst_component() -> None:
    # An energy that is wrong for both alike is no error; 2 x 0.4 meV/atom over two atoms is one of
    # 0.4 per atom.
    found = series.judge("cutoff_ry", [20, 30], [pair(0.4, -7.0, common_ev=5.0), pair()])
    assert isinstance(found, series.Series)
    assert found.points[0].energy_error_mev_per_atom == pytest.approx(0.4)
    assert found.points[0].force_error_mev_per_a == pytest.approx(7.0)
    assert found.points[0].wall_s == 4.0
    assert found.chosen == 20


@pytest.mark.parametrize(
    ("first", "middle", "chosen"),
    [
        ((0.0, 0.0), (0.0, 0.0), 10),
        ((0.0, 11.0), (0.0, 9.0), 20),
        ((-1.1, 0.0), (0.9, 0.0), 20),
        ((1.1, 0.0), (-0.9, -9.0), 20),
    ],
)
def test_the_cheapest_setting_within_both_limits_is_chosen(
    first: Any, middle: Any, chosen: float
) -> None:
    found = series.judge("cutoff_ry", [10, 20, 30], [pair(*first), pair(*middle), pair()])
    assert isinstance(found, series.Series) and found.chosen == chosen


def test_agreement_by_chance_does_not_count() -> None:
    found = series.judge(
        "kspacing_per_a", [0.5, 0.4, 0.3, 0.2], [pair(), pair(0, 50.0), pair(0, 2.0), pair()]
    )
    assert isinstance(found, series.Series) and found.chosen == 0.3


def test_a_series_that_ends_too_early_is_a_failure() -> None:
    found = series.judge("cutoff_ry", [10, 20], [pair(0.0, 30.0), pair()])
    assert isinstance(found, Failure) and found.kind == "not_converged"
    assert "30.0 meV/Å" in found.message
    with pytest.raises(ValueError, match="two settings"):
        series.judge("cutoff_ry", [10], [pair()])


def test_probes_have_forces_and_different_volumes_and_follow_the_seed() -> None:
    crystal = bulk("Si", cubic=True)
    one, other = series.probe_pair(crystal, 1)
    assert one.get_volume() == pytest.approx(crystal.get_volume())
    assert other.get_volume() == pytest.approx(0.97 * crystal.get_volume())
    assert 0.03 < np.abs(one.positions - crystal.positions).mean() < 0.12
    assert series.probe_pair(crystal, 1)[0] == one and series.probe_pair(crystal, 2)[0] != one
    water = molecule("H2O", vacuum=6.0)
    assert (series.probe_pair(water, 1)[1].cell.array == water.cell.array).all()


def test_what_is_tried_ends_well_above_the_hints() -> None:
    cutoffs = series.cutoffs_to_try_ry(28.0, 48.0)
    assert cutoffs == sorted(cutoffs) and 28.0 in cutoffs and cutoffs[-1] > 1.2 * 48.0
    spacings = series.spacings_to_try_per_a(0.36)
    assert spacings == sorted(spacings, reverse=True) and 0.36 in spacings and spacings[-1] == 0.18


class Made:
    """A machine whose errors fall off exponentially with the cutoff, and with the fourth power of
    the spacing.
    """

    k_factor = 2.0

    def __init__(self) -> None:
        self.jobs: list[LabelJob] = []

    def __call__(self, jobs: Sequence[LabelJob]) -> list[Label | Failure]:
        self.jobs += jobs
        return [self.label(job) for job in jobs]

    def label(self, job: LabelJob) -> Label | Failure:
        off_ev = (
            0.5 * np.exp(-(job.method["cutoff_ry"] - 20) / 3)
            + self.k_factor * job.method["kspacing_per_a"] ** 4
        )
        forces = np.full((len(job.atoms), 3), off_ev)
        return Label(0.01 * off_ev * job.atoms.get_volume(), forces, None, job.method_hash, 5, 1.0)


def test_the_series_picks_the_cheapest_settings_that_hold() -> None:
    machine = Made()
    result = run_series(bulk("Si"), METHOD, KNOBS, machine)
    assert isinstance(result, CheckResult), result
    cutoff, spacing = result.chosen["cutoff_ry"], result.chosen["kspacing_per_a"]
    # 0.5 exp(-(E - 20) / 3) falls below 10 meV/Å at 31.7 Ry: the first cutoff tried above it.
    assert cutoff == min(value for value in series.cutoffs_to_try_ry(30.0, 40.0) if value > 31.8)
    # 2 (0.24^4 - 0.15^4) is 5.6 meV/Å, 2 (0.3^4 - 0.15^4) is 15.
    assert spacing == 0.24
    assert result.chosen["rho_cutoff_ry"] == 8 * cutoff
    assert result.method == {**METHOD, **result.chosen}
    assert (
        result.calculations
        == len(machine.jobs)
        == 2 * sum(len(item.points) for item in result.series)
    )
    # The k-point series is made at the cutoff that was chosen.
    assert {job.method["cutoff_ry"] for job in machine.jobs[-10:]} == {cutoff}


def test_a_molecule_has_no_k_point_series() -> None:
    water = molecule("H2O", vacuum=6.0)
    dft = derive_dft([water]).dft
    assert [knob.setting for knob in knobs_of(dft, water)] == ["cutoff_ry"]
    water.pbc = True
    assert [knob.setting for knob in knobs_of(dft, water)] == ["cutoff_ry", "kspacing_per_a"]


def test_a_setting_that_has_no_series_stays() -> None:
    result = run_series(molecule("H2O", vacuum=6.0), METHOD, KNOBS[:1], Made())
    assert isinstance(result, CheckResult)
    assert [item.setting for item in result.series] == ["cutoff_ry"]
    assert result.method["kspacing_per_a"] == METHOD["kspacing_per_a"]
    assert "kspacing_per_a" not in result.chosen


def test_a_file_is_converged_with_the_settings_that_it_would_be_labelled_with(
    tmp_path: Path,
) -> None:
    bulk("Si").write(tmp_path / "si.xyz")
    machine = Made()
    machine.k_factor = (
        1.0  # the derived spacing is coarse enough to be off, fine enough to be mended
    )
    result = converge_file(
        tmp_path / "si.xyz", tmp_path / "out", settings={"degauss_ry": 0.02}, label=machine
    )
    assert isinstance(result, CheckResult)
    assert {job.method["pseudo_family"] for job in machine.jobs} == {
        "PseudoDojo/0.5/PBE/SR/standard"
    }
    assert {job.method["degauss_ry"] for job in machine.jobs} == {0.02}
    assert result.derived == {"cutoff_ry": 28.0, "rho_cutoff_ry": 112.0, "kspacing_per_a": 0.36}
    assert result.series[0].points[-1].value == 60.0  # the reference passes the high hint, 48
    assert read_json(tmp_path / "out" / "convergence.json") == to_json(result)
    for suffix in ("png", "svg"):
        assert (tmp_path / "out" / f"convergence.{suffix}").stat().st_size > 5000
    with pytest.raises(InputError, match="no settings to converge"):
        converge_file(
            tmp_path / "si.xyz", tmp_path / "other", engine="ase_calculator", label=machine
        )


def test_a_calculation_that_fails_ends_the_series_with_its_setting_named(tmp_path: Path) -> None:
    bulk("Si").write(tmp_path / "si.xyz")
    result = converge_file(
        tmp_path / "si.xyz", tmp_path, label=lambda jobs: [Failure("disk", "full")] * len(jobs)
    )
    assert isinstance(result, Failure) and result.kind == "disk"
    assert "cutoff_ry 22" in result.message
    assert not (tmp_path / "convergence.json").exists()


def test_a_label_is_computed_once_and_repaired_by_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlip_autopipec.testing import SimulatedDft

    ledger = tmp_path / "ledger"
    monkeypatch.setenv("MLIP_TESTING_LEDGER", str(ledger))
    method = {"engine": f"{SimulatedDft.__module__}:{SimulatedDft.__name__}"}
    jobs = [LabelJob(bulk("Cu", a=3.6 + 0.001 * number), method) for number in range(30)]
    found = [label_in(tmp_path / "work", job, walltime_s=60, cores=1) for job in jobs]
    assert all(isinstance(label, Label) for label in found)
    counted = len(ledger.read_text().splitlines())
    assert counted == len(jobs)
    attempts = [len(list(home.glob("attempt-*"))) for home in (tmp_path / "work").iterdir()]
    assert set(attempts) == {1, 2}, "none of the calculations failed and was healed"
    again = [label_in(tmp_path / "work", job, walltime_s=60, cores=1) for job in jobs]
    assert len(ledger.read_text().splitlines()) == counted
    assert all(
        isinstance(one, Label) and isinstance(other, Label) and one.energy_ev == other.energy_ev
        for one, other in zip(found, again, strict=True)
    )
    other = label_in(tmp_path / "work", replace(jobs[0], kmesh=(2, 2, 2)), walltime_s=60, cores=1)
    assert isinstance(other, Label)
    assert len(ledger.read_text().splitlines()) == counted + 1
