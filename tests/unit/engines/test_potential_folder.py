"""Who made a potential, asked of its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import write_json
from mlip_autopipec.engines.potential_folder import calculator_of, maker_of, sign


class EmtTrainer:
    def calculator(self, potential: Path) -> Calculator:
        return EMT()


class PairTrainer:
    def calculator(self, potential: Path) -> Calculator:
        return LennardJones()


def test_the_trainer_that_made_it_gives_the_calculator(tmp_path: Path) -> None:
    sign(tmp_path / "one", f"{__name__}:EmtTrainer", ["Cu"])
    sign(tmp_path / "other", f"{__name__}:PairTrainer", ["Cu"])
    assert type(calculator_of(tmp_path / "one")) is EMT
    assert type(calculator_of(tmp_path / "other")) is LennardJones


def test_the_record_goes_before_what_the_metrics_call_their_trainer(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {"trainer": "a fit of its own name"})
    assert maker_of(tmp_path) == "a fit of its own name"  # folders from before the record
    sign(tmp_path, "linear", ["Cu"])
    assert maker_of(tmp_path, otherwise="pacemaker") == "linear"


def test_a_folder_that_does_not_say_is_refused_or_taken_as_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"which trainer.*potential\.json"):
        maker_of(tmp_path)
    assert maker_of(tmp_path, otherwise="pacemaker") == "pacemaker"
