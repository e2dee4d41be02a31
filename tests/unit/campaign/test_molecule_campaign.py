"""The loop for a molecule: what is planned, what MD and DFT are asked for, a whole campaign by
simulated engines.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as g2_molecule
from ase.calculators.emt import EMT
from threadpoolctl import threadpool_limits
from world import World

from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.structures import atoms_from_json, atoms_to_json
from mlip_autopipec.base.tasks import Failure, Outcome
from mlip_autopipec.base.values import Json
from mlip_autopipec.commands.active_learning import run_campaign
from mlip_autopipec.config import cost
from mlip_autopipec.config.derive import derive
from mlip_autopipec.config.input import load_user_input
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.config.yaml import load_plan, write_plan
from mlip_autopipec.engines.dft.quantum_espresso.cost import START_S
from mlip_autopipec.science import molecule_at_rest as molecule
from mlip_autopipec.science.generation.context import BOX_MARGIN_A, in_a_box
from mlip_autopipec.science.generation.normal_modes import normal_modes
from mlip_autopipec.science.properties.molecule import MoleculeAtRest
from mlip_autopipec.testing import simulated_plan
from mlip_autopipec.testing.threads import Threads

TETRAHEDRON = Atoms(
    "Cu4", positions=np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 0.87
)


def planned(folder: Path, text: str) -> tuple[Plan, dict[str, str]]:
    path = folder / "input.yaml"
    path.write_text(text + "\n")
    return derive(load_user_input(path), cores=2)


def test_the_plan_of_a_molecule_knows_no_pressure_no_strain_and_no_cutout(tmp_path: Path) -> None:
    plan, reasons = planned(tmp_path, "molecule: ethanol\nbudget: {dft_calls: 32}")
    assert {condition.ensemble for condition in plan.exploration.conditions} == {"nvt"}
    assert plan.exploration.md_atoms == plan.embedding.max_dft_atoms == 9
    assert plan.validation.each == {"molecule": MoleculeAtRest(modes=3)}
    assert plan.validation.calls == 8
    assert plan.selection.initial_count + plan.validation.calls <= 32
    assert plan.training.trainer == "linear"
    assert 3.0 <= plan.training.settings.cutoff_a < 4.5
    assert plan.dft.method.isolated == plan.dft.label_method()["isolated"] == "martyna_tuckerman"
    names = {item.name for batch in plan.generation.batches for item in batch}
    assert "atoms_and_dimers" in names and "cluster" not in names
    data = plan.model_dump(mode="json")
    assert not {"eos_strains", "lattice_tolerance", "bulk_modulus_tolerance"} & set(
        data["validation"]
    )
    write_plan(plan, reasons, tmp_path / "plan.yaml")
    assert load_plan(tmp_path / "plan.yaml") == plan


def test_the_plan_of_a_crystal_is_what_it_was(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "material: Si")
    data = plan.model_dump(mode="json")
    assert set(data["validation"]) == {"eos_strains", "lattice_tolerance", "bulk_modulus_tolerance"}
    assert "isolated" not in data["dft"] and "isolated" not in plan.dft.label_method()
    assert plan.validation.calls == 9


def test_small_molecules_have_as_many_modes_as_they_can(tmp_path: Path) -> None:
    for name, modes in {"N2": 1, "H2O": 3, "CO2": 3}.items():
        assert planned(tmp_path, f"molecule: {name}")[0].validation.calls == 2 + 2 * modes
    assert (
        planned(tmp_path, "molecule: H2O")[0].embedding.max_dft_atoms == 6
    )  # a pair of them is cheap as well


def test_the_price_of_a_label_follows_its_box(tmp_path: Path) -> None:
    ethanol, water = (planned(tmp_path, f"molecule: {name}")[0] for name in ("ethanol", "H2O"))
    assert cost.label_cpu_s(ethanol.material, ethanol.dft, 9) == pytest.approx(
        38, rel=0.25
    )  # measured
    one, two = (cost.label_cpu_s(water.material, water.dft, atoms) for atoms in (3, 6))
    assert 2 * one < two + START_S < 4 * one
    assert cost.estimate(ethanol).label_cpu_s == {"9 atoms": pytest.approx(38, rel=0.25)}


# --- decisions
# --------------------------------------------------------------------------------------------------


def molecule_plan(**changes: Any) -> Plan:
    base = simulated_plan()
    quick = {"cutoff_a": 5.0, "functions_per_element": 10}
    training = {
        **base.training.model_dump(mode="json"),
        "fast_trainer": "linear",
        "trainer": "pacemaker",
        "settings": {**quick, "max_iterations": 5, "warm_iterations": 3},
        "fast_settings": quick,
    }
    conditions = [{"name": "300K", "ensemble": "nvt", "temperature_k": 300}]
    return simulated_plan(
        **{
            "material": {
                "formula": "Cu4",
                "fractions": {"Cu": 1.0},
                "kind": "molecule",
                "molecule": "Cu4",
            },
            "training": training,
            "exploration": {**base.exploration.model_dump(mode="json"), "conditions": conditions},
            "validation": {"modes": 2},
            **changes,
        }
    )


class MolecularWorld(World):
    """DFT pulls the first atom of the molecule by 1 eV/Å along x, the last one back."""

    start = in_a_box(TETRAHEDRON)
    modes = molecule.modes_to_json(normal_modes(start, EMT()))

    def answer(self, record: Any) -> Json:
        if record.task.kind == "generate":
            return {"ground_state": atoms_to_json(self.start), "accepted": 20, "modes": self.modes}
        if record.task.kind == "validate":
            found = {"geometry_rmsd_a": 0.01, "frequency_rmse_per_cm": 12.0, "molecule": {}}
            return {**found, **self.gate(record)}
        if record.task.kind == "label" and record.task.payload["purpose"] == "validate":
            forces = np.zeros((4, 3))
            forces[0, 0], forces[3, 0] = 1.0, -1.0
            return Label(-4.0, forces, None, "hash", 5, 1.0).to_json()
        return super().answer(record)


def test_a_molecule_is_validated_at_the_minimum_of_dft() -> None:
    world = MolecularWorld(molecule_plan())
    state = world.run()
    assert state.end is not None and state.end.end_state == "converged"
    found = [record.task.payload["candidate"] for record in state.labels("validate")]
    assert [item["provenance"]["strategy"] for item in found] == ["molecule_at_rest"] * 2 + [
        "vibration"
    ] * 4
    first, second = (atoms_from_json(item["atoms"]) for item in found[:2])
    assert first.positions == pytest.approx(world.start.positions)
    step = second.positions - first.positions
    assert (
        step[0, 0] > 0 > step[3, 0]
        and np.linalg.norm(step, axis=1).max() <= molecule.LONGEST_STEP_A + 1e-6
    )
    for plus, minus in (found[2:4], found[4:6]):
        middle = (
            atoms_from_json(plus["atoms"]).positions + atoms_from_json(minus["atoms"]).positions
        ) / 2
        assert middle == pytest.approx(second.positions, abs=1e-6)
    trained = {name for record in state.of_kind("train") for name in record.task.payload["labels"]}
    assert not trained & {record.task.id for record in state.labels("validate")}
    for record in state.of_kind("validate"):
        assert len(record.task.payload["labels"]["molecule"]) == 6
        assert record.task.payload["source"] in record.task.needs


def test_a_molecule_that_vibrates_wrongly_has_not_converged() -> None:
    class Wrong(MolecularWorld):
        def answer(self, record: Any) -> Json:
            found = super().answer(record)
            return (
                found | {"frequency_rmse_per_cm": 51.0} if record.task.kind == "validate" else found
            )

    world = Wrong(molecule_plan(budget={"dft_calls": 40, "wall_minutes": 60}))
    state = world.run()
    assert state.end is not None and state.end.end_state != "converged"
    assert "frequency_rmse_per_cm 51 1/cm against DFT, above 50 1/cm" in state.end.reason


def test_the_budget_of_a_molecule_keeps_room_for_its_validation() -> None:
    for calls in (15, 18, 25):
        world = MolecularWorld(molecule_plan(budget={"dft_calls": calls, "wall_minutes": 60}))
        world.unknown_until = 10**6
        state = world.run()
        assert state.end is not None and state.end.end_state == "budget_exhausted"
        assert state.dft_calls <= calls
        assert len(state.labels("validate")) == molecule_plan().validation.calls == 6
        assert state.of_kind("validate")


def test_what_dft_refuses_at_rest_frees_its_share_of_the_budget() -> None:
    def refuse(record: Any) -> Outcome | None:
        purpose = record.task.payload.get("purpose") if record.task.kind == "label" else None
        return Outcome(None, Failure("geometry", "refused")) if purpose == "validate" else None

    world = MolecularWorld(molecule_plan(budget={"dft_calls": 20, "wall_minutes": 60}), fail=refuse)
    world.unknown_until = 10**6
    state = world.run()
    assert state.end is not None and len(state.labels("validate")) == 1
    assert not state.of_kind("validate")
    assert state.dft_calls == 20


# --- a whole campaign
# -------------------------------------------------------------------------------------------------


def test_a_molecule_goes_through_the_whole_loop(tmp_path: Path) -> None:
    file = tmp_path / "cluster.xyz"
    ase.io.write(file, TETRAHEDRON)
    material = {
        "formula": "Cu4",
        "fractions": {"Cu": 1.0},
        "kind": "molecule",
        "structure_file": str(file),
    }
    base = simulated_plan(initial=8)
    exploration = {
        **base.exploration.model_dump(mode="json"),
        "run_ps": 0.4,
        "equilibration_ps": 0.1,
        "sample_every_ps": 0.1,
        "wait_s": 20.0,
        "md_atoms": 4,
        "conditions": [{"name": "300K", "ensemble": "nvt", "temperature_k": 300}],
    }
    plan = simulated_plan(
        material=material,
        exploration=exploration,
        validation={"modes": 3, "frequency_tolerance_per_cm": 20.0},
        embedding={**base.embedding.model_dump(mode="json"), "max_dft_atoms": 4},
        generation={
            "batches": [[{"name": "prototypes", "count": 1}, {"name": "normal_modes", "count": 16},
                         {"name": "rattle", "count": 8}]]
        },
    )  # fmt: skip
    root = tmp_path / "run"
    # A label is a process forked by one thread while another may be inside BLAS, whose own threads
    # do not survive that.
    with threadpool_limits(1):
        summary = run_campaign(plan, {}, root, executor=Threads(), tick_s=0.02)
    assert summary["end_state"] == "converged", summary["reason"]
    assert (
        summary["labels"]["validate"] == 8
        and summary["labels"]["masked"] == summary["cutouts"] == 0
    )
    # The potential is the DFT of this world, so that what is left is the numerics of minimum and
    # vibrations.
    assert summary["molecule"]["geometry_rmsd_a"] < 0.01
    assert summary["molecule"]["frequency_rmse_per_cm"] < 0.5
    surrogate = summary["molecule"]["frequencies_per_cm"]["surrogate"]
    assert summary["molecule"]["frequencies_per_cm"]["dft"] == pytest.approx(surrogate, rel=0.1)
    assert {item["name"]: item["met"] for item in summary["targets"]}[
        "geometry against our DFT (RMSD)"
    ]

    frames = ase.io.read(root / "result" / "training.extxyz", ":")
    origins = Counter(frame.info["strategy"] for frame in frames)
    assert (
        origins["md_frame"] > 0 and origins["vibration"] == 6 and origins["molecule_at_rest"] == 2
    )
    for frame in frames:
        assert len(frame) == 4 and not frame.pbc.any() and (frame.arrays["force_weight"] == 1).all()
        assert (
            frame.cell.lengths() - np.ptp(frame.positions, axis=0) >= 2 * BOX_MARGIN_A - 0.3
        ).all()
    page = (root / "result" / "report.html").read_text()
    assert "The molecule at rest" in page and "Cu-Cu" in page and "Equation of state" not in page
    data = (root / "result" / "structure.data").read_text()
    assert "4 atoms" in data.replace("\t", " ")  # the molecule alone, not a crystal of it
    assert (
        json.loads((root / "result" / "summary.json").read_text())["molecule"]["bonds_a"][0][
            "count"
        ]
        == 6
    )


def test_ethanol_of_the_examples_is_a_molecule_with_a_small_budget() -> None:
    path = Path(__file__).parents[3] / "examples" / "ethanol" / "input.yaml"
    plan, _ = derive(load_user_input(path), cores=2)
    assert plan.material.kind == "molecule"
    expected = cost.estimate(plan)
    assert expected.first_fit_calls <= plan.budget.dft_calls == 48
    assert expected.wall_minutes <= plan.budget.wall_minutes
    assert len(g2_molecule("CH3CH2OH")) == plan.embedding.max_dft_atoms
