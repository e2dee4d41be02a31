"""Labels by an ASE calculator: its method, the options that name it, and real ones through the
command line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from ase.units import Hartree

from mlip_autopipec import DFTFactory, Label, make_plan
from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.base.problems import validate
from mlip_autopipec.base.values import content_hash
from mlip_autopipec.cli.main import main
from mlip_autopipec.commands.dft import label_atoms
from mlip_autopipec.commands.label.method import derive_dft
from mlip_autopipec.commands.label.options import Options, parse_arguments
from mlip_autopipec.commands.label.plan import plan_for
from mlip_autopipec.config.dft_plan import DftPlan

ENGINE, EMT_PATH = "ase_calculator", "ase.calculators.emt:EMT"
METHOD: dict[str, Any] = {
    "calculator": "tblite.ase:TBLite", "arguments": {"method": "GFN2-xTB"},
    "calculator_version": "tblite 0.8.0", "spin_polarized": False, "starting_moments": {},
}  # fmt: skip


def wanted(**changes: Any) -> dict[str, Any]:
    return {"engine": ENGINE, "method": {**METHOD, **changes}}


def run_cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended_with:
        main([*words, "--json"])
    return int(ended_with.value.code or 0), json.loads(capsys.readouterr().out)


# --- the method


def test_a_calculator_needs_none_of_the_keys_of_plane_waves_and_keeps_none() -> None:
    plan = DftPlan.model_validate(wanted())
    assert plan.label_method() == {"engine": ENGINE, **METHOD}
    written = plan.model_dump(mode="json")
    assert set(written["method"]) == set(METHOD)
    assert DftPlan.model_validate(written) == plan


def test_calculator_arguments_and_version_are_the_method() -> None:
    plan = DftPlan.model_validate(wanted())
    for change in ({"arguments": {"method": "GFN1-xTB"}}, {"calculator_version": "tblite 0.9.0"},
                   {"starting_moments": {"O": 1.0}}, {"calculator": EMT_PATH}):  # fmt: skip
        assert DftPlan.model_validate(wanted(**change)).method_hash != plan.method_hash
    assert DftPlan.model_validate({**wanted(), "walltime_s": 60}).method_hash == plan.method_hash


def test_what_only_a_calculator_has_is_no_part_of_a_plane_wave_method() -> None:
    for plan in (
        make_plan(material="Fe").dft,
        plan_for([bulk("Si"), molecule("H2O"), bulk("Fe")]).dft,
    ):
        assert set(plan.label_method()) == {
            "engine",
            "functional",
            "pseudo_family",
            "pseudos",
            "pseudo_sha256",
            "cutoff_ry",
            "rho_cutoff_ry",
            "kspacing_per_a",
            "kmesh_shifted",
            "occupations",
            "smearing",
            "degauss_ry",
            "spin_polarized",
            "starting_moments",
            "conv_thr_ry_per_atom",
        }
        assert plan.method_hash == content_hash(plan.label_method())
        assert "calculator" not in plan.model_dump()["method"]


def test_keys_of_the_other_engine_and_missing_ones_are_one_clear_line() -> None:
    silicon = make_plan(material="Si").dft.model_dump(mode="json")["method"]
    cases = [
        (wanted(cutoff_ry=30), "method.cutoff_ry: unknown key"),
        (wanted(calculator=None), "method.calculator: calculator is missing"),
        ({"method": {**silicon, "calculator": EMT_PATH}}, "method.calculator: unknown key"),
        ({"engine": "ase_calculater", "method": METHOD}, "did you mean 'ase_calculator'"),
        *(
            (
                {"method": {key: value for key, value in silicon.items() if key != gone}},
                f"method.{gone}: is missing",
            )
            for gone in (
                "functional",
                "smearing",
                "degauss_ry",
                "spin_polarized",
                "starting_moments",
            )
        ),
    ]
    for data, words in cases:
        with pytest.raises(InputError, match=words) as caught:
            validate(DftPlan, data, "plan.yaml")
        assert len(str(caught.value)) < 200


def test_spin_is_derived_for_calculators_too() -> None:
    oxygen = derive_dft([molecule("O2")], engine=ENGINE, wishes={"calculator": EMT_PATH}).dft.method
    assert (oxygen.spin_polarized, oxygen.starting_moments) == (True, {"O": 1.0})
    assert oxygen.calculator_version is not None and oxygen.calculator_version.startswith("ase ")


# --- options


def test_arguments_are_json_where_they_can_be() -> None:
    given = [
        "method=GFN2-xTB",
        "accuracy=0.1",
        "kpts=[2, 2, 2]",
        "asap_cutoff=True",
        "solvent=null",
        "label=a=b",
    ]
    assert parse_arguments(given) == {
        "method": "GFN2-xTB",
        "accuracy": 0.1,
        "kpts": [2, 2, 2],
        "asap_cutoff": True,
        "solvent": None,
        "label": "a=b",
    }
    with pytest.raises(InputError, match="--argument"):
        parse_arguments(["GFN2-xTB"])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (
            {"engine": ENGINE},
            InputError,
            "--calculator: the engine ase_calculator needs a calculator",
        ),
        ({"calculator": "EMT"}, InputError, "module:attribute"),
        ({"calculator": "ase.calculators.emt:EMTT"}, InputError, "cannot be made.*EMTT"),
        (
            {"calculator": "no_such_package_here:Calc"},
            MissingProgramError,
            "pip install no_such_package_here",
        ),
        (
            {"calculator": EMT_PATH, "engine": "quantum_espresso"},
            InputError,
            "--calculator: the engine quantum_espresso takes no calculator",
        ),
        ({"calculator": EMT_PATH, "family": "PseudoDojo"}, InputError, "--family"),
        (
            {"calculator": EMT_PATH, "settings": {"cutoff_ry": 30}},
            InputError,
            "--set cutoff_ry: unknown setting",
        ),
        (
            {"calculator": EMT_PATH, "settings": {"calculator": "x:y"}},
            InputError,
            "unknown setting",
        ),
    ],
)
def test_a_calculator_that_cannot_be_used_is_refused_before_anything_is_written(
    options: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        label_atoms([bulk("Cu")], tmp_path / "dft", Options(cores=1, **options))
    assert not (tmp_path / "dft").exists()


# --- real calculators


def copper(count: int) -> list[Atoms]:
    cells = []
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        cells.append(atoms)
    return cells


def test_the_command_line_labels_with_an_ase_calculator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells, out = copper(2), tmp_path / "dft"
    write(tmp_path / "cu.extxyz", cells)
    words = ("dft", str(tmp_path / "cu.extxyz"), "--out", str(out), "--cores", "2")
    code, summary = run_cli(
        capsys, *words, "--calculator", EMT_PATH, "--argument", "asap_cutoff=false"
    )
    assert (code, summary["labelled"]) == (0, 2), summary
    assert summary["method"]["arguments"] == {"asap_cutoff": False}
    for frame, cell in zip(read(out / "labels.extxyz", ":"), cells, strict=True):
        cell.calc = EMT()
        assert frame.get_potential_energy() == pytest.approx(cell.get_potential_energy(), abs=1e-6)
        assert frame.get_forces() == pytest.approx(cell.get_forces(), abs=1e-6)
        assert frame.get_stress() == pytest.approx(cell.get_stress(), abs=1e-8)
    assert "cutoff_ry" not in (out / "parameters.yaml").read_text()
    # The folder knows its calculator, and takes no other.
    assert run_cli(capsys, *words)[1]["method_hash"] == summary["method_hash"]
    for other in (
        ("--argument", "asap_cutoff=true"),
        ("--calculator", "ase.calculators.lj:LennardJones"),
        ("--engine", "quantum_espresso"),
    ):
        code, answer = run_cli(capsys, *words, *other)
        assert code == 2 and "was begun with" in answer["error"]["message"], answer


def test_tight_binding_labels_a_water_molecule(tmp_path: Path) -> None:
    water = molecule("H2O")
    water.positions[1] += [0.0, 0.05, 0.0]
    factory = DFTFactory.for_structures(
        [water], calculator="tblite.ase:TBLite", arguments={"method": "GFN2-xTB", "verbosity": 0}
    )
    label = factory.run_calculation(water, folder=tmp_path)
    assert isinstance(label, Label), label
    # GFN2-xTB (Bannwarth et al., J. Chem. Theory Comput. 15, 1652, 2019) puts relaxed water at
    # -5.070 Hartree.
    assert label.energy_ev == pytest.approx(-5.07 * Hartree, abs=0.15)
    assert np.abs(label.forces.sum(axis=0)).max() < 1e-4
    assert label.forces[1, 1] < -0.5, "the stretched bond does not pull its atom back"
    assert label.stress is None and label.method_hash == factory.plan.dft.method_hash
