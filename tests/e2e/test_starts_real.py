"""Start structures with the real CHGNet: the known ground states come first (about 15 s of CPU)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.calculators.calculator import Calculator

from mlip_autopipec.cli import main
from mlip_autopipec.commands.generate.outputs import spacegroup
from mlip_autopipec.config.plan import Material
from mlip_autopipec.engines import registry
from mlip_autopipec.science.generation import starts
from mlip_autopipec.science.generation.start_relaxation import one_by_one

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def calculator() -> Calculator:
    return registry.surrogate("chgnet").calculator()


@pytest.mark.parametrize("formula", ["NaCl", "SiC"])
def test_the_known_crystal_of_a_compound_is_the_lowest(
    monkeypatch: pytest.MonkeyPatch, calculator: Calculator, formula: str
) -> None:
    monkeypatch.setattr(
        starts, "MAX_PROTOTYPE_ATOMS", 2
    )  # rock salt, zincblende, CsCl and five more
    one, other = ("Na", "Cl") if formula == "NaCl" else ("Si", "C")
    found = starts.find(
        Material(formula=formula, fractions={one: 0.5, other: 0.5}), one_by_one(calculator)
    )
    assert (
        spacegroup(found[0].candidate.atoms)
        == {"NaCl": "Fm-3m (225)", "SiC": "F-43m (216)"}[formula]
    )
    side = (4 * found[0].candidate.atoms.get_volume()) ** (1 / 3)
    assert side == pytest.approx({"NaCl": 5.69, "SiC": 4.38}[formula], rel=0.02)  # PBE
    assert found[1].above_ev_per_atom is not None and found[1].above_ev_per_atom > 0.005


def test_iron_is_bcc_from_one_line_of_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input.yaml").write_text("material: Fe\n")
    with pytest.raises(SystemExit) as left:
        main.main(["generate", "input.yaml", "--starts-only", "--json", "--cores", "1"])
    assert not left.value.code
    content = json.loads(capsys.readouterr().out)  # nothing but JSON
    assert content["starts"][0]["spacegroup"] == "Im-3m (229)"
    assert content["starts"][0]["prototype"] == "bcc"
