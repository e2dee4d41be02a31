"""A second DFT code: the suite of its port, and silicon against pw.x, by real runs of both.

Two codes, two kinds of basis (Gaussians, plane waves), two kinds of pseudopotential (GTH,
PseudoDojo) and one functional (PBE). With the settings that each derives, where only the width of
the smearing, which silicon does not feel, is another:

=========================  ==================  =====================
silicon                    cp2k                quantum_espresso
=========================  ==================  =====================
Si8 rattled by 0.1 Å       forces differ by 25 meV/Å rms of 1756 (1.4 %)
the same, stress           differs by 0.24 GPa (pressure), 0.02 GPa (shear)
a0 (7 volumes, 4x4x4)      5.4634 Å            5.4694 Å
bulk modulus               89.5 GPa            88.3 GPa
=========================  ==================  =====================

pw.x at 60 Ry: 5.4688 Å and 88.4 GPa; CP2K with the family TZVP-MOLOPT-PBE-GTH: 5.4668 Å, 87.3 GPa;
all electrons (WIEN2k): 5.4695 Å, 88.5 GPa.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

from mlip_autopipec import make_plan
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.cli.main import app
from mlip_autopipec.commands.dft_check.series import label_in
from mlip_autopipec.engines import registry
from mlip_autopipec.science.label_set import label_set_of
from mlip_autopipec.science.properties.birch_murnaghan import (
    EquationOfState,
    fit_birch_murnaghan,
)
from mlip_autopipec.science.properties.equation_of_state import (
    lattice_constant,
    strained_cells,
)
from mlip_autopipec.testing import DftEngineContract

pytestmark = pytest.mark.real
CODES = ("cp2k", "quantum_espresso")
FORCE_TOLERANCE = 0.03  # of the rms force
STRESS_TOLERANCE_GPA, SHEAR_TOLERANCE_GPA = 0.5, 0.1
A_TOLERANCE, B_TOLERANCE = 0.003, 0.04
GPA = 160.21766208


class TestCp2k(DftEngineContract):
    engine = registry.dft_engine("cp2k")
    force_tolerance = 0.01


def rattled() -> Atoms:
    atoms = bulk("Si", cubic=True, a=5.43)
    atoms.rattle(0.1, seed=1)
    return atoms


def silicon_job(code: str, atoms: Atoms, **wishes: object) -> LabelJob:
    engine = registry.dft_engine(code)
    method = engine.method(label_set_of([atoms]), engine.Wishes.model_validate(wishes)).method
    return LabelJob(atoms, {"engine": code, **method.model_dump(mode="json")})


def labelled(folder: Path, job: LabelJob) -> Label:
    label = label_in(folder, job, walltime_s=1800, cores=1)
    assert isinstance(label, Label), label
    return label


def test_the_command_line_labels_silicon_and_both_codes_agree(tmp_path: Path) -> None:
    write(tmp_path / "silicon.xyz", rattled())
    found = {}
    for code in CODES:
        out = tmp_path / code
        asked = ["dft", str(tmp_path / "silicon.xyz"), "--engine", code, "--out", str(out)]
        result = CliRunner().invoke(app, [*asked, "--cores", "1", "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads((out / "summary.json").read_text())["labelled"] == 1
        found[code] = read(out / "labels.extxyz")
    ours, theirs = (found[code] for code in CODES)
    difference = ours.get_forces() - theirs.get_forces()
    rms, size = (float(np.sqrt((part**2).mean())) for part in (difference, theirs.get_forces()))
    stress_gpa = (ours.get_stress() - theirs.get_stress()) * GPA
    print(f"forces differ by {rms:.4f} of {size:.4f} eV/Å rms, stress by {stress_gpa} GPa")
    assert rms < FORCE_TOLERANCE * size
    assert np.abs(stress_gpa[:3]).max() < STRESS_TOLERANCE_GPA
    assert np.abs(stress_gpa[3:]).max() < SHEAR_TOLERANCE_GPA


def test_both_codes_give_one_equation_of_state(tmp_path: Path) -> None:
    crystal = bulk("Si", a=5.47)
    a, b = {}, {}
    for code in CODES:
        volumes, energies = [], []
        for cell in strained_cells(crystal, np.linspace(-0.06, 0.06, 7).tolist()):
            method = silicon_job(code, crystal).method
            label = labelled(tmp_path, LabelJob(cell, method, {}, (4, 4, 4)))
            volumes.append(cell.get_volume() / len(cell))
            energies.append(label.energy_ev / len(cell))
        fit = fit_birch_murnaghan(volumes, energies)
        assert isinstance(fit, EquationOfState), fit
        a[code] = lattice_constant(fit.volume_a3_per_atom, crystal)
        b[code] = fit.bulk_modulus_gpa
        print(f"{code}: a {a[code]:.4f} Å, B {b[code]:.2f} GPa, {fit.residual_mev_per_atom} meV")
    assert a["cp2k"] == pytest.approx(a["quantum_espresso"], rel=A_TOLERANCE)
    assert b["cp2k"] == pytest.approx(b["quantum_espresso"], rel=B_TOLERANCE)


def test_stress_is_the_slope_of_the_energy_with_strain(tmp_path: Path) -> None:
    atoms = bulk("Si", a=5.47)
    atoms.rattle(0.08, seed=3)
    method = silicon_job("cp2k", atoms, electronic_temperature_k=3000.0).method
    label, step = labelled(tmp_path, LabelJob(atoms, method, {}, (2, 2, 2))), 0.004
    assert label.stress is not None
    for voigt, (i, j) in ((0, (0, 0)), (5, (0, 1))):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(labelled(tmp_path, LabelJob(strained, method, {}, (2, 2, 2))).energy_ev)
        slope = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        print(f"stress {voigt}: {label.stress[voigt] * GPA:.4f}, slope {slope * GPA:.4f} GPa")
        assert slope == pytest.approx(label.stress[voigt], abs=0.02 / GPA)


def test_input_can_ask_for_it() -> None:
    plan = make_plan(material="Si", dft={"engine": "cp2k"})
    assert plan.dft.engine == "cp2k"
    assert plan.dft.label_method()["basis_sets"] == {"Si": "DZVP-MOLOPT-SR-GTH-q4"}
