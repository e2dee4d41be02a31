"""``mlip-auto generate``: what a person sees and what a program reads, on one process and on
two.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.tasks import TaskSpec
from mlip_autopipec.base.typed import to_json
from mlip_autopipec.campaign import first_set
from mlip_autopipec.campaign.state import CampaignState
from mlip_autopipec.cli import main
from mlip_autopipec.commands.generate.input import generate
from mlip_autopipec.commands.generate.outputs import spacegroup
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.config.yaml import write_plan
from mlip_autopipec.proposing import strategies
from mlip_autopipec.proposing.pool import opened
from mlip_autopipec.science.generation import elements
from mlip_autopipec.tasks import generate as task
from mlip_autopipec.testing import simulated_plan

KEYS = {
    "formula",
    "n_atoms",
    "strategy",
    "spacegroup",
    "surrogate_energy_ev_per_atom",
    "parent",
    "name",
}


@pytest.fixture(autouse=True)
def _few_lattices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranking of all simple lattices has its own test."""
    monkeypatch.setattr(elements, "SIMPLE", ("bcc",))


def _plan(**changes: Any) -> Plan:
    batches = [
        [
            {"name": "prototypes", "count": 4},
            {"name": "strain", "count": 4, "options": {"max_atoms": 4}},
        ],
        [{"name": "rattle", "count": 6, "options": {"max_atoms": 8}}],
    ]
    return simulated_plan(generation={"batches": batches}, seed=3, **changes)


def test_every_structure_is_listed_with_what_a_program_needs(tmp_path: Path) -> None:
    summary = generate(_plan(), tmp_path / "out", cores=1)
    written = json.loads((tmp_path / "out" / "structures.json").read_text())
    assert written == to_json(summary)
    assert list(written) == [
        "formula", "kind", "surrogate", "starts", "structures", "strategies", "wall_s", "files",
    ]  # fmt: skip
    first = summary.starts[0]
    assert (first.formula, first.n_atoms, first.spacegroup) == ("Cu", 1, "Fm-3m (225)")
    assert (first.prototype, first.near) == ("fcc", True)
    assert summary.structures[0].strategy == "start"
    assert all(set(row) == KEYS for row in written["structures"])
    assert all(
        set(row) == KEYS | {"prototype", "above_ev_per_atom", "near"} for row in written["starts"]
    )
    made = [row for row in summary.structures if row.strategy != "start"]
    counts = summary.strategies
    assert {name: row.proposed for name, row in counts.items()} == {
        "prototypes": 4,
        "strain": 4,
        "rattle": 6,
    }
    for name, row in counts.items():
        assert row.accepted == sum(item.strategy == name for item in made)
        assert row.accepted + sum(row.rejected.values()) == row.proposed
    frames = ase.io.read(tmp_path / "out" / "candidates.extxyz", index=":")
    assert len(frames) == len(made)
    for atoms, item in zip(frames, made, strict=True):
        assert atoms.info["strategy"] == item.strategy and len(atoms) == item.n_atoms
        atoms.calc = EMT()
        assert atoms.get_potential_energy() / len(atoms) == pytest.approx(
            item.surrogate_energy_ev_per_atom, abs=1e-4
        )
    picture = (tmp_path / "out" / "structures.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000


def test_the_candidates_are_those_of_the_campaign(tmp_path: Path) -> None:
    plan = _plan()
    summary = generate(plan, tmp_path / "out", cores=1)
    campaign: list[str] = []
    for number, job in enumerate(first_set.generate(plan, CampaignState())):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert task.run(TaskSpec(job, 1, str(tmp_path), job.payload), plan, folder).ok
        made = [
            Candidate.from_json(item)
            for item in json.loads((folder / "candidates.json").read_text())
        ]
        campaign += [item.provenance.group for item in made]
    assert campaign == [row.name for row in summary.structures if row.strategy != "start"]


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    one, two = (generate(_plan(), tmp_path / str(cores), cores=cores) for cores in (1, 2))
    assert replace(one, wall_s=0.0, files={}) == replace(two, wall_s=0.0, files={})


def test_only_starts_when_that_is_asked(tmp_path: Path) -> None:
    summary = generate(_plan(), tmp_path, starts_only=True, cores=1)
    assert summary.strategies == {} and not (tmp_path / "candidates.extxyz").exists()
    assert [row.strategy for row in summary.structures] == ["start"] * len(summary.starts)


def test_a_wrong_strategy_writes_nothing(tmp_path: Path) -> None:
    plan = simulated_plan(generation={"batches": [[{"name": "ratle", "count": 3}]]})
    with pytest.raises(InputError, match="did you mean 'rattle'"):
        generate(plan, tmp_path / "out", cores=1)
    assert not (tmp_path / "out").exists()


def test_spacegroups() -> None:
    assert spacegroup(bulk("Si")) == "Fd-3m (227)"
    assert spacegroup(bulk("NaCl", "rocksalt", a=5.6, cubic=True)) == "Fm-3m (225)"
    assert spacegroup(molecule("H2O", vacuum=3)) is None


def _square(atoms: Atoms, _calculator: object) -> int:
    return len(atoms) ** 2


def _boom(atoms: Atoms, _calculator: object) -> int:
    raise InputError("no such thing")


def test_the_pool_keeps_the_order_and_tells_progress() -> None:
    told: list[tuple[str, float]] = []
    structures = [bulk("Cu") * (n, 1, 1) for n in (3, 1, 4, 2)]
    with opened(_plan(), 2, lambda what, share: told.append((what, share))) as pool:
        assert pool.processes == 2
        assert pool.evaluate("squares", _square, structures) == [9, 1, 16, 4]
    shares = [share for what, share in told if what == "squares"]
    assert shares[0] == 0 and shares == sorted(shares) and shares[-1] == 1
    with (
        pytest.raises(InputError, match="no such thing"),
        opened(_plan(), 2, lambda *_: None) as pool,
    ):
        pool.evaluate("boom", _boom, structures)


def test_the_command_prints_tables_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    write_plan(_plan(), {}, tmp_path / "plan.yaml")

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as left:
            main.main(["generate", "plan.yaml", "--cores", "1", *words])
        assert not left.value.code
        return capsys.readouterr().out

    table = run()
    assert re.search(r"Cu\s+1\s+Fm-3m \(225\)\s+fcc", table)
    assert re.search(r"strain\s+4\s+\d", table)
    assert (tmp_path / "generated" / "copper" / "structures.png").exists()
    content = json.loads(run("--json", "--starts-only", "--out", "here"))
    assert content["starts"][0]["formula"] == "Cu"
    assert (tmp_path / "here" / "starts.extxyz").exists()


def test_a_surrogate_that_lacks_an_element_leaves_geometry_alone(tmp_path: Path) -> None:
    plan = _plan(material={"formula": "Si", "fractions": {"Si": 1.0}})
    assert not strategies.surrogate_knows(plan)
    summary = generate(plan, tmp_path, cores=1)
    assert summary.starts[0].formula == "Si"
    assert all(row.surrogate_energy_ev_per_atom is None for row in summary.structures)
    assert summary.strategies["rattle"].accepted > 0
