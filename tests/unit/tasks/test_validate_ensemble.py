"""The validate task where the trainer resamples its fits, and where it is asked for the release
gate.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from test_validate_task import CUBE, PLAN, STRAINS, emt_energy_ev, write_label

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.structures import atoms_to_json
from mlip_autopipec.base.tasks import Outcome, Task, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.campaign.payloads import ValidatePayload
from mlip_autopipec.campaign.properties import property_values
from mlip_autopipec.engines.potential_folder import sign
from mlip_autopipec.science import release_gate
from mlip_autopipec.science.generation.context import in_a_box
from mlip_autopipec.science.properties.equation_of_state import strained_cells
from mlip_autopipec.science.properties.port import PropertyValue
from mlip_autopipec.science.properties.stored import comparisons
from mlip_autopipec.science.release_gate import Gate
from mlip_autopipec.tasks import validate
from mlip_autopipec.testing import SimulatedTrainer
from mlip_autopipec.testing.contracts.property import Stiffer

FACTORS = [0.9, 1.0, 1.1]


class Resampling(SimulatedTrainer):
    """Its resampled fits are stiffer and softer ones."""

    def ensemble(self, potential: Path) -> list[Calculator]:
        return [Stiffer(EMT(), factor) for factor in FACTORS]


class Lost(SimulatedTrainer):
    """Of its resampled fits one knows no crystal."""

    def ensemble(self, potential: Path) -> list[Calculator]:
        return [EMT(), EMT(), Stiffer(EMT(), -1.0)]


class Earlier(SimulatedTrainer):
    """The potential is from before its trainer resampled."""

    def ensemble(self, potential: Path) -> list[Calculator]:
        raise InputError("no resampled fits", file=potential)


def validated(root: Path, trainer: str, *, gate: bool = False) -> Outcome:
    """The potential of ``trainer`` against effective-medium theory."""
    names = [f"label-{number}" for number in range(len(STRAINS))]
    for name, atoms in zip(names, strained_cells(CUBE, STRAINS), strict=True):
        write_label(root, name, atoms, emt_energy_ev(atoms))
    alone = in_a_box(Atoms("Cu"))
    write_label(root, "atom", alone, emt_energy_ev(alone) + 0.1)
    generated = {"ground_state": atoms_to_json(CUBE), "accepted": 1}
    (root / "tasks" / "generate" / "attempt-1").mkdir(parents=True)
    write_json(root / "tasks/generate/attempt-1/outcome.json", Outcome(generated).to_json())
    potential = root / "potentials" / "000"
    potential.mkdir(parents=True)
    sign(potential, trainer, ["Cu"])
    asked = ValidatePayload(
        "potentials/000", {"equation_of_state": tuple(names)}, "generate", gate,
        ("atom",) if gate else (),
    )  # fmt: skip
    payload = asked.to_json()
    assert ValidatePayload.from_json(json.loads(json.dumps(payload))) == asked
    inputs = {name: f"tasks/{name}/attempt-1" for name in (*names, "atom", "generate")}
    folder = root / "tasks" / "validate" / "attempt-1"
    folder.mkdir(parents=True)
    task = Task("validate", payload, (*names, "generate"))
    return validate.run(TaskSpec(task, 1, str(root), payload, inputs), PLAN, folder)


def result_of(outcome: Outcome) -> Json:
    assert outcome.result is not None, outcome.failure
    read: Json = json.loads(json.dumps(outcome.result))
    return read


def test_every_number_has_the_spread_of_the_resampled_fits(tmp_path: Path) -> None:
    result = result_of(validated(tmp_path, f"{__name__}:Resampling"))
    lattice, modulus = property_values(PLAN, comparisons(result))
    assert modulus.dft is not None and modulus.spread is not None
    # B goes by the factors, whose standard deviation is 0.1; the volume by none of them.
    assert modulus.spread == pytest.approx(0.1 * modulus.dft, rel=1e-4)
    assert modulus.ensemble_mean == pytest.approx(modulus.dft, rel=1e-4)
    assert modulus.met and modulus.steady is False
    assert modulus.to_json()["steady"] is False
    assert lattice.spread == pytest.approx(0.0, abs=1e-6) and lattice.steady is True
    members = result["properties"]["equation_of_state"]["ensemble"]
    assert len(members) == 3 and all(member["details"] == {} for member in members)


def test_a_member_without_a_value_is_not_steady(tmp_path: Path) -> None:
    result = result_of(validated(tmp_path, f"{__name__}:Lost"))
    for value in property_values(PLAN, comparisons(result)):
        assert value.without_value == 1 and value.steady is False and value.met
        assert value.spread == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("trainer", [PLAN.training.trainer, f"{__name__}:Earlier"])
def test_a_potential_without_an_ensemble_says_nothing_of_steadiness(
    tmp_path: Path, trainer: str
) -> None:
    result = result_of(validated(tmp_path, trainer))
    assert "ensemble" not in result["properties"]["equation_of_state"] and "gate" not in result
    for value in property_values(PLAN, comparisons(result)):
        assert value.spread is None and value.steady is None and value.met


def test_steady_is_half_the_tolerance_of_each_kind() -> None:
    relative = PropertyValue("b", "B", "GPa", 0.05, 100.0, 100.0, spread=2.4)
    assert relative.steady is True and relative.spread_as_error == pytest.approx(0.024)
    assert PropertyValue("b", "B", "GPa", 0.05, 100.0, 100.0, spread=2.6).steady is False
    assert PropertyValue("b", "B", "GPa", 0.05, 100.0, None, spread=2.6).steady is None
    for kind in ("absolute", "alone"):
        assert PropertyValue("r", "R", "Å", 0.02, 0.0, 0.0, kind, spread=0.009).steady is True
        assert PropertyValue("r", "R", "Å", 0.02, 0.0, 0.0, kind, spread=0.011).steady is False


def test_the_gate_is_asked_for_and_stands_beside_the_properties(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def short(calculator: Calculator, *args: object, **changes: object) -> Gate:
        asked.update(start=args[0], elements=args[1], temperature_k=args[2], step_fs=args[3])
        asked.update(ps=changes["ps"])
        return release_gate.release_gate(calculator, *args, **{**changes, "ps": 0.02})  # type: ignore[arg-type]

    monkeypatch.setattr(validate, "release_gate", short)
    result = result_of(validated(tmp_path, PLAN.training.trainer, gate=True))
    gate = Gate.from_json(result["gate"])
    names = [check.name for check in gate.checks]
    assert names == ["md-10%", "md+0%", "md+10%", "dimer Cu-Cu", "free atom Cu"]
    assert gate.passed and result["gate"]["passed"] is True
    assert "-0.100 eV" in gate.checks[-1].text
    assert asked["temperature_k"] == 900 and tuple(asked["elements"]) == ("Cu",)  # type: ignore[arg-type]
    assert asked["ps"] == PLAN.exploration.run_ps, "as long as any other run"
    assert np.allclose(asked["start"].cell.array, CUBE.cell.array)  # type: ignore[attr-defined]
    assert comparisons(result)["equation_of_state"].dft is not None


def test_payloads_without_a_gate_are_what_they_were() -> None:
    payload = ValidatePayload("potentials/000", {"elastic": ("a",)}, "g").to_json()
    assert payload == {"potential": "potentials/000", "labels": {"elastic": ["a"]}, "source": "g"}
