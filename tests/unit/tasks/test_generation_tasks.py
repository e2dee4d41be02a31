"""The generate and select tasks with a cheap stand-in potential (EMT copper) in the surrogate's
place.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.structures import Candidate, atoms_from_json
from mlip_autopipec.base.tasks import Outcome, Task, TaskSpec
from mlip_autopipec.campaign.payloads import GeneratePayload
from mlip_autopipec.config.plan import (
    Budget,
    Condition,
    Embedding,
    ExecutorPlan,
    Exploration,
    Generation,
    Material,
    Plan,
    Selection,
    SurrogatePlan,
    Training,
    Validation,
)
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.train.pacemaker.schema import LinearSettings
from mlip_autopipec.proposing import pieces as candidates
from mlip_autopipec.science.generation import elements
from mlip_autopipec.science.stopping import Limits
from mlip_autopipec.tasks import generate
from mlip_autopipec.testing import simulated_plan


class _Emt:
    known = frozenset({"Cu", "Al"})

    def calculator(self) -> Calculator:
        return EMT()

    def supports(self, symbols: Sequence[str]) -> bool:
        return set(symbols) <= self.known


@pytest.fixture(autouse=True)
def _surrogate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "surrogate", lambda name, model=None: _Emt())


def _plan(symbol: str = "Cu", **surrogate: Any) -> Plan:
    return Plan(
        name="test",
        goal="crystal",
        seed=5,
        material=Material(formula=symbol, fractions={symbol: 1.0}),
        dft=simulated_plan().dft,
        generation=Generation(batches=[]),
        surrogate=SurrogatePlan(engine="emt", **surrogate),
        selection=Selection(initial_count=10, batch_count=4),
        training=Training(
            fast_trainer="linear",
            trainer="linear",
            settings=LinearSettings(cutoff_a=5, functions_per_element=50),
        ),
        exploration=Exploration(
            conditions=[Condition(name="cold", ensemble="nvt", temperature_k=300)],
            md_atoms=64,
            timestep_fs=1,
            gamma_select=3,
            gamma_break=10,
        ),
        embedding=Embedding(max_dft_atoms=32, core_radius_a=3, buffer_a=3, environment_a=5),
        validation=Validation.model_validate({"eos_strains": [0.0]}),
        convergence=Limits(energy_rmse_mev_per_atom=5, force_rmse_mev_per_a=100),
        budget=Budget(dft_calls=50, wall_minutes=60),
        executor=ExecutorPlan(cores=2),
    )


@pytest.fixture(autouse=True)
def _few_lattices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relaxing all simple lattices in every test would cost half a minute; the ranking has its own
    test.
    """
    monkeypatch.setattr(elements, "SIMPLE", ("bcc",))


STRATEGIES = [
    {"name": "prototypes", "count": 5, "options": {}},
    {"name": "strain", "count": 8, "options": {"max_atoms": 4}},
    {"name": "rattle", "count": 8, "options": {"max_atoms": 8}},
    {
        "name": "thermal",
        "count": 4,
        "options": {"max_atoms": 8, "every_steps": 3, "equilibration_steps": 5},
    },
]


def _generate(
    folder: Path, plan: Plan, strategies: list[dict[str, Any]], batch: int = 0
) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    task = Task("generate", {"batch": batch, "strategies": strategies, "seed": 5})
    return generate.run(TaskSpec(task, 1, str(folder), task.payload), plan, folder)


def _candidates(folder: Path) -> list[Candidate]:
    return [
        Candidate.from_json(item) for item in json.loads((folder / "candidates.json").read_text())
    ]


def test_generate_leaves_candidates_starts_and_numbers(tmp_path: Path) -> None:
    outcome = _generate(tmp_path, _plan(), STRATEGIES)
    assert outcome.ok and outcome.result is not None
    result = outcome.result
    json.dumps(result)
    made = _candidates(tmp_path)
    rejected = json.loads((tmp_path / "rejected.json").read_text())
    assert len(made) == result["accepted"] == sum(result["strategies"].values())
    assert len(made) + len(rejected) == 25 and sum(result["rejected"].values()) == len(rejected)
    begun = [
        Candidate.from_json(item) for item in json.loads((tmp_path / "start.json").read_text())
    ]
    assert begun[0].provenance.group == "reference:Cu"
    ground = atoms_from_json(result["ground_state"])
    assert len(ground) == 4 and ground.cell.cellpar()[0] == pytest.approx(3.59, abs=0.01)
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [line["done"] for line in lines] == sorted(line["done"] for line in lines)
    assert lines[-1]["done"] == lines[-1]["total"] == 25


def test_the_first_batch_leaves_high_structures_that_the_surrogate_labelled(tmp_path: Path) -> None:
    plan = _plan(high_energy_structures=16, max_force_ev_per_a=10.0)
    few = [{"name": "strain", "count": 2, "options": {"max_atoms": 4}}]
    assert _generate(tmp_path / "first", plan, few).ok
    assert _generate(tmp_path / "second", plan, few, batch=1).ok
    assert not (tmp_path / "second" / "surrogate_labels.json").exists()
    rows = json.loads((tmp_path / "first" / "surrogate_labels.json").read_text())
    labels = [LabelledStructure.from_json(row) for row in rows]
    assert 8 <= len(labels) <= 16
    assert len({item.name for item in labels}) == len(labels)
    walks = Counter(item.provenance.group for item in labels)
    assert sum(times == 2 for times in walks.values()) == 2  # loose heaps, on their way down
    for item in labels:
        atoms = item.atoms.copy()
        atoms.calc = EMT()
        np.testing.assert_allclose(item.label.forces, atoms.get_forces(), atol=1e-5)
        np.testing.assert_allclose(item.label.stress, atoms.get_stress(), atol=1e-6)
        assert item.label.energy_ev == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
        assert np.linalg.norm(item.label.forces, axis=1).max() <= 10.0
    for group in (group for group, times in walks.items() if times == 2):
        first, last = (item.label.energy_ev for item in labels if item.provenance.group == group)
        assert last < first


def test_generate_is_reproducible_and_batches_differ(tmp_path: Path) -> None:
    plan = _plan()
    for name, batch in (("a", 0), ("b", 0), ("c", 1)):
        _generate(tmp_path / name, plan, STRATEGIES[1:3], batch)
    texts = [(tmp_path / name / "candidates.json").read_text() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]
    groups = [{item.provenance.group for item in _candidates(tmp_path / name)} for name in "ac"]
    assert not groups[0] & groups[1]


def test_the_screen_of_the_plan_is_the_one_applied(tmp_path: Path) -> None:
    outcome = _generate(tmp_path, _plan(max_force_ev_per_a=0.5), STRATEGIES)
    assert outcome.result is not None and outcome.result["rejected"]["large_force"] > 0
    for item in _candidates(tmp_path):
        atoms = item.atoms.copy()
        atoms.calc = EMT()
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() <= 0.5


def test_a_few_that_the_surrogate_rejected_are_offered_for_a_check(tmp_path: Path) -> None:
    limit = 0.5
    plan = _plan(max_force_ev_per_a=limit, min_distance_factor=0.9)
    outcome = _generate(tmp_path, plan, [STRATEGIES[1], STRATEGIES[2]])
    assert outcome.result is not None and outcome.result["rejected"]["large_force"] >= 3
    assert outcome.result["rejected"]["too_close"] > 0, (
        "the limit on distances has to reject some as well"
    )
    offered = [Candidate.from_json(item) for item in outcome.result["audit"]]
    assert len(offered) == 3
    passed = _candidates(tmp_path)
    for item in offered:
        assert "largest surrogate force" in item.provenance.parameters["audit"]
        atoms = item.atoms.copy()
        atoms.calc = EMT()
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() > limit
        assert all(
            np.abs(item.atoms.positions.sum() - other.atoms.positions.sum()) > 0 for other in passed
        )


def test_candidates_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # processes of the pool know the real registry alone
    monkeypatch.setattr(elements, "SIMPLE", ())
    monkeypatch.setattr(generate, "useful_processes", lambda pieces, cores: cores)
    plan = simulated_plan(
        surrogate={"engine": "mlip_autopipec.testing:SimulatedSurrogate", "max_force_ev_per_a": 0.5}
    )
    outcomes = []
    for cores in (1, 2):
        folder = tmp_path / str(cores)
        folder.mkdir()
        payload = {"batch": 0, "strategies": STRATEGIES[1:], "seed": 5}
        task = Task("generate", payload, cores=cores)
        outcomes.append(generate.run(TaskSpec(task, 1, str(folder), payload), plan, folder))
    assert outcomes[0].ok and outcomes[0] == outcomes[1]
    for file in ("candidates.json", "rejected.json", "start.json"):
        assert (tmp_path / "1" / file).read_text() == (tmp_path / "2" / file).read_text()


def _asked(strategies: list[dict[str, Any]]) -> GeneratePayload:
    return GeneratePayload.from_json({"batch": 0, "strategies": strategies, "seed": 1})


def test_processes_are_started_where_they_pay() -> None:
    few, md = ([{"name": name, "count": 20, "options": {}}] for name in ("rattle", "melt_quench"))
    numbers = [
        candidates.useful_processes(candidates.pieces_of(simulated_plan(), _asked(items)), 16)
        for items in (few, md)
    ]
    assert 1 <= numbers[0] < numbers[1] <= 16


def test_md_for_many_frames_is_several_independent_runs() -> None:
    def pieces(name: str, count: int) -> list[candidates.Piece]:
        items = [{"name": name, "count": count, "options": {"max_atoms": 8}}]
        return candidates.pieces_of(simulated_plan(), _asked(items))

    split = pieces("melt_quench", 2 * candidates.MOST_FRAMES + 1)
    assert len(split) == 3
    assert sum(piece.strategy.count for piece in split) == 2 * candidates.MOST_FRAMES + 1
    assert len({piece.seed for piece in split}) == 3
    # A campaign of usual size is what it was, whatever a larger one does; a grid is never cut.
    assert split[0].seed == pieces("melt_quench", 10)[0].seed
    assert len(pieces("melt_quench", candidates.MOST_FRAMES)) == len(pieces("strain", 10_000)) == 1
    assert [piece.strategy.count for piece in pieces("thermal", 0)] == [0]


def test_an_element_outside_the_surrogate_leaves_geometry_alone_and_says_so(tmp_path: Path) -> None:
    outcome = _generate(tmp_path, _plan("Si"), STRATEGIES)
    assert outcome.result is not None
    assert outcome.result["geometry_only"] is True
    assert outcome.result["rejected"]["needs_surrogate"] == 4
    assert set(outcome.result["strategies"]) == {"prototypes", "strain", "rattle"}
    reasons = json.loads((tmp_path / "rejected.json").read_text())
    assert any(
        item["strategy"] == "thermal" and "does not know" in item["reason"] for item in reasons
    )


def test_nothing_left_is_a_failure_not_an_empty_success(tmp_path: Path) -> None:
    outcome = _generate(tmp_path, _plan(max_force_ev_per_a=1e-9), STRATEGIES[2:3])
    assert outcome.failure is not None and outcome.failure.kind == "no_candidates"
    assert "large_force" in outcome.failure.message
