"""Equations of state with the default settings by pw.x against all-electron numbers (WIEN2k, PBE).

Reference: K. Lejaeghere et al., Science 351, aad3000 (2016), DeltaCodesDFT. Judges
pseudopotentials, cutoff and k-mesh.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk

from mlip_autopipec import make_plan
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.commands.dft_check.series import label_in
from mlip_autopipec.science import dft_rules
from mlip_autopipec.science.properties.birch_murnaghan import (
    EquationOfState,
    fit_birch_murnaghan,
)
from mlip_autopipec.science.properties.equation_of_state import (
    lattice_constant,
    strained_cells,
)

pytestmark = pytest.mark.real
A_TOLERANCE, B_TOLERANCE = 0.002, 0.05


@pytest.mark.parametrize(
    ("symbol", "structure", "a_reference", "b_reference_gpa"),
    [("Si", "diamond", 5.4695, 88.5), ("Al", "fcc", 4.0396, 78.1)],
)
def test_default_settings_give_the_all_electron_equation_of_state(
    symbol: str, structure: str, a_reference: float, b_reference_gpa: float, tmp_path: Path
) -> None:
    plan = make_plan(material=symbol)
    crystal = bulk(symbol, structure, a=a_reference)
    mesh = dft_rules.kmesh(
        crystal.cell.array,
        crystal.pbc,
        plan.dft.method.kspacing_per_a,
        plan.dft.method.kmesh_shifted,
    )
    volumes, energies = [], []
    for cell in strained_cells(crystal, plan.validation.each["equation_of_state"].eos_strains):
        label = label_in(
            tmp_path, LabelJob(cell, plan.dft.label_method(), {}, mesh), walltime_s=1800, cores=1
        )
        assert isinstance(label, Label), label
        volumes.append(cell.get_volume() / len(cell))
        energies.append(label.energy_ev / len(cell))
    fit = fit_birch_murnaghan(volumes, energies)
    assert isinstance(fit, EquationOfState), fit
    a = lattice_constant(fit.volume_a3_per_atom, crystal)
    a_error, b_error = a / a_reference - 1, fit.bulk_modulus_gpa / b_reference_gpa - 1
    print(
        f"{symbol}: a {a:.4f} Å ({a_error:+.3%}), B {fit.bulk_modulus_gpa:.1f} GPa ({b_error:+.2%})"
    )
    assert a == pytest.approx(a_reference, rel=A_TOLERANCE)
    assert fit.bulk_modulus_gpa == pytest.approx(b_reference_gpa, rel=B_TOLERANCE)
