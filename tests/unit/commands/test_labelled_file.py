"""Labels of files that others wrote: names of keys, weights, copies, what is said of all that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.commands.labelled_file import Keys, LabelledFile, read_file
from mlip_autopipec.commands.train import train_file
from mlip_autopipec.engines.ports import TrainJob


def frames(number: int = 8, **names: str) -> list[Atoms]:
    """Copper by EMT, its labels under the given names."""
    found = []
    for index in range(number):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.06, seed=index)
        atoms.calc = EMT()
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces().copy()
        atoms.calc = None
        atoms.info[names.get("energy", "energy")] = energy
        atoms.arrays[names.get("forces", "forces")] = forces
        found.append(atoms)
    return found


def read(folder: Path, content: list[Atoms], name: str = "a.xyz", **how: Any) -> LabelledFile:
    ase.io.write(folder / name, content, format="extxyz")
    return read_file(folder / name, **how)


def energies(found: LabelledFile) -> list[float]:
    return [item.label.energy_ev for item in found.items]


RIGHT = [atoms.info["energy"] for atoms in frames()]


@pytest.mark.parametrize(
    ("energy", "forces"),
    [
        ("energy", "force"),
        ("REF_energy", "REF_forces"),
        ("ref_energy", "ref_force"),
        ("dft_energy", "dft_forces"),
        ("DFT_energy", "DFT_force"),
        ("energy_vasp", "forces_vasp"),
        ("free_energy", "forces"),
        ("REF_free_energy", "REF_forces"),
        ("REF_energy", "forces"),
    ],
)
def test_usual_names_are_found_and_told(tmp_path: Path, energy: str, forces: str) -> None:
    found = read(tmp_path, frames(energy=energy, forces=forces), "Cu@300K.xyz")
    assert energies(found) == pytest.approx(RIGHT) and not found.left_out
    assert set(found.used) == {energy, forces}
    mixed = energy.startswith("REF") and not forces.startswith("REF")
    assert bool(found.notes) == mixed


def test_a_reference_goes_before_a_plain_energy_which_may_be_a_prediction(tmp_path: Path) -> None:
    content = frames(energy="REF_energy", forces="REF_forces")
    for atoms in content:
        atoms.info["energy"], atoms.arrays["forces"] = 0.0, np.zeros((4, 3))
    found = read(tmp_path, content)
    assert energies(found) == pytest.approx(RIGHT) and set(found.ignored) == {"energy", "forces"}
    for atoms in content:
        del atoms.arrays["REF_forces"]
    with pytest.raises(InputError, match="--forces-key"):
        read(tmp_path, content)


def test_energies_of_an_atom_by_name_are_totals_times_atoms(tmp_path: Path) -> None:
    content = frames(energy="energy_per_atom")
    for atoms in content:
        atoms.info["energy_per_atom"] /= 4
    assert energies(read(tmp_path, content)) == pytest.approx(RIGHT)


def test_unknown_names_are_listed_and_can_be_given(tmp_path: Path) -> None:
    content = frames(energy="E_mine", forces="f_mine")
    with pytest.raises(InputError, match=r"numbers E_mine; vectors of atoms f_mine.*--energy-key"):
        read(tmp_path, content)
    found = read(tmp_path, content, keys=Keys("E_mine", "f_mine"))
    assert energies(found) == pytest.approx(RIGHT)
    with pytest.raises(InputError, match=r"--energy-key: no structure has it.*E_mine"):
        read(tmp_path, content, keys=Keys("E_yours", "f_mine"))
    for atoms in content:
        atoms.info["dft_energy"] = atoms.info["vasp_energy"] = 1.0
    with pytest.raises(InputError, match="several energy are there: dft_energy, vasp_energy"):
        read(tmp_path, content)


def test_a_column_of_energies_is_no_energy(tmp_path: Path) -> None:
    content = frames()
    for atoms in content:
        del atoms.info["energy"]
        atoms.arrays["energy"] = np.ones(4)
    with pytest.raises(InputError, match="column of 4 numbers: energies of"):
        read(tmp_path, content)


def test_what_is_no_label_is_counted_with_its_reason(tmp_path: Path) -> None:
    content = frames(14)
    content[0].info["scf_converged"] = False
    content[1].info["energy"] = float("nan")
    content[2].arrays["forces"][0, 0] = np.inf
    content[3].info["config_weight"] = 0
    content[4].info["energy"] -= 30
    content[5].arrays["force_weight"] = np.zeros(4)
    content[6] = content[7].copy()
    content[8].info["config_weight"] = 0.3
    del content[9].info["energy"]
    found = read(tmp_path, content)
    assert [item.name for item in found.items] == [f"a.xyz:{n}" for n in (6, 8, 10, 11, 12, 13)]
    said = "\n".join(found.left_out)
    for reason, where in (
        ("their SCF did not converge", "0"),
        ("no usable energy", "1, 9"),
        ("no usable forces", "2"),
        ("their weight is 0", "3"),
        ("energy 7.5 eV/atom below what the others say", "4"),
        ("no atom has a force weight above 0", "5"),
        ("copies of an earlier structure", "7"),
    ):
        assert f"{reason}: {where}\n" in said + "\n"
    assert "config_weight of 1 structures is not used" in found.notes[0]
    assert found.of == 14


def test_config_types_are_kinds(tmp_path: Path) -> None:
    content = frames()
    for index, atoms in enumerate(content):
        atoms.info["config_type"] = "md" if index % 2 else "rattled"
    found = read(tmp_path, content)
    assert {item.provenance.strategy for item in found.items} == {"md", "rattled"}


def test_copies_alone_are_no_training_set(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.xyz", frames(1) * 30, format="extxyz")
    with pytest.raises(InputError, match=r"30 structures, 1 to be learned.*29 of 30"):
        train_file(tmp_path / "a.xyz", None, tmp_path / "out", trainer="linear")
    assert not (tmp_path / "out").exists()


def test_units_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    content = frames(20)
    for atoms in content:
        atoms.arrays["forces"] *= -1
    with pytest.raises(InputError, match=r"opposite sign.*--keep-all"):
        read(tmp_path, content)
    assert "opposite sign" in read(tmp_path, content, keep_all=True).notes[0]


def test_what_was_left_out_is_told_and_free_atoms_teach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[TrainJob] = []
    monkeypatch.setattr(
        "mlip_autopipec.commands.train._fit", lambda name, job, out, limit: jobs.append(job) or {}
    )
    free = Atoms("Au", cell=[12] * 3, pbc=False)
    free.info["energy"], free.arrays["forces"] = -500.0, np.zeros((1, 3))
    unlabelled = bulk("Cu")
    ase.io.write(tmp_path / "a.xyz", [free, *frames(20), unlabelled], format="extxyz")
    for seed in range(8):
        told = train_file(tmp_path / "a.xyz", None, tmp_path / "out", trainer="linear", seed=seed)
        assert told["left_out"] == ["1 of 22 structures left out, no usable energy: 21"]
        assert "a.xyz:0" in {item.name for item in jobs[-1].train} and jobs[-1].test
