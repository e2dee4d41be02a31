"""The baseline: derivatives, range, and the same numbers as LAMMPS' own pair style."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.labels import Label
from mlip_autopipec.engines.md.lammps.library import open_lammps
from mlip_autopipec.science.baseline import BASELINE, Zbl, save_baseline

BAR_PER_EV_A3 = 1.6021765e6  # LAMMPS' units metal


def salt() -> Atoms:
    """Sheared rocksalt, so tight that every kind of pair is within its radii."""
    atoms = bulk("NaCl", "rocksalt", 3.6, cubic=True) * (2, 2, 2)
    shear = np.array([[1.0, 0.0, 0.0], [0.05, 1.0, 0.0], [0.03, -0.04, 1.0]])
    atoms.set_cell(atoms.cell.array @ shear, scale_atoms=True)
    atoms.rattle(0.15, seed=1)
    return atoms


def test_forces_and_stress_are_derivatives_of_the_energy() -> None:
    atoms, step = salt(), 1e-5
    zbl = Zbl.of(["Na", "Cl"])
    terms = zbl.terms(atoms)
    for atom, axis in ((0, 0), (5, 1), (40, 2)):
        energies = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(zbl.terms(moved).energy_ev)
        slope = (energies[0] - energies[1]) / (2 * step)
        assert terms.forces[atom, axis] == pytest.approx(-slope, rel=1e-5, abs=1e-5)
    assert terms.stress is not None
    for number, (p, q) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        energies = []
        for sign in (1.0, -1.0):
            strain = np.eye(3)
            strain[p, q] += sign * step / 2
            strain[q, p] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(zbl.terms(strained).energy_ev)
        slope = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        assert terms.stress[number] == pytest.approx(slope, rel=1e-5, abs=1e-6)
    assert terms.forces.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)


def test_a_bond_at_rest_feels_nothing_and_atoms_that_touch_nearly_the_nuclei() -> None:
    zbl = Zbl.of(["Si"])
    assert zbl.terms(bulk("Si", "diamond", 5.47)).energy_ev == 0.0
    bond = 2 * covalent_radii[14]
    energies = [
        zbl.terms(Atoms("Si2", [[0, 0, 0], [0, 0, distance]])).energy_ev
        for distance in (0.1, 0.5, 1.0, 0.9 * bond, 0.999 * bond, bond)
    ]
    assert energies == sorted(energies, reverse=True)
    assert energies[-2] == pytest.approx(0.0, abs=1e-6) and energies[-1] == 0.0
    # Two bare nuclei of charge 14 at 0.1 Å have 28.2 keV; screening leaves half.
    assert 8_000 < energies[0] < 14.399645 * 14**2 / 0.1


def test_lammps_own_zbl_says_the_same() -> None:
    atoms = salt()
    elements = ("Cl", "Na")
    zbl = Zbl.of(elements)
    cell, _ = atoms.cell.standard_form()
    atoms = Atoms(atoms.symbols, scaled_positions=atoms.get_scaled_positions(), cell=cell, pbc=True)
    terms = zbl.terms(atoms)
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = (map(float, row) for row in atoms.cell.array)
    lmp = open_lammps()
    for line in (
        "units metal",
        "atom_style atomic",
        "atom_modify map array",
        "box tilt large",
        f"region all prism 0 {lx!r} 0 {ly!r} 0 {lz!r} {xy!r} {xz!r} {yz!r}",
        "create_box 2 all",
        "mass * 1.0",
    ):
        lmp.command(line)
    types = [elements.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    ids = list(range(1, len(atoms) + 1))
    lmp.create_atoms(len(atoms), ids, types, atoms.get_positions(wrap=True).ravel().tolist())
    for line in zbl.lammps_lines("zero 4.0", "", elements):
        lmp.command(line)
    lmp.command("run 0 post no")
    assert lmp.get_thermo("pe") == pytest.approx(terms.energy_ev, rel=1e-12)
    order = np.argsort(lmp.numpy.extract_atom("id")[: len(atoms)])
    forces = lmp.numpy.extract_atom("f")[: len(atoms)][order]
    assert np.allclose(forces, terms.forces, atol=1e-9)
    pressures = [lmp.get_thermo(f"p{name}") for name in ("xx", "yy", "zz", "yz", "xz", "xy")]
    assert terms.stress is not None
    assert np.allclose(-np.array(pressures) / BAR_PER_EV_A3, terms.stress, rtol=1e-9, atol=1e-9)
    lmp.close()


def test_what_is_left_of_a_label_and_the_baseline_make_the_label() -> None:
    atoms = salt()
    rng = np.random.default_rng(0)
    label = Label(-7.0, rng.normal(size=(len(atoms), 3)), rng.normal(size=6), "m", 1, 0.0)
    zbl = Zbl.of(["Na", "Cl"])
    energy, forces, stress = zbl.taken_from(label, atoms)
    terms = zbl.terms(atoms)
    assert terms.energy_ev > 1.0 and terms.stress is not None and stress is not None
    assert energy + terms.energy_ev == pytest.approx(-7.0)
    assert np.allclose(forces + terms.forces, label.forces)
    assert np.allclose(stress + terms.stress, label.stress)
    assert zbl.taken_from(replace(label, stress=None), atoms)[2] is None


def test_a_folder_says_which_baseline_it_has(tmp_path: Path) -> None:
    assert Zbl.load(tmp_path) is None, "a folder from before there were baselines"
    save_baseline(None, tmp_path)
    assert Zbl.load(tmp_path) is None
    zbl = Zbl.of(["Na", "Cl"])
    save_baseline(zbl, tmp_path)
    assert Zbl.load(tmp_path) == zbl
    write_json(tmp_path / BASELINE, {"kind": "d3"})
    with pytest.raises(InputError, match="unknown baseline"):
        Zbl.load(tmp_path)
    with pytest.raises(InputError, match="does not know an element"):
        zbl.terms(bulk("Cu"))
