"""The train task: labels from attempt folders into a job, and the comparison with the previous
potential.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure, Task, TaskSpec
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import Trained, TrainJob
from mlip_autopipec.engines.potential_folder import maker_of
from mlip_autopipec.science.predictions import Predicted, Predictions, prediction
from mlip_autopipec.tasks import train


def by_dft(item: LabelledStructure) -> Predicted:
    """A prediction without any error."""
    return prediction(item, item.label.energy_ev, item.label.forces)


@dataclass
class Recorder:
    """A trainer that keeps the job and predicts by effective medium theory."""

    jobs: list[TrainJob] = field(default_factory=list)
    result: Failure | None = None
    told: tuple[LabelledStructure, ...] = ()

    def prepare(self, job: TrainJob, folder: Path) -> Prepared:
        self.jobs.append(job)
        return Prepared({}, (sys.executable, "-c", "pass"))

    def parse(self, job: TrainJob, folder: Path, exit_code: int) -> Trained | Failure:
        rows = Predictions(
            tuple(by_dft(item) for item in job.train),
            tuple(by_dft(item) for item in self.told or job.test),
        )
        write_json(folder / "potential" / "predictions.json", rows.to_json())
        return self.result or Trained(
            folder / "potential", {"trainer": "recorder", "code": exit_code}
        )

    def calculator(self, potential: Path) -> EMT:
        return EMT()


PLAN: Any = SimpleNamespace(
    seed=3,
    material=SimpleNamespace(elements=("Cu",)),
    embedding=SimpleNamespace(energy_weight=0.0),
    training=SimpleNamespace(
        held_out_fraction=0.2,
        fast_trainer="linear",
        trainer="pacemaker",
        settings_of={"linear": "quick settings", "pacemaker": "slow settings"}.__getitem__,
        cores=1,
        walltime_s=60.0,
    ),
)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(registry, "trainer", lambda name: made)
    return made


def spec(
    root: Path,
    count: int = 12,
    *,
    methods: tuple[str, ...] = ("m",),
    picked: Mapping[int, str] = MappingProxyType({}),
    drawn: range = range(0),
    **payload: Any,
) -> TaskSpec:
    """Label folders as workers leave them; labels are EMT energies, 1 meV/atom and 0.01 eV/Å
    off.
    """
    inputs = {}
    for number in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=number)
        frame = atoms.copy()
        frame.calc = EMT()
        label = Label(
            frame.get_potential_energy() + 0.001 * len(atoms),
            frame.get_forces() + 0.01,
            None,
            methods[number % len(methods)],
            1,
            0.0,
        )
        candidate = Candidate(
            atoms,
            Provenance(
                "rattle",
                f"g{number}",
                {"picked": "on_policy", "condition": "npt-300K"}
                if number in drawn
                else {"picked": picked[number]}
                if number in picked
                else {},
                potential="001" if number in drawn else None,
            ),
            forced=number < 2,
            core=(0, 1) if number == 3 else None,
        )
        folder = root / f"tasks/label-{number}/attempt-1"
        asked = LabelPayload({}, stored_candidate=candidate.to_json()).to_json()
        write_json(folder / "spec.json", {"payload": asked})
        write_json(folder / "outcome.json", {"result": label.to_json(), "failure": None})
        inputs[f"label-{number}"] = f"tasks/label-{number}/attempt-1"
    content = {
        "round": 1,
        "trainer": "linear",
        "labels": list(inputs),
        "warm_start": None,
        "previous": None,
        "seed": 11,
        **payload,
    }
    return TaskSpec(Task("train", content, tuple(inputs)), 1, str(root), content, inputs)


def test_every_label_reaches_the_job_once(recorder: Recorder, tmp_path: Path) -> None:
    outcome = train.run(spec(tmp_path), PLAN, tmp_path / "attempt")
    assert outcome.failure is None
    assert outcome.result is not None
    assert outcome.result["labels"] == 12
    metrics = outcome.result["metrics"]
    assert metrics["conditions"] == metrics["when_asked"] == []
    assert [row["name"] for row in metrics["kinds"]] == ["rattle"]
    assert maker_of(tmp_path / "attempt/potential") == "linear"
    (job,) = recorder.jobs
    names = [item.name for item in (*job.train, *job.test)]
    assert sorted(names) == sorted(f"label-{number}" for number in range(12))
    assert job.test
    assert not {"label-0", "label-1"} & {item.name for item in job.test}  # forced
    by_name = {item.name: item for item in (*job.train, *job.test)}
    assert by_name["label-3"].core == (0, 1)
    assert by_name["label-4"].core is None
    frame = by_name["label-5"].atoms.copy()
    frame.calc = EMT()
    np.testing.assert_allclose(
        by_name["label-5"].label.forces, frame.get_forces() + 0.01, atol=1e-6
    )
    assert (job.settings, job.seed) == ("quick settings", 11)


@pytest.mark.parametrize("reason", [None, "random", "forced", "farthest", "cluster", "d_optimal"])
def test_only_what_chance_picked_may_be_held_out(
    recorder: Recorder, tmp_path: Path, reason: str | None
) -> None:
    """Ten labels that are not forced: half have the reason, half were drawn at random."""
    asked = range(2, 7)
    picked = {number: "random" if number not in asked else reason for number in range(2, 12)}
    plan = SimpleNamespace(**vars(PLAN))
    plan.training = SimpleNamespace(**{**vars(PLAN.training), "held_out_fraction": 0.5})
    given = spec(
        tmp_path, picked={number: why for number, why in picked.items() if why is not None}
    )
    held_out: set[str] = set()
    for seed in range(8):
        plan.seed = seed
        train.run(given, plan, tmp_path / f"attempt-{seed}")
        held_out |= {item.name for item in recorder.jobs[-1].test}
    unbiased = range(2, 12) if reason in (None, "random") else range(7, 12)
    assert held_out == {f"label-{number}" for number in unbiased}


def test_the_surrogates_own_labels_reach_the_job(recorder: Recorder, tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    label = Label(-3.0, np.zeros((4, 3)), np.zeros(6), "surrogate", 0, 0.0)
    own = LabelledStructure("high_energy-0", atoms, label, Provenance("high_energy", "h"))
    folder = tmp_path / "tasks/generate-1/attempt-1"
    asked = spec(tmp_path, generated="generate-1")
    asked = replace(asked, inputs={**asked.inputs, "generate-1": "tasks/generate-1/attempt-1"})
    assert train.run(asked, PLAN, tmp_path).failure is None
    assert recorder.jobs[-1].prior == ()  # a run from before they were made goes on
    write_json(folder / "surrogate_labels.json", [own.to_json()])
    assert train.run(asked, PLAN, tmp_path).failure is None
    assert [item.name for item in recorder.jobs[-1].prior] == ["high_energy-0"]
    assert recorder.jobs[-1].prior[0].label.energy_ev == -3.0


def test_each_trainer_has_its_own_settings(recorder: Recorder, tmp_path: Path) -> None:
    train.run(spec(tmp_path, trainer="pacemaker"), PLAN, tmp_path / "attempt")
    assert recorder.jobs[0].settings == "slow settings"


def predicted(name: str) -> Predicted:
    return Predicted(
        name=name,
        n_atoms=1,
        masked=False,
        energy_dft_ev_per_atom=0.0,
        energy_potential_ev_per_atom=0.0,
        forces_dft_ev_per_a=[0.0] * 3,
        forces_potential_ev_per_a=[0.0] * 3,
    )


def earlier(root: Path, *learned: str) -> dict[str, str]:
    """A potential that was fitted to these labels, but for the last, which was held out."""
    previous = root / "potentials" / "001"
    rows = [predicted(name) for name in learned]
    write_json(previous / "metrics.json", {"trainer": "recorder"})
    told = Predictions(train=tuple(rows[:-1]), test=tuple(rows[-1:]))
    (previous / "predictions.json").write_text(json.dumps(told.to_json()))
    return {"previous": "potentials/001", "warm_start": "potentials/001"}


def test_what_was_held_out_stays_so(recorder: Recorder, tmp_path: Path) -> None:
    given = spec(tmp_path, **earlier(tmp_path, "label-7"))
    train.run(given, PLAN, tmp_path / "attempt")
    (job,) = recorder.jobs
    assert job.warm_start == tmp_path / "potentials/001"
    assert "label-7" in {item.name for item in job.test}


def test_new_labels_are_predicted_by_the_potential_that_asked_before_they_are_learned(
    recorder: Recorder, tmp_path: Path
) -> None:
    given = spec(tmp_path, drawn=range(6, 12), **earlier(tmp_path, "label-6", "label-7"))
    outcome = train.run(given, PLAN, tmp_path / "attempt")
    assert outcome.result is not None
    (found,) = outcome.result["metrics"]["when_asked"]
    assert (found["name"], found["n"]) == ("npt-300K", 4), "two of the six had been learned"
    assert found["force_rmse_mev_per_a"] == pytest.approx(10.0, rel=1e-3)
    assert found["energy_rmse_mev_per_atom"] == pytest.approx(1.0, rel=1e-3)
    assert outcome.result["metrics"]["conditions"] == [found], "all that is known of it"
    again = tmp_path / "potentials" / "002"
    (tmp_path / "attempt/potential").rename(again)
    write_json(again / "metrics.json", {"trainer": "recorder"})
    given = spec(tmp_path, 14, drawn=range(6, 14), previous="potentials/002")
    outcome = train.run(given, PLAN, tmp_path / "attempt-2")
    assert outcome.result is not None
    (found,) = outcome.result["metrics"]["when_asked"]
    assert found["n"] == 4 + 2, "what earlier potentials predicted is kept"


def test_a_trainer_that_predicts_its_errors_learns_every_label_and_judges_itself(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "force_errors", lambda *args: [], raising=False)
    given = spec(tmp_path, drawn=range(6, 12), **earlier(tmp_path, "label-0", "label-1"))
    atoms = bulk("Cu", cubic=True)
    label = Label(-1.0, np.zeros((4, 3)), None, "m", 1, 0.0)
    provenance = Provenance("md", "g", {"picked": "on_policy", "condition": "npt-300K"})
    recorder.told = (LabelledStructure("label-8", atoms, label, provenance),)
    outcome = train.run(given, PLAN, tmp_path / "attempt")
    (job,) = recorder.jobs
    assert len(job.train) == 12 and job.test == ()
    assert outcome.result is not None
    (found,) = outcome.result["metrics"]["conditions"]
    assert (found["n"], found["force_rmse_mev_per_a"]) == (1, 0.0), "its own, cross-validated"
    (asked,) = outcome.result["metrics"]["when_asked"]
    assert asked["n"] == 6


def test_two_methods_do_not_meet(recorder: Recorder, tmp_path: Path) -> None:
    outcome = train.run(spec(tmp_path, methods=("a", "b")), PLAN, tmp_path / "attempt")
    assert outcome.failure is not None
    assert outcome.failure.kind == "mixed_methods"
    assert recorder.jobs == []


def test_a_failed_fit_is_a_failure_value(recorder: Recorder, tmp_path: Path) -> None:
    recorder.result = Failure("fit_failed", "no")
    outcome = train.run(spec(tmp_path), PLAN, tmp_path / "attempt")
    assert outcome.result is None
    assert outcome.failure == recorder.result
