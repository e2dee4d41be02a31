"""Silicon with the real CHGNet: generate, then select (about 30 s of CPU)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlip_autopipec.base.structures import Candidate, atoms_from_json
from mlip_autopipec.base.tasks import Task, TaskSpec
from mlip_autopipec.tasks import generate, select
from mlip_autopipec.testing import simulated_plan

STRATEGIES = [
    {"name": "prototypes", "count": 6, "options": {}},
    {"name": "strain", "count": 12, "options": {"max_atoms": 8}},
    {"name": "rattle", "count": 8, "options": {"max_atoms": 16}},
    {"name": "vacancy", "count": 3, "options": {"max_atoms": 16, "relax_steps": 5}},
    {"name": "melt_quench", "count": 18, "options": {"max_atoms": 8, "every_steps": 5}},
]


@pytest.mark.real
def test_silicon_candidates_and_first_batch(tmp_path: Path) -> None:
    plan = simulated_plan(
        goal="crystal",
        material={"formula": "Si", "fractions": {"Si": 1.0}},
        surrogate={"engine": "chgnet"},
    )
    task = Task("generate", {"batch": 0, "strategies": STRATEGIES, "seed": 3})
    folder = tmp_path / "generate"
    folder.mkdir()
    outcome = generate.run(TaskSpec(task, 1, str(tmp_path), task.payload), plan, folder)
    assert outcome.ok and outcome.result is not None
    ground = atoms_from_json(outcome.result["ground_state"])
    assert len(ground) == 8  # diamond won against fcc, bcc, hcp and sc
    assert ground.cell.cellpar() == pytest.approx([5.465] * 3 + [90] * 3, abs=0.02)
    assert outcome.result["accepted"] > 40
    assert not outcome.result["geometry_only"]
    candidates = [
        Candidate.from_json(item) for item in json.loads((folder / "candidates.json").read_text())
    ]

    # A silicon melt is metallic and denser in neighbours than the crystal's four within 2.8 A.
    def coordination(strategy: str) -> float:
        counted = []
        for item in candidates:
            if item.provenance.strategy == strategy and len(item.atoms) == 8:
                distances = item.atoms.repeat((2, 2, 2)).get_all_distances(mic=True)
                counted.append(((distances > 0.1) & (distances < 2.9)).sum(axis=1).mean())
        return float(np.mean(counted))

    assert coordination("rattle") == pytest.approx(4.0, abs=0.3)
    assert coordination("melt_quench") > 4.2

    task = Task(
        "select", {"count": 16, "method": "fps", "random_fraction": 0.33, "seed": 3}, needs=("g",)
    )
    picked = select.run(
        TaskSpec(task, 1, str(tmp_path), task.payload, {"g": "generate"}), plan, tmp_path
    )
    assert picked.result is not None
    chosen = [Candidate.from_json(item) for item in picked.result["candidates"]]
    assert len(chosen) == 16
    assert {item.provenance.strategy for item in chosen} == {item["name"] for item in STRATEGIES}
    assert sum(item.forced for item in chosen) == 6
