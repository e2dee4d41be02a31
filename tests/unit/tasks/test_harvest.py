"""The harvest of MD frames: what is known stays out, what is absurd is refused, what is left is cut
and thinned.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list

from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.structures import Candidate, Provenance, atoms_to_json
from mlip_autopipec.base.tasks import Task, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines.ports import MdResult
from mlip_autopipec.engines.potential_folder import sign
from mlip_autopipec.tasks import harvest
from mlip_autopipec.testing import simulated_plan

POTENTIAL = "potentials/003-abc"


class ShortSighted(Calculator):  # type: ignore[misc]
    """Effective-medium forces; the grade is 10 per Å that the first shell is out of place."""

    implemented_properties: ClassVar[list[str]] = ["energy", "energies", "forces"]

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        inner = self.atoms.copy()
        inner.calc = EMT()
        i, d = neighbor_list("id", self.atoms, 3.0)
        strangeness = np.zeros(len(inner))
        np.maximum.at(strangeness, i, np.abs(d - 2.553))
        self.results = {
            "energy": inner.get_potential_energy(),
            "forces": inner.get_forces(),
            "gamma": 10 * strangeness,
        }


class ShortSightedTrainer:
    def calculator(self, potential: Path) -> Calculator:
        assert potential.name == "003-abc"
        return ShortSighted()


class Blind(EMT):  # type: ignore[misc]
    """A potential without extrapolation grades."""


class BlindTrainer:
    def calculator(self, potential: Path) -> Calculator:
        return Blind()


def plan_of(**embedding: Any) -> Plan:
    """The plan names another trainer than the one that made the potential."""
    plan = simulated_plan()
    data = plan.model_dump()
    data["embedding"] = {
        "max_dft_atoms": 32,
        "min_cutout_atoms": 1,
        "core_radius_a": 2.9,
        "buffer_a": 0.9,
        "environment_a": 3.0,
    } | embedding
    return Plan.model_validate(data)


def frame(seed: int, repeat: int = 3, sigma: float = 0.02, jolt: float = 0.5) -> Atoms:
    """A copper crystal at rest but for one atom that was pushed by ``jolt`` Å along a direction of
    its own.
    """
    atoms = bulk("Cu", "fcc", 3.61, cubic=True) * ((repeat,) * 3)
    atoms.rattle(sigma, seed=seed)
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=3)
    atoms.positions[rng.integers(len(atoms))] += jolt * direction / np.linalg.norm(direction)
    return atoms


def harvested(root: Path, frames: list[Atoms], count: int = 10, plan: Plan | None = None) -> Json:
    files = []
    for number, atoms in enumerate(frames):
        provenance = Provenance(
            "md", f"md-300K-0-{number}", {"step": 100 * number}, potential="001-old"
        )
        files.append(f"tasks/explore-1/attempt-1/candidates/{number}.json")
        write_json(
            root / files[-1],
            {**Candidate(atoms, provenance, gamma_max=8.0).to_json(), "gamma": [8.0]},
        )
    start = Candidate(bulk("Cu", "fcc", 3.61, cubic=True), Provenance("prototypes", "fcc"))
    write_json(root / "tasks/generate-1/attempt-1/start.json", [start.to_json()])
    sign(root / POTENTIAL, f"{__name__}:ShortSightedTrainer", ["Cu"])
    payload = {"batch": 0, "files": files, "potential": POTENTIAL, "count": count, "seed": 7}
    spec = TaskSpec(Task("harvest", payload), 1, str(root), payload)
    outcome = harvest.run(spec, plan or plan_of(), root)
    assert outcome.ok, outcome.failure
    assert outcome.result is not None
    return outcome.result


def test_large_frames_are_cut_with_a_core_around_the_strange_atom(tmp_path: Path) -> None:
    result = harvested(tmp_path, [frame(1)])
    assert (result["whole"], result["cutouts"]) == (0, len(result["candidates"]))
    assert result["candidates"]
    best = Candidate.from_json(result["candidates"][0])
    assert best.provenance.strategy == "cutout"
    assert best.provenance.group == "md-300K-0-0"
    assert best.provenance.potential == "003-abc"
    assert best.provenance.parameters["kind"] == "crystal"
    assert len(best.atoms) <= 32
    assert best.core is None  # a calm cell counts in full, and remembers its core
    assert 1 <= len(best.provenance.parameters["core"]) < len(best.atoms)
    parent, centre = frame(1), best.provenance.parameters["centre"]
    grades = ShortSighted()
    grades.calculate(parent)
    found, select = grades.results["gamma"], plan_of().exploration.gamma_select
    assert found[centre] == pytest.approx(found.max())
    told = best.provenance.parameters["error_of_limit"]
    assert told == pytest.approx(found.max() / select, abs=1e-4)
    assert best.gamma_max == 8.0, "what the stream said of the frame"


def test_small_frames_are_kept_whole(tmp_path: Path) -> None:
    result = harvested(tmp_path, [frame(1, repeat=2)])
    assert (result["whole"], result["cutouts"]) == (1, 0)
    whole = Candidate.from_json(result["candidates"][0])
    assert whole.core is None
    assert whole.provenance.strategy == "md_frame"
    np.testing.assert_allclose(whole.atoms.positions, frame(1, repeat=2).positions, atol=1e-7)


def test_what_the_current_potential_knows_is_left_out_whatever_the_stream_said(
    tmp_path: Path,
) -> None:
    result = harvested(tmp_path, [frame(1, jolt=0.0), frame(2)])
    reasons = [item["reason"] for item in result["skipped"]]
    assert reasons.count("already known") == 1
    assert all(item["provenance"]["group"] == "md-300K-0-1" for item in result["candidates"])


def test_unphysical_frames_are_refused(tmp_path: Path) -> None:
    crushed = frame(3)
    crushed.positions[1] = crushed.positions[0] + [1.2, 0.0, 0.0]
    result = harvested(tmp_path, [crushed])
    assert result["candidates"] == []
    assert "of its covalent distance" in result["skipped"][0]["reason"]


def test_the_count_is_kept_the_strangest_comes_first_and_copies_go(tmp_path: Path) -> None:
    frames = [
        frame(1, repeat=2),
        frame(1, repeat=2),
        frame(2, repeat=2, jolt=0.7),
        frame(3, repeat=2),
    ]
    result = harvested(tmp_path, frames, count=3)
    groups = [item["provenance"]["group"] for item in result["candidates"]]
    grades = [item["provenance"]["parameters"]["error_of_limit"] for item in result["candidates"]]
    assert len(groups) == 3
    assert grades[0] == max(grades)
    assert len({"md-300K-0-0", "md-300K-0-1"} & set(groups)) == 1
    assert len(harvested(tmp_path, frames, count=1)["candidates"]) == 1


def test_every_frame_is_accounted_for(tmp_path: Path) -> None:
    frames = [frame(seed) for seed in range(4)] + [frame(9, jolt=0.0)]
    result = harvested(tmp_path, frames, count=2)
    assert len(result["candidates"]) == 2
    named = {item["file"] for item in result["skipped"]} | {
        item["provenance"]["parent"] for item in result["candidates"]
    }
    assert len(named) == len(frames)


def test_environment_too_large_for_the_cell_is_reported_not_hidden(tmp_path: Path) -> None:
    result = harvested(tmp_path, [frame(1)], plan=plan_of(environment_a=7.0))
    assert result["candidates"] == []
    assert "only out to" in result["skipped"][0]["reason"]


def test_a_potential_without_grades_is_a_failure(tmp_path: Path) -> None:
    sign(tmp_path / POTENTIAL, f"{__name__}:BlindTrainer", ["Cu"])
    write_json(tmp_path / "a.json", Candidate(frame(1), Provenance("md", "g")).to_json())
    payload = {"batch": 0, "files": ["a.json"], "potential": POTENTIAL, "count": 3, "seed": 1}
    outcome = harvest.run(
        TaskSpec(Task("harvest", payload), 1, str(tmp_path), payload),
        plan_of(),
        tmp_path,
    )
    assert outcome.failure is not None
    assert outcome.failure.kind == "no_extrapolation_grade"


# --- visits: frames that a potential judges, and frames drawn by chance


class Calibrated(ShortSightedTrainer):
    """A trainer whose potentials know their error: 60 meV/Å for every 0.1 Å out of place."""

    def force_errors(self, potential: Path, structures: Sequence[Atoms]) -> list[np.ndarray]:
        assert potential.name == "003-abc"
        errors = []
        for atoms in structures:
            calculator = ShortSighted()
            calculator.calculate(atoms)
            errors.append(0.06 * calculator.results["gamma"])
        return errors


HOT = {"name": "npt-900K", "ensemble": "npt", "temperature_k": 900.0}


def visited(
    root: Path, frames: list[Atoms], *, clean: bool = True, potential: str = "003-abc"
) -> dict[str, str]:
    """An ended visit as MD leaves it; a line of an earlier potential comes first, a torn one
    last.
    """
    folder = root / "tasks/explore-9/attempt-1"
    payload = {"condition": HOT, "visit": 0, "seed": 5}
    write_json(folder / "spec.json", {"payload": payload})
    result = MdResult(potential, clean, samples=len(frames)).to_json()
    write_json(folder / "outcome.json", {"result": result, "failure": None})
    lines = [
        {
            "atoms": atoms_to_json(atoms),
            "step": 125 * number,
            "ps": 0.25 * number,
            "potential": name,
            "gamma_max": 1.5,
            "group": "md-of-this-visit",
        }
        for number, (name, atoms) in enumerate(
            [("002-older", frame(99, jolt=2.0)), *((potential, atoms) for atoms in frames)]
        )
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"atoms": {"numb'
    (folder / "samples.jsonl").write_text(text)
    return {"explore-9": "tasks/explore-9/attempt-1"}


def judged(
    root: Path, inputs: dict[str, str], *, count: int = 0, chance: int = 0, trainer: str = ""
) -> Json:
    start = Candidate(bulk("Cu", "fcc", 3.61, cubic=True), Provenance("prototypes", "fcc"))
    write_json(root / "tasks/generate-1/attempt-1/start.json", [start.to_json()])
    sign(root / POTENTIAL, f"{__name__}:{trainer or 'Calibrated'}", ["Cu"])
    payload = {
        "batch": 0,
        "files": [],
        "potential": POTENTIAL,
        "count": count,
        "seed": 7,
        "visits": ["explore-9"],
        "on_policy": {"npt-900K": chance},
    }
    task = Task("harvest", payload, tuple(inputs))
    outcome = harvest.run(TaskSpec(task, 1, str(root), payload, inputs), plan_of(), root)
    assert outcome.result is not None, outcome.failure
    return outcome.result


# An atom is unknown from 0.2 eV/Å on: twice the target.
CALM = [frame(seed, repeat=2, jolt=0.1) for seed in range(6)]
STRANGE = [frame(seed, repeat=2, jolt=0.6) for seed in (11, 12, 13)]


def test_frames_with_a_predicted_error_above_the_target_are_counted_and_labelled(
    tmp_path: Path,
) -> None:
    result = judged(tmp_path, visited(tmp_path, [*CALM, *STRANGE]), count=2)
    (told,) = result["explored"]
    assert (told["frames"], told["unknown"]) == (9, 3)
    assert told["complete"] is True
    assert told["condition"] == "npt-900K"
    assert told["worst_ev_per_a"] > 0.2 > told["force_error_ev_per_a"]
    found = [Candidate.from_json(item) for item in result["candidates"]]
    assert len(found) == 2
    strange = [atoms.positions for atoms in STRANGE]
    for candidate in found:
        assert any(np.allclose(candidate.atoms.positions, known) for known in strange)
        assert candidate.core is None
        assert candidate.provenance.group == "md-of-this-visit"
        assert candidate.provenance.potential == "003-abc"
        assert candidate.provenance.parameters["picked"] == "unknown"


def test_at_a_margin_twice_the_error_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HOT, "role", "margin")
    result = judged(tmp_path, visited(tmp_path, [*CALM, *STRANGE]), count=2)
    (told,) = result["explored"]
    assert told["worst_ev_per_a"] < 2 * 0.2
    assert (told["unknown"], result["candidates"]) == (0, [])


def test_frames_are_drawn_by_chance_whatever_the_potential_says_of_them(tmp_path: Path) -> None:
    result = judged(tmp_path, visited(tmp_path, [*CALM, *STRANGE]), chance=4)
    found = [Candidate.from_json(item) for item in result["candidates"]]
    assert len(found) == 4
    parameters = [item.provenance.parameters for item in found]
    assert {item["picked"] for item in parameters} == {"on_policy"}
    assert {item["condition"] for item in parameters} == {"npt-900K"}
    assert len({item["step"] for item in parameters}) == 4
    again = judged(tmp_path, visited(tmp_path, [*CALM, *STRANGE]), chance=4)
    assert again["candidates"] == result["candidates"]


def test_a_frame_that_was_drawn_and_is_unknown_is_labelled_once_as_drawn(tmp_path: Path) -> None:
    result = judged(tmp_path, visited(tmp_path, STRANGE), chance=3, count=3)
    picked = [item["provenance"]["parameters"]["picked"] for item in result["candidates"]]
    assert picked == ["on_policy"] * 3


@pytest.mark.parametrize(("clean", "potential"), [(False, "003-abc"), (True, "002-older")])
def test_a_run_that_broke_or_is_of_another_potential_is_not_complete(
    tmp_path: Path, clean: bool, potential: str
) -> None:
    result = judged(tmp_path, visited(tmp_path, CALM, clean=clean, potential=potential))
    (told,) = result["explored"]
    assert told["complete"] is False
    assert told["potential"] == "003-abc", "the one that judged"


def test_where_no_errors_are_predicted_the_grade_judges(tmp_path: Path) -> None:
    result = judged(tmp_path, visited(tmp_path, CALM), trainer="ShortSightedTrainer")
    limit = plan_of().exploration.gamma_select
    unknown = 0
    for atoms in CALM:
        calculator = ShortSighted()
        calculator.calculate(atoms)
        unknown += calculator.results["gamma"].max() > limit
    assert result["explored"][0]["unknown"] == unknown
