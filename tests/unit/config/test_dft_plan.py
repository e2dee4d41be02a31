"""The dft section: every engine's own method, hashes that stay, earlier forms, unknown engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlip_autopipec import make_plan
from mlip_autopipec.base.errors import InputError
from mlip_autopipec.config.label_plan import read_plan
from mlip_autopipec.config.upgrade import upgraded, upgraded_reasons

STORED = Path(__file__).resolve().parents[2] / "fixtures" / "run_0.1" / "plan.json"
#: Of the labels of a silicon campaign that version 0.1 carried out.
SILICON_HASH = "0832aae97216"


def test_the_method_of_silicon_has_the_hash_of_labels_that_are_stored() -> None:
    assert make_plan(material="Si").dft.method_hash == SILICON_HASH


def test_a_plan_of_version_1_is_read_with_the_same_method() -> None:
    plan = read_plan(STORED)
    assert plan.dft.method_hash == SILICON_HASH
    assert plan.dft.method == make_plan(material="Si").dft.method
    assert (plan.dft.walltime_s, plan.dft.max_attempts) == (1800.0, 5)


def test_an_earlier_method_of_any_engine_moves_as_it_is() -> None:
    old: dict[str, Any] = {
        "version": 1,
        "kind": "labels",
        "dft": {"engine": "ase_calculator", "calculator": "a:B", "arguments": {}, "cores": 2},
    }
    assert upgraded(old, "plan.json")["dft"] == {
        "engine": "ase_calculator",
        "cores": 2,
        "method": {"calculator": "a:B", "arguments": {}},
    }


def test_reasons_of_earlier_plans_follow_their_keys() -> None:
    old = {"dft": "x", "dft.cutoff_ry": "a", "dft.walltime_s": "b", "seed": "c"}
    assert upgraded_reasons(old, 1) == {
        "dft": "x",
        "dft.method.cutoff_ry": "a",
        "dft.walltime_s": "b",
        "seed": "c",
    }
    assert upgraded_reasons({"dft.method.cutoff_ry": "a"}, 3) == {"dft.method.cutoff_ry": "a"}


@pytest.mark.parametrize(
    ("dft", "words"),
    [
        ({"engine": "quantum_expresso"}, "did you mean 'quantum_espresso'"),
        ({"engine": "no_such_module:Code"}, "no DFT engine at this place"),
        ({"engine": "ase_calculator"}, "dft.calculator: the engine ase_calculator needs"),
        ({"engine": "ase_calculator", "calculator": "a.b:C", "cutoff_ry": 30}, "dft.cutoff_ry: un"),
        ({"engine": "ase_calculator", "calculator": "a.b:C", "convergence": "check"}, "converge"),
    ],
)
def test_an_engine_that_cannot_be_is_one_line(dft: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        make_plan(material="Cu", dft=dft)
    assert "\n" not in str(caught.value)


def test_an_input_can_name_an_ase_calculator() -> None:
    calculator = "ase.calculators.emt:EMT"
    dft = make_plan(material="Cu", dft={"engine": "ase_calculator", "calculator": calculator}).dft
    assert dft.label_method()["calculator"] == calculator
    assert dft.method.kmesh is not None and dft.walltime_s == 1800.0
