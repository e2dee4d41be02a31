"""Whole campaigns with real fits, real LAMMPS and a quick calculator in the place of DFT: an
element, a compound with slabs, an alloy and a molecule. What a campaign pays for is learned or set
aside by name, and ends in a potential.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import quick_dft
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from threadpoolctl import threadpool_limits

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.structures import atoms_from_json
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.payloads import ExplorePayload
from mlip_autopipec.campaign.state import CampaignState, fold
from mlip_autopipec.commands.active_learning import run_campaign
from mlip_autopipec.config.derive import derive
from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines.ports import SAMPLES
from mlip_autopipec.engines.potential_folder import calculator_of
from mlip_autopipec.report.publishing import MANIFEST, contents
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.store import EventStore
from mlip_autopipec.testing.threads import Threads

pytestmark = pytest.mark.real

EMT = "ase.calculators.emt:EMT"
# Labels beyond the first and those of the validation: two or three rounds.
MORE_LABELS = 8
# Times the upper end of the 90 % interval: other frames, and few.
FACTOR = 2.0
#: Frames of MD at rest, and of cells a little out of shape.
CALM = ("rattle", "strain", "thermal", "md_frame")
FILES = {"summary.json", "report.html", "training.extxyz", "in.lammps", "structure.data"}


class Campaign:
    """A finished campaign in its run folder."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan = root, plan
        # A fit or a label is a process forked by one thread while another may be inside BLAS.
        with threadpool_limits(1):
            self.summary: Json = run_campaign(plan, {}, root, executor=Threads(), tick_s=0.02)
        store = EventStore(root / layout.DATABASE)
        self.state: CampaignState = fold(event for _, event in store.load())
        store.close()

    @property
    def learned(self) -> set[str]:
        """Names of the labels that the last potential learned or predicted."""
        rows = self.of_last("predictions.json")
        return {row["name"] for part in ("train", "test") for row in rows[part]}

    def of_last(self, name: str) -> Json:
        """A file of the last potential."""
        found: Json = read_json(self.root / self.state.potentials[-1].folder / name)
        return found

    @property
    def released(self) -> Calculator:
        """The potential that is handed out."""
        return calculator_of(layout.potentials_folder(self.root) / self.summary["released"])

    def teacher(self) -> Calculator:
        """What stands for DFT."""
        method = self.plan.dft.label_method()
        return quick_dft.calculator(method["calculator"], json.dumps(method["arguments"]))

    def unlabelled_frames(self) -> list[Atoms]:
        """Of the newest MD at the first asked condition, those that DFT was not asked for."""
        name = self.plan.exploration.conditions[0].name
        visits = [
            record
            for record in self.state.of_kind("explore")
            if record.status == "done" and record.asked(ExplorePayload).condition.name == name
        ]
        folder = self.root / layout.attempt_folder(visits[-1].task.id, len(visits[-1].attempts))
        lines = (folder / SAMPLES).read_text().splitlines()
        frames = [atoms_from_json(json.loads(line)["atoms"]) for line in lines]
        paid = [
            atoms_from_json(record.task.payload["candidate"]["atoms"]).positions
            for record in self.state.labels("train")
        ]
        return [
            frame
            for frame in frames
            if not any(np.array_equal(frame.positions, positions) for positions in paid)
        ]

    def kinds(self, key: str) -> dict[str, float]:
        """Kind of structure -> its cross-validated error."""
        return {row["name"]: row[key] for row in self.summary["cross_validation"]}


def small(
    asked: Json,
    strategies: list[Json],
    calculator: str,
    functions: int = 60,
    cutoff_a: float = 5.0,
) -> Plan:
    """The plan of an input with fewer candidates, labels, conditions and functions, shorter MD."""
    dft = {"engine": "quick_dft:InProcess", "calculator": calculator, **asked.pop("dft", {})}
    derived, _ = derive(UserInput.model_validate({**asked, "dft": dft}), cores=1)
    data = derived.model_dump(mode="json")
    conditions = data["exploration"]["conditions"]
    chosen = [one for one in conditions if one.get("role", "asked") == "asked"][:1]
    chosen += [one for one in conditions if one.get("start") == "slab"]
    chosen += [one for one in conditions if one.get("role") == "margin" and one not in chosen][:1]
    data["generation"] = {"batches": [strategies]}
    data["surrogate"] |= {"high_energy_structures": 12}
    data["exploration"] |= {
        "conditions": chosen,
        "md_atoms": min(8, data["exploration"]["md_atoms"]),
        "run_ps": 1.0,
        "equilibration_ps": 0.1,
        "sample_every_ps": 0.1,
        "wait_s": 60.0,
    }
    cutoff = data["training"]["settings"]["cutoff_a"]
    data["selection"] |= {"initial_count": 16, "batch_count": 3}
    data["training"]["settings"] |= {
        "functions_per_element": functions,
        "cutoff_a": min(cutoff_a, cutoff),
    }
    data["convergence"] |= {"on_policy_labels": 4}
    data["rules"] = {"on_policy_per_visit": 2, "most_audited": 1}
    calls = data["selection"]["initial_count"] + derived.validation.calls + MORE_LABELS
    # Minutes say nothing here: a busy machine must not end what a quick one does not.
    data["budget"] = {"dft_calls": calls, "wall_minutes": 600}
    return Plan.model_validate(data)


def complete(campaign: Campaign) -> None:
    """What holds of every campaign, whatever its material is."""
    summary, state, plan = campaign.summary, campaign.state, campaign.plan
    assert summary["end_state"] in ("converged", "budget_exhausted", "stalled"), summary["reason"]
    assert summary["potentials"] >= 1 and summary["released"]
    assert summary["dft_calls"] <= plan.budget.dft_calls

    # Every label was learned, or is set aside by name with a reason.
    done = {record.task.id for record in state.labels("train") if record.status == "done"}
    aside = campaign.of_last("metrics.json")["set_aside"]
    assert done <= campaign.learned | set(aside)
    assert all(aside.values()) and len(aside) <= 1
    for record in state.with_status("quarantined"):
        assert record.failures[-1].message

    # MD visited every condition.
    visited = {
        record.asked(ExplorePayload).condition.name
        for record in state.of_kind("explore")
        if record.status == "done"
    }
    assert visited == {condition.name for condition in plan.exploration.conditions}

    # The result folder is complete.
    present = set(contents(campaign.root / "result")) - {MANIFEST}
    assert present == set(summary["files"]) and present >= FILES
    stored = json.loads((campaign.root / "result" / "summary.json").read_text())
    assert [row["name"] for row in stored["conditions"]] == [
        condition.name for condition in plan.exploration.conditions
    ]
    asked = stored["conditions"][0]
    assert asked["n"] >= 2 and asked["frames"] > 0
    assert 0 < asked["force_rmse_mev_per_a"] <= asked["force_rmse_mev_per_a_high"]
    errors = campaign.kinds("force_rmse_mev_per_a")
    assert set(errors) & set(CALM)
    assert all(np.isfinite(errors[kind]) for kind in CALM if kind in errors)
    agrees(campaign, asked)


def agrees(campaign: Campaign, stated: Json) -> None:
    """The released potential is as good as the campaign says, on frames of MD that were never
    labelled, and free atoms cost what they cost.
    """
    frames = campaign.unlabelled_frames()
    assert len(frames) >= 3
    energies, forces = [], []
    for frame in frames:
        ours, theirs = (evaluated(frame, c) for c in (campaign.released, campaign.teacher()))
        energies.append((ours[0] - theirs[0]) / len(frame))
        forces.append(ours[1] - theirs[1])
    rms = np.sqrt(np.mean(np.concatenate(forces) ** 2))
    assert 1000 * rms < FACTOR * stated["force_rmse_mev_per_a_high"]
    rms = np.sqrt(np.mean(np.square(energies)))
    assert 1000 * rms < FACTOR * stated["energy_rmse_mev_per_atom_high"]


def free_atoms_cost_the_same(campaign: Campaign) -> None:
    for symbol in campaign.plan.material.elements:
        atom = Atoms(symbol, cell=[20.0] * 3, pbc=campaign.plan.material.kind != "molecule")
        ours, theirs = (evaluated(atom, c)[0] for c in (campaign.released, campaign.teacher()))
        assert ours == pytest.approx(theirs, abs=0.02)


def evaluated(atoms: Atoms, calculator: Calculator) -> tuple[float, np.ndarray]:
    """Energy in eV and forces in eV/Å."""
    probe = atoms.copy()
    probe.calc = calculator
    return float(probe.get_potential_energy()), probe.get_forces()


def strategy(name: str, count: int, **options: Any) -> Json:
    return {"name": name, "count": count, "options": options}


@pytest.mark.xdist_group("campaign-of-an-element")
def test_an_element(tmp_path: Path) -> None:
    strategies = [
        strategy("atoms_and_dimers", 5),
        strategy("prototypes", 4),
        strategy("strain", 10, max_atoms=4),
        strategy("rattle", 14, max_atoms=8),
        strategy("vacancy", 3, max_atoms=8),
    ]
    asked = {"material": "Cu", "surrogate": "mlip_autopipec.testing:SimulatedSurrogate"}
    campaign = Campaign(tmp_path / "Cu", small(asked, strategies, EMT))
    complete(campaign)
    errors = campaign.kinds("force_rmse_mev_per_a")
    assert max(errors[kind] for kind in CALM if kind in errors) < 200.0
    assert campaign.summary["conditions"][0]["force_rmse_mev_per_a"] < 50.0
    free_atoms_cost_the_same(campaign)
    constant = campaign.summary["lattice_constant_a"]
    assert constant["potential"] == pytest.approx(constant["dft"], rel=0.005)


@pytest.mark.xdist_group("campaign-of-a-compound")
def test_a_compound_with_slabs(tmp_path: Path) -> None:
    """Slabs are periodic in two directions, which python-ace knows not."""
    file = tmp_path / "MgO.extxyz"
    ase.io.write(file, bulk("MgO", "rocksalt", a=4.25))
    strategies = [
        strategy("prototypes", 4),
        strategy("strain", 8, max_atoms=4),
        strategy("rattle", 10, max_atoms=8),
        strategy("surface", 4, max_atoms=16),
    ]
    asked = {
        "structure": str(file),
        "surrogate": "chgnet",
        "strategies": [{"name": "surface", "count": 2}],
        "temperatures_k": 300,
    }
    target = "chgnet.model.dynamics:CHGNetCalculator"
    asked["dft"] = {"arguments": {"use_device": "cpu"}}
    before = quick_dft.calculator.cache_info().misses
    campaign = Campaign(tmp_path / "MgO", small(asked, strategies, target, 40, 4.5))
    assert quick_dft.calculator.cache_info().misses == before + 1
    complete(campaign)
    slabs = {
        record.task.id
        for record in campaign.state.labels("train")
        if record.status == "done" and mixed(record.task.payload["job"]["atoms"])
    }
    assert slabs and slabs <= campaign.learned
    assert any(c.start == "slab" for c in campaign.plan.exploration.conditions)
    assert np.isfinite(campaign.kinds("force_rmse_mev_per_a")["surface"])


def mixed(atoms: Json) -> bool:
    """Whether stored atoms are periodic in some directions only."""
    return len(set(atoms["pbc"])) == 2


@pytest.mark.xdist_group("campaign-of-an-alloy")
def test_an_alloy(tmp_path: Path) -> None:
    strategies = [
        strategy("atoms_and_dimers", 5),
        strategy("prototypes", 4),
        strategy("sqs", 6, max_atoms=8),
        strategy("random_substitution", 8, max_atoms=8),
        strategy("strain", 6, max_atoms=4),
        strategy("rattle", 8, max_atoms=8),
    ]
    asked = {
        "composition": {"Al": 0.75, "Cu": 0.25},
        "surrogate": "mlip_autopipec.testing:SimulatedSurrogate",
        "temperatures_k": 300,
    }
    campaign = Campaign(tmp_path / "AlCu", small(asked, strategies, EMT, 30, 4.5))
    complete(campaign)
    free_atoms_cost_the_same(campaign)
    elements = {tuple(sorted(set(frame.symbols))) for frame in training(campaign)}
    assert ("Al", "Cu") in elements and campaign.summary["labels"]["train"] >= 16


@pytest.mark.xdist_group("campaign-of-a-molecule")
def test_a_molecule(tmp_path: Path) -> None:
    strategies = [
        strategy("atoms_and_dimers", 5),
        strategy("prototypes", 1),
        strategy("normal_modes", 20),
        strategy("rattle", 8),
        strategy("mc_rattle", 4),
    ]
    asked = {
        "molecule": "H2O",
        "surrogate": "gfn2",
        "temperatures_k": 300,
        "dft": {"arguments": {"method": "GFN2-xTB", "verbosity": 0}},
    }
    campaign = Campaign(tmp_path / "H2O", small(asked, strategies, "tblite.ase:TBLite"))
    complete(campaign)
    free_atoms_cost_the_same(campaign)
    assert not any(frame.pbc.any() for frame in training(campaign))
    assert campaign.summary["molecule"]["geometry_rmsd_a"] < 0.1


def training(campaign: Campaign) -> list[Atoms]:
    frames = ase.io.read(campaign.root / "result" / "training.extxyz", ":")
    return [frame for frame in frames if frame.info["split"] in ("train", "test")]
