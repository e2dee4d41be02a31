"""The input of CP2K, and the method behind it, from small data files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.engines.dft.cp2k import data, method, programs
from mlip_autopipec.engines.dft.cp2k.engine import Cp2k
from mlip_autopipec.engines.dft.cp2k.inputs import write_input
from mlip_autopipec.engines.dft.cp2k.method import Wishes
from mlip_autopipec.engines.dft_port import CellSize
from mlip_autopipec.science.label_set import label_set_of

DATA = Path(__file__).parents[3] / "fixtures" / "cp2k" / "data"


@pytest.fixture(autouse=True)
def small_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(programs.DATA_VARIABLE, str(DATA))


def job(atoms: Atoms, **wishes: object) -> LabelJob:
    derived = method.derive(label_set_of([atoms]), Wishes.model_validate(wishes)).method
    return LabelJob(atoms, {"engine": "cp2k", **derived.model_dump(mode="json")})


def values(text: str, keyword: str) -> list[str]:
    """What follows a keyword, wherever it stands."""
    lines = [line.split(None, 1) for line in text.splitlines()]
    return [words[1] for words in lines if len(words) == 2 and words[0] == keyword]


def test_a_crystal_gets_its_cell_atoms_and_kpoints_as_they_are() -> None:
    atoms = bulk("Si", a=5.43)
    atoms.rattle(0.1, seed=1)
    text = write_input(job(atoms, kspacing_per_a=1.0), max_seconds=600)
    cell = [[float(x) for x in values(text, axis)[0].split()] for axis in "ABC"]
    assert np.allclose(cell, atoms.cell.array, atol=1e-11)
    positions = [[float(x) for x in row.split()] for row in values(text, "Si")]
    assert np.allclose(positions, atoms.positions, atol=1e-11)
    points = np.array([[float(x) for x in row.split()] for row in values(text, "KPOINT")])
    assert np.allclose(points[:, :3] % 0.5, 0.25) and points[:, 3].sum() == pytest.approx(1.0)
    assert values(text, "STRESS_TENSOR") == ["ANALYTICAL"] and "&STRESS_TENSOR ON" in text
    assert values(text, "WALLTIME") == ["570"]
    assert "UKS" not in text


def test_one_point_at_gamma_needs_no_kpoints() -> None:
    text = write_input(
        job(bulk("Si", cubic=True), kspacing_per_a=2.0, kmesh_shifted=False), max_seconds=600
    )
    assert "KPOINTS" not in text


def test_a_given_mesh_wins() -> None:
    atoms = bulk("Si")
    asked = job(atoms, kmesh_shifted=False)
    text = write_input(LabelJob(atoms, asked.method, {}, (1, 1, 2)), max_seconds=600)
    assert [row.split()[2] for row in values(text, "KPOINT")] == [
        "0.000000000000",
        "0.500000000000",
    ]


def test_an_odd_number_of_electrons_is_calculated_with_spin() -> None:
    text = write_input(job(bulk("Al")), max_seconds=600)
    assert values(text, "UKS") == ["T"] and values(text, "MULTIPLICITY") == ["2"]
    assert "UKS" not in write_input(job(bulk("Al") * (2, 1, 1)), max_seconds=600)


def test_moments_start_the_density_and_the_multiplicity_has_the_parity_of_the_electrons() -> None:
    oxygen = Atoms("O2", [[4, 4, 4], [4, 4, 5.2]], cell=[8, 8, 9])
    text = write_input(job(oxygen, starting_moments={"O": 1.0}), max_seconds=600)
    assert values(text, "MULTIPLICITY") == ["3"] and values(text, "MAGNETIZATION") == ["1.0"]
    assert values(text, "ADDED_MOS") == ["-1 -1"]
    odd = write_input(job(oxygen, starting_moments={"O": 0.6}), max_seconds=600)
    assert values(odd, "MULTIPLICITY") == ["1"]
    assert "UKS" not in write_input(
        job(oxygen, starting_moments={"O": 1.0}, spin_polarized=False), max_seconds=600
    )


def test_a_molecule_has_no_stress() -> None:
    text = write_input(job(Atoms("O2", [[4, 4, 4], [4, 4, 5.2]], cell=[8, 8, 9])), max_seconds=600)
    assert values(text, "STRESS_TENSOR") == ["NONE"] and "&STRESS_TENSOR OFF" in text


def test_knobs_reach_the_input_and_unknown_ones_are_refused() -> None:
    asked = job(bulk("Si"))
    text = write_input(asked.with_numerics(mixing_alpha=0.1, scf_steps=300), max_seconds=600)
    assert values(text, "ALPHA") == ["0.1"] and values(text, "MAX_SCF") == ["300"]
    with pytest.raises(InputError, match="unknown numerical setting"):
        write_input(asked.with_numerics(grid_cutoff_ry=900), max_seconds=600)


def test_a_structure_without_a_cell_is_refused() -> None:
    asked = job(Atoms("O2", [[4, 4, 4], [4, 4, 5.2]], cell=[8, 8, 9]))
    with pytest.raises(InputError, match="no cell"):
        write_input(LabelJob(Atoms("O2"), asked.method), max_seconds=600)


def test_the_method_says_its_data_and_why() -> None:
    chosen = Cp2k().method(label_set_of([bulk("Si")], ["O"]), Wishes())
    found = chosen.method.model_dump(mode="json")
    assert found["basis_sets"]["Si"] == "DZVP-MOLOPT-SR-GTH-q4"
    assert found["potentials"] == {"Si": "GTH-PBE-q4", "O": "GTH-PBE-q6"}
    assert found["grid_cutoff_ry"] == 450.0 and found["finer_xc_grid"] is True
    # 0.01 Ry of Gaussian width, the same variance in kT.
    assert found["electronic_temperature_k"] == pytest.approx(0.01 * 157887.5 / 2.565, abs=6)
    assert set(found) == set(chosen.reasons)
    silicon = Cp2k().method(label_set_of([bulk("Si")]), Wishes()).method.model_dump(mode="json")
    assert silicon["grid_cutoff_ry"] == 300.0 and silicon["finer_xc_grid"] is False


def test_wishes_replace_what_is_derived_and_impossible_ones_are_refused() -> None:
    chosen = Cp2k().method(label_set_of([bulk("Si")]), Wishes(grid_cutoff_ry=250.0))
    assert chosen.method.model_dump()["grid_cutoff_ry"] == 250.0
    assert "given, instead of 300" in chosen.reasons["grid_cutoff_ry"]
    with pytest.raises(ValueError, match="impossible grid cutoff"):
        Wishes(grid_cutoff_ry=5.0)
    with pytest.raises(InputError, match="unknown family"):
        method.derive(label_set_of([bulk("Si")]), Wishes(family="DZVP-MOLOPT-GTH"))
    with pytest.raises(InputError, match="lacks Ce"):
        method.derive(label_set_of([bulk("Si")], ["Ce"]), Wishes())


def test_other_numbers_under_the_same_name_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = job(bulk("Si"))
    for file in DATA.iterdir():
        text = file.read_text().replace("-6.26928833", "-6.26928834")
        (tmp_path / file.name).write_text(text)
    monkeypatch.setenv(programs.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match="Si are not those"):
        method.check_recorded(method.Method.of_job(asked), ["Si"])


def test_the_electrons_of_a_potential_stand_in_its_name() -> None:
    assert data.electrons_of("GTH-PBE-q16") == 16
    entry = data.find(DATA / "GTH_POTENTIALS", "Si", "GTH-PBE")
    assert entry is not None and entry.electrons == 4


def test_absent_programs_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(programs.PROGRAM_VARIABLE, "/nowhere/cp2k")
    with pytest.raises(MissingProgramError, match="apt-get install"):
        programs.command(1, {})
    monkeypatch.setenv(programs.DATA_VARIABLE, "/nowhere")
    with pytest.raises(MissingProgramError, match="CP2K_DATA_DIR"):
        programs.data_folder()
    assert [check.ok for check in Cp2k().checks()] == [False, False]
    assert all("apt-get install" in check.mend for check in Cp2k().checks())


def test_the_expected_cost_is_what_was_measured_and_grows_with_what_is_asked() -> None:
    engine, atoms = Cp2k(), bulk("Si", cubic=True, a=5.43)

    def cost(repeat: int = 1, symbols: str = "Si", **wishes: object) -> float:
        needed = label_set_of([atoms], [symbols])
        found = engine.method(needed, Wishes.model_validate(wishes)).method
        return engine.cpu_s(found, CellSize.of(atoms * (repeat, 1, 1)))

    assert cost() == pytest.approx(17, rel=0.3) and cost(2) == pytest.approx(26, rel=0.3)
    assert cost(kspacing_per_a=0.1) > cost() and cost(spin_polarized=True) == 2 * cost()
    assert cost(symbols="O", grid_cutoff_ry=900.0) > cost(symbols="O") > cost()
