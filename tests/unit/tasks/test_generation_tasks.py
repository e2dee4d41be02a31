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
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.structures import Candidate, Provenance, atoms_from_json
from mlip_autopipec.base.tasks import Outcome, Task, TaskSpec
from mlip_autopipec.base.values import content_hash
from mlip_autopipec.config.derive.generation import Form, default_generation, form_of, scaled
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
from mlip_autopipec.engines.train.pacemaker.projections import AceProjections
from mlip_autopipec.engines.train.pacemaker.schema import LinearSettings
from mlip_autopipec.proposing import pieces as candidates
from mlip_autopipec.science import generation
from mlip_autopipec.science.generation import elements
from mlip_autopipec.science.selection import d_optimal_points
from mlip_autopipec.science.stopping import Limits
from mlip_autopipec.tasks import generate, select
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
            clean_ps=1,
            max_ps=1,
            gamma_select=3,
            gamma_break=10,
        ),
        embedding=Embedding(max_dft_atoms=32, core_radius_a=3, buffer_a=3, environment_a=5),
        validation=Validation.model_validate({"eos_strains": [0.0]}),
        convergence=Limits(
            force_rmse_change=0.05, energy_rmse_mev_per_atom=5, force_rmse_mev_per_a=100
        ),
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


def test_processes_are_started_where_they_pay() -> None:
    few, md = ([{"name": name, "count": 20, "options": {}}] for name in ("rattle", "melt_quench"))
    numbers = [
        candidates.useful_processes(
            candidates.pieces_of(simulated_plan(), {"batch": 0, "strategies": items, "seed": 1}), 16
        )
        for items in (few, md)
    ]
    assert 1 <= numbers[0] < numbers[1] <= 16


def test_md_for_many_frames_is_several_independent_runs() -> None:
    def pieces(name: str, count: int) -> list[candidates.Piece]:
        items = [{"name": name, "count": count, "options": {"max_atoms": 8}}]
        return candidates.pieces_of(simulated_plan(), {"batch": 0, "strategies": items, "seed": 1})

    split = pieces("melt_quench", 2 * candidates.MOST_FRAMES + 1)
    assert len(split) == 3
    assert sum(piece.item["count"] for piece in split) == 2 * candidates.MOST_FRAMES + 1
    assert len({piece.seed for piece in split}) == 3
    # A campaign of usual size is what it was, whatever a larger one does; a grid is never cut.
    assert split[0].seed == pieces("melt_quench", 10)[0].seed
    assert len(pieces("melt_quench", candidates.MOST_FRAMES)) == len(pieces("strain", 10_000)) == 1
    assert [piece.item["count"] for piece in pieces("thermal", 0)] == [0]


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


def _select(
    root: Path,
    count: int,
    method: str = "fps",
    seed: int = 1,
    *,
    random_fraction: float = 0.33,
    labelled: Sequence[Candidate] = (),
    refused: Sequence[Candidate] = (),
) -> Outcome:
    """The candidates of the folders a and b; ``labelled``: by earlier tasks, ``refused``: where DFT
    failed.
    """
    payload: dict[str, Any] = {
        "count": count,
        "method": method,
        "random_fraction": random_fraction,
        "seed": seed,
    }
    inputs = {"one": "a", "two": "b"}
    for number, item in enumerate(labelled):
        write_json(root / f"l{number}" / "spec.json", {"payload": {"candidate": item.to_json()}})
        inputs[f"label-{number}"] = f"l{number}"
    if labelled:
        payload["existing"] = [name for name in inputs if name.startswith("label")]
    payload["refused"] = [content_hash(item.to_json()["atoms"]) for item in refused]
    task = Task("select", payload, needs=tuple(inputs))
    return select.run(TaskSpec(task, 1, str(root), task.payload, inputs), _plan(), root)


def _picked(outcome: Outcome) -> list[Candidate]:
    assert outcome.result is not None
    return [Candidate.from_json(item) for item in outcome.result["candidates"]]


@pytest.fixture
def pool(tmp_path: Path) -> list[Candidate]:
    """Candidates of three strategies in the folder a; the prototypes among them, the first five,
    once more in b.
    """
    rng = np.random.default_rng(0)
    made = []
    for number in range(21):
        strategy = "prototypes" if number < 5 else "strain" if number < 13 else "rattle"
        atoms = bulk("Cu", cubic=True, a=3.5 + 0.05 * number if number < 5 else 3.6)
        if strategy == "strain":
            atoms.set_cell(
                atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.04, size=(3, 3))),
                scale_atoms=True,
            )
        elif strategy == "rattle":
            atoms.rattle(0.15, rng=rng)
        made.append(
            Candidate(atoms, Provenance(strategy, f"{strategy}:{number}"), forced=number < 5)
        )
    for folder, items in (("a", made), ("b", made[:5])):
        write_json(tmp_path / folder / "candidates.json", [item.to_json() for item in items])
    return _candidates(tmp_path / "a")


@pytest.mark.parametrize(
    "method, reasons",
    [
        ("fps", ["farthest"] * 5 + ["random"] * 2),
        ("clusters", ["cluster"] * 5 + ["random"] * 2),
        ("d_optimal", ["d_optimal"] * 5 + ["random"] * 2),
        ("random", ["random"] * 7),
    ],
)
def test_select_keeps_the_forced_ones_and_says_why_each_was_picked(
    tmp_path: Path, pool: list[Candidate], method: str, reasons: list[str]
) -> None:
    outcome = _select(tmp_path, 12, method)
    picked = _picked(outcome)
    assert outcome.result is not None
    assert outcome.result["of"] == len(pool)  # twins count once
    assert [item.forced for item in picked] == [True] * 5 + [False] * 7
    assert sum(item.forced for item in pool) == 5
    assert [item.provenance.parameters["picked"] for item in picked] == ["forced"] * 5 + reasons
    assert outcome.result["picked"] == {"forced": 5, **Counter(reasons)}
    assert (
        len({item.atoms.positions.tobytes() + item.atoms.cell.array.tobytes() for item in picked})
        == 12
    )
    assert {"strain", "rattle"} <= {item.provenance.strategy for item in picked}
    assert _select(tmp_path, 12, method) == outcome
    assert any(_select(tmp_path, 12, method, seed=seed) != outcome for seed in (2, 3, 4))


@pytest.mark.parametrize("method", ["fps", "clusters", "d_optimal", "random"])
def test_a_later_batch_adds_to_what_is_labelled(
    tmp_path: Path, pool: list[Candidate], method: str
) -> None:
    first = _picked(_select(tmp_path, 12, "clusters"))
    outcome = _select(tmp_path, 4, method, labelled=first)
    later = _picked(outcome)
    assert outcome.result is not None
    assert len(later) == 4 and outcome.result["of"] == len(pool) - 12
    assert "forced" not in outcome.result["picked"]
    known = [item.atoms.positions.tobytes() + item.atoms.cell.array.tobytes() for item in first]
    assert not [
        item
        for item in later
        if item.atoms.positions.tobytes() + item.atoms.cell.array.tobytes() in known
    ]
    everything = _picked(_select(tmp_path, 99, method, labelled=first))
    assert len(everything) == len(pool) - 12
    nothing = _select(tmp_path, 4, method, labelled=pool).result
    assert nothing == {"candidates": [], "of": 0, "picked": {}}


def test_what_dft_could_not_label_is_not_picked_again(
    tmp_path: Path, pool: list[Candidate]
) -> None:
    first = _picked(_select(tmp_path, 12))
    outcome = _select(tmp_path, 99, labelled=first[:9], refused=first[9:])
    assert outcome.result is not None and outcome.result["of"] == len(pool) - 12
    names = {item.provenance.group for item in first}
    assert not [item for item in _picked(outcome) if item.provenance.group in names]
    assert _select(tmp_path, 4, refused=pool).result == {"candidates": [], "of": 0, "picked": {}}


def test_d_optimal_goes_by_the_rows_of_a_linear_ace(tmp_path: Path, pool: list[Candidate]) -> None:
    """The picks are those of the definition, from mean B-projections and not from SOAP."""
    labelled, free = pool[:5], pool[5:]  # the prototypes
    picked = _picked(_select(tmp_path, 6, "d_optimal", random_fraction=0.0, labelled=labelled))
    project = AceProjections(["Cu"])
    rows, existing = (
        np.array([project(item.atoms).mean(axis=0) for item in part]) for part in (free, labelled)
    )
    families = [item.provenance.strategy for item in free]
    expected = d_optimal_points(rows, 6, existing, families=families, most_per_family=2)
    positions = [item.atoms.positions.tobytes() for item in picked]
    assert positions[: len(expected)] == [
        free[index].atoms.positions.tobytes() for index in expected
    ]
    assert (
        len(expected) == 4
    )  # a fifth of six, rounded up, of each of two families; chance fills up


def test_select_without_candidates_is_a_failure(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "candidates.json").write_text("[]")
    outcome = _select(tmp_path, 5)
    assert outcome.failure is not None and outcome.failure.kind == "no_candidates"


@pytest.mark.parametrize("kind", ["metal", "semiconductor", "insulator"])
@pytest.mark.parametrize("max_atoms, labels", [(32, 30), (16, 12), (4, 30)])
def test_the_default_generation_is_sane(kind: str, max_atoms: int, labels: int) -> None:
    plan, reasons = default_generation(kind, max_atoms, [300.0, 1000.0], labels)
    items = [item for batch in plan.batches for item in batch]
    assert {item.name for item in items} <= set(generation.STRATEGIES)
    assert len(plan.batches) == 2
    assert 4 * labels <= sum(item.count for item in items) <= max(60, 9 * labels)
    assert all(int(item.options.get("max_atoms", 1)) <= max_atoms for item in items)
    forced = sum(item.count for item in items if item.name == "prototypes")
    assert forced <= labels / 2
    assert ("melt_quench" in {item.name for item in items}) == (kind != "insulator")
    assert all(reasons.values())


def test_what_is_proposed_suits_the_material() -> None:
    assert form_of({"Si": 1.0}) == "element"
    assert (
        form_of({"Na": 0.5, "Cl": 0.5})
        == form_of({"Na": 0.5, "Cl": 0.5}, "solid_solution")
        == "compound"
    )
    assert form_of({"Al": 0.9, "Cu": 0.1}, "solid_solution") == "solid_solution"
    assert form_of({"Al": 0.75, "Cu": 0.25}) == "compound"  # by formula: an ordered crystal
    assert form_of({"H": 2 / 3, "O": 1 / 3}, "molecule") == "molecule"
    crystal = {"prototypes", "strain", "rattle", "vacancy"}
    expected: dict[Form, set[str]] = {
        "element": crystal | {"thermal", "interstitial", "melt_quench"},
        "compound": crystal
        | {"thermal", "interstitial", "antisite", "normal_modes", "surface", "melt_quench"},
        "solid_solution": crystal
        | {"sqs", "random_substitution", "substitution", "thermal", "melt_quench"},
        "molecule": {
            "prototypes",
            "normal_modes",
            "rattle",
            "mc_rattle",
            "cluster",
            "thermal",
            "molecule_pair",
        },
    }
    for form, names in expected.items():
        plan, reasons = default_generation("metal", 32, [300.0, 900.0], 36, form)
        items = [item for batch in plan.batches for item in batch]
        assert {item.name for item in items} == names <= set(generation.STRATEGIES)
        assert 0.85 * 252 <= sum(item.count for item in items) <= 1.05 * 252
        assert {f"generation.batches.{name}" for name in names} <= set(reasons)
        assert not any("{" in reason for reason in reasons.values())


def test_an_element_costs_what_it_did_before() -> None:
    """Its mix is measured: the few interstitials come on top within the same seven candidates for
    each label.
    """
    plan, _ = default_generation("semiconductor", 32, [300.0, 900.0], 36)
    counts = [
        {item.name: (item.count, dict(item.options)) for item in batch} for batch in plan.batches
    ]
    assert counts == [
        {
            "prototypes": (6, {}),
            "strain": (60, {"max_atoms": 8}),
            "rattle": (50, {"max_atoms": 16}),
            "vacancy": (15, {"max_atoms": 16}),
            "thermal": (30, {"max_atoms": 16}),
            "interstitial": (4, {"max_atoms": 16}),
        },
        {"melt_quench": (86, {"max_atoms": 16})},
    ]
    assert sum(count for batch in counts for count, _ in batch.values()) <= 7 * 36


def test_more_candidates_come_in_the_same_shares() -> None:
    plan, _ = default_generation("metal", 16, [300.0], 15, "solid_solution")
    counts = np.array([item.count for batch in plan.batches for item in batch])
    large = scaled(plan, 2400)
    more = np.array([item.count for batch in large.batches for item in batch])
    assert 2400 <= more.sum() < 2400 + len(more)
    assert np.allclose(more / more.sum(), counts / counts.sum(), atol=0.005)
    assert scaled(plan, 5) == plan
