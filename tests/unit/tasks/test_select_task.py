"""The task that picks what is labelled: forced ones first, by the method of the plan, no twins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from test_generation_tasks import _candidates, _plan

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Outcome, Task, TaskSpec
from mlip_autopipec.base.values import content_hash
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.engines.train.pacemaker.projections import AceProjections
from mlip_autopipec.science.selection import d_optimal_points
from mlip_autopipec.tasks import select


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
        asked = LabelPayload({}, stored_candidate=item.to_json()).to_json()
        write_json(root / f"l{number}" / "spec.json", {"payload": asked})
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
