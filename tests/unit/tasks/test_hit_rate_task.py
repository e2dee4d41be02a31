"""The task ``hit_rate``: a made-up surrogate whose errors are known is found to have just these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure, Outcome, Task, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines import registry
from mlip_autopipec.tasks import hit_rate
from mlip_autopipec.testing import SimulatedSurrogate, simulated_plan

OFFSET_EV, ERROR_EV, SOFTNESS = 3.7, 0.16, 0.8


class _Off(EMT):
    """EMT with another energy of the atom, 40 meV/atom too much or too little in turn, and forces
    too soft.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sign = 1

    def calculate(self, atoms: Atoms | None = None, *args: object, **kwargs: object) -> None:
        super().calculate(atoms, *args, **kwargs)
        self.sign = -self.sign
        self.results["energy"] += OFFSET_EV * len(self.atoms) + self.sign * ERROR_EV
        self.results["forces"] = SOFTNESS * self.results["forces"]


class _Surrogate(SimulatedSurrogate):
    def calculator(self) -> Calculator:
        return _Off()


@pytest.fixture(autouse=True)
def _surrogate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "surrogate", lambda name, model=None: _Surrogate())


def _candidate(seed: int, **parameters: float) -> Candidate:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return Candidate(atoms, Provenance("rattle", f"g{seed}", dict(parameters)))


def _labelled(
    root: Path, candidates: list[Candidate], failed: tuple[int, ...] = ()
) -> dict[str, str]:
    """Attempt folders of label tasks, by id; those numbered in ``failed`` were given up."""
    inputs = {}
    for number, candidate in enumerate(candidates):
        task = Task("label", {"candidate": candidate.to_json(), "job": {}, "purpose": "train"})
        folder = root / task.id
        folder.mkdir()
        atoms = candidate.atoms.copy()
        atoms.calc = EMT()
        label = Label(atoms.get_potential_energy(), atoms.get_forces(), None, "m", 5, 1.0)
        outcome = (
            Outcome(None, Failure("scf", "no")) if number in failed else Outcome(label.to_json())
        )
        write_json(folder / "spec.json", TaskSpec(task, 1, str(root), task.payload).to_json())
        write_json(folder / "outcome.json", outcome.to_json())
        inputs[task.id] = task.id
    return inputs


def _judge(root: Path, accepted: dict[str, str], audited: dict[str, str]) -> Json:
    payload = {"accepted": list(accepted), "audited": list(audited)}
    task = Task("hit_rate", payload, (*accepted, *audited))
    outcome = hit_rate.run(
        TaskSpec(task, 1, str(root), payload, accepted | audited), simulated_plan(), root
    )
    assert outcome.result is not None
    return outcome.result


def test_known_errors_are_found(tmp_path: Path) -> None:
    candidates = [_candidate(seed) for seed in range(6)]
    found = _judge(tmp_path, _labelled(tmp_path, candidates), {})
    forces = []
    for candidate in candidates:
        candidate.atoms.calc = EMT()
        forces.append(candidate.atoms.get_forces())
    assert found["energy_rmse_mev_per_atom"] == pytest.approx(1e3 * ERROR_EV / 4)
    assert found["force_rmse_mev_per_a"] == pytest.approx(
        1e3 * (1 - SOFTNESS) * np.sqrt(np.mean(np.square(forces)))
    )
    assert found["force_correlation"] == pytest.approx(1) and not found["geometry_only"]
    assert (found["n_accepted"], found["n_hits"], found["n_audited"]) == (6, 6, 0)


def test_failed_and_audited_labels_are_told_apart(tmp_path: Path) -> None:
    accepted = _labelled(tmp_path, [_candidate(seed) for seed in range(4)], failed=(1,))
    audited = _labelled(tmp_path, [_candidate(seed) for seed in (10, 11)], failed=(0,))
    found = _judge(tmp_path, accepted, audited)
    assert (found["n_accepted"], found["n_hits"]) == (4, 3)
    assert (found["n_audited"], found["n_false_rejections"]) == (2, 1)


def test_what_the_surrogate_did_not_judge_is_left_out(tmp_path: Path) -> None:
    dimer = Candidate(
        Atoms("Cu2", [[0, 0, 0], [0, 0, 1.6]]), Provenance("cluster", "d", {"min_contact": 0.5})
    )
    accepted = _labelled(tmp_path, [*(_candidate(seed) for seed in range(4)), dimer])
    assert _judge(tmp_path, accepted, {})["n_accepted"] == 4
