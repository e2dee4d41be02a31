"""Molecules: names, formulas, SMILES and files; each in a box, and what is no molecule is said
so.
"""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.collections import g2

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.config.derive import derive
from mlip_autopipec.config.input import load_user_input, material_of
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import Surrogate
from mlip_autopipec.science.generation import context, molecule_names, starts
from mlip_autopipec.science.generation.start_relaxation import one_by_one
from mlip_autopipec.science.kpoints import choose_grid


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("ethanol", "C2H6O"),
        ("Ethanol", "C2H6O"),
        ("H2O", "H2O"),
        ("water", "H2O"),
        ("CH3CH2OH", "C2H6O"),
        ("H2S", "H2S"),
        ("CO", "CO"),  # carbon monoxide, not the SMILES of methanol
        ("smiles:CO", "CH4O"),
        ("CCO", "C2H6O"),
        ("O", "H2O"),  # SMILES: a lone oxygen atom is no molecule
        ("c1ccccc1O", "C6H6O"),
    ],
)
def test_names_formulas_and_smiles(text: str, formula: str) -> None:
    found = molecule_names.one_geometry(text)
    assert found.get_chemical_formula() == formula
    assert dict(found.symbols.formula.count()) == molecule_names.formula_of(text)
    assert found.get_all_distances()[~np.eye(len(found), dtype=bool)].min() > 0.6


def test_every_word_stands_for_a_molecule_of_the_collection() -> None:
    assert {name for name in molecule_names.WORDS.values() if name not in g2.names} == set()


def test_a_molecule_stands_in_a_box_with_room_on_every_side() -> None:
    found = molecule_names.one_geometry("ethanol")
    assert not found.pbc.any()
    assert found.positions.min(axis=0) == pytest.approx(context.BOX_MARGIN_A)
    assert (found.cell.lengths() - found.positions.max(axis=0)) == pytest.approx(
        context.BOX_MARGIN_A
    )
    assert context.BOX_MARGIN_A >= 4.0


def test_smiles_gives_several_conformers_and_one_seed_the_same_ones() -> None:
    first = molecule_names.conformers("CCCCO", seed=3)
    again = molecule_names.conformers("CCCCO", seed=3)
    assert len(first) > 2
    assert all(np.allclose(a.positions, b.positions) for a, b in zip(first, again, strict=True))
    ends = [
        atoms.get_distance(0, 4) for atoms in first
    ]  # carbon to oxygen: stretched and folded chains
    assert max(ends) - min(ends) > 0.5
    assert len(molecule_names.conformers("CCCCO", seed=3, most=2)) == 2


def test_a_file_of_conformers(tmp_path: Path) -> None:
    path = tmp_path / "mine.xyz"
    ase.io.write(path, [molecule("CH3CH2OH"), molecule("CH3OCH3")])
    assert [
        atoms.get_chemical_formula() for atoms in molecule_names.conformers(str(path), seed=1)
    ] == ["C2H6O"] * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ethanl", "did you mean 'ethanol'"),
        ("no such thing", "SMILES"),
        ("C(C", "no such molecule"),
        ("[Na+].[Cl-]", "more than one molecule"),
        ("[NH4+]", "ion"),
    ],
)
def test_what_is_no_molecule_is_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        molecule_names.conformers(text, seed=1)
    assert caught.value.key == "molecule" and "\n" not in str(caught.value)


def _without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    real = builtins.__import__

    def guarded(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=package)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)


def test_smiles_without_rdkit_names_the_command_and_names_need_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _without(monkeypatch, "rdkit")
    with pytest.raises(MissingProgramError, match=r"pip install 'mlip-autopipec\[molecules\]'"):
        molecule_names.conformers("CCCCO", seed=1)
    assert len(molecule_names.one_geometry("ethanol")) == 9


# --- the surrogate
# --------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_gfn2_relaxes_water_to_its_geometry() -> None:
    surrogate = registry.surrogate("gfn2")
    assert isinstance(surrogate, Surrogate)
    assert surrogate.supports(["H", "C", "Rn"]) and not surrogate.supports(["U"])
    stretched = molecule("H2O")
    stretched.positions[1] *= 1.15

    class _Water:
        fractions: dict[str, float] = {"H": 2 / 3, "O": 1 / 3}  # noqa: RUF012
        kind, structure_file, molecule = "molecule", None, "H2O"

    [start] = starts.find(_Water(), one_by_one(surrogate.calculator()))
    found = start.candidate.atoms
    assert not found.pbc.any() and start.above_ev_per_atom == 0
    assert found.get_distance(0, 1) == pytest.approx(
        0.96, abs=0.01
    )  # measured: 0.958 Å and 104.5 degrees
    assert found.get_angle(1, 0, 2) == pytest.approx(104.5, abs=4)


@pytest.mark.real
def test_gfn2_forces_are_minus_the_gradient() -> None:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=1)
    atoms.calc = registry.surrogate("gfn2").calculator()
    forces = atoms.get_forces()
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[2, 1] += sign * 1e-3
        moved.calc = registry.surrogate("gfn2").calculator()
        energies.append(moved.get_potential_energy())
    assert forces[2, 1] == pytest.approx(-(energies[0] - energies[1]) / 2e-3, abs=5e-3)


def test_gfn2_without_tblite_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "tblite")
    with pytest.raises(MissingProgramError, match=r"pip install 'mlip-autopipec\[xtb\]'"):
        registry.surrogate("gfn2").calculator()


# --- from input to plan
# ---------------------------------------------------------------------------------------------


def _input(folder: Path, text: str) -> Path:
    path = folder / "input.yaml"
    path.write_text(text + "\n")
    return path


def test_a_molecule_is_enough_and_gets_a_plan_of_its_own(tmp_path: Path) -> None:
    user = load_user_input(_input(tmp_path, "molecule: ethanol"))
    material = material_of(user)
    assert (material.kind, material.formula, material.molecule) == ("molecule", "C2H6O", "ethanol")
    assert material.fractions == pytest.approx({"C": 2 / 9, "H": 6 / 9, "O": 1 / 9})
    plan, reasons = derive(user, cores=2)
    assert plan.surrogate.engine == "gfn2" and "molecules" in reasons["surrogate.engine"]
    assert {condition.ensemble for condition in plan.exploration.conditions} == {"nvt"}
    names = {item.name for batch in plan.generation.batches for item in batch}
    assert names and not names & {"strain", "vacancy", "melt_quench"}
    start = starts.proposals(plan.material)[0].atoms
    grid = choose_grid(
        start.cell.array, start.pbc, plan.dft.method.kspacing_per_a, plan.dft.method.kmesh_shifted
    )
    assert grid.gamma_only and not plan.dft.method.kmesh_shifted


def test_a_formula_that_is_a_molecule_needs_no_other_key(tmp_path: Path) -> None:
    for formula, kind in {
        "H2O": "molecule",
        "CO2": "molecule",
        "NaCl": "crystal",
        "SiC": "crystal",
    }.items():
        assert material_of(load_user_input(_input(tmp_path, f"material: {formula}"))).kind == kind
    assert material_of(load_user_input(_input(tmp_path, "material: C"))).kind == "crystal"


def test_a_molecule_from_a_file_beside_the_input(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "mine.xyz", molecule("C6H6"))
    material = material_of(load_user_input(_input(tmp_path, "molecule: mine.xyz")))
    assert (material.kind, material.formula, material.molecule) == ("molecule", "C6H6", None)
    assert material.structure_file == str(tmp_path / "mine.xyz")
    assert len(starts.proposals(material)[0].atoms) == 12


def test_a_misspelt_molecule_names_file_and_key(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"input\.yaml: molecule: no such molecule.*did you mean 'benzene'"
    ):
        load_user_input(_input(tmp_path, "molecule: benzen"))


def test_composition_is_a_solid_solution(tmp_path: Path) -> None:
    material = material_of(load_user_input(_input(tmp_path, "composition: {Al: 0.75, Cu: 0.25}")))
    assert (material.kind, material.formula) == ("solid_solution", "Al0.75Cu0.25")
    assert material_of(load_user_input(_input(tmp_path, "composition: {Si: 1}"))).kind == "crystal"
