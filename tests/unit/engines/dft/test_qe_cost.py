"""What a label will cost, against CPU times of pw.x 6.7 that campaigns measured on one core."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.geometry import cellpar_to_cell
from pw_input_for_tests import method

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.engines.dft.quantum_espresso.cost import START_S, cpu_s
from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft_port import CellSize

SETTINGS = {
    "Si": {"cutoff_ry": 28.0, "kspacing_per_a": 0.36, "smearing": "gaussian"},
    "Al": {"cutoff_ry": 32.0, "kspacing_per_a": 0.25, "smearing": "mv"},
    "NaCl": {"cutoff_ry": 88.0, "kspacing_per_a": 0.54, "smearing": "gaussian"},
}


def settings(material: str) -> Method:
    given = SETTINGS[material]
    elements = ("Na", "Cl") if material == "NaCl" else (material,)
    found = method(*elements, rho_cutoff_ry=4 * float(given["cutoff_ry"]), **given)
    return Method.of_job(LabelJob(Atoms(), found))


def cell(counts: dict[str, float], *parameters: float) -> CellSize:
    return CellSize(counts, np.asarray(cellpar_to_cell(parameters)))


def box(counts: dict[str, float], length_a: float, width_a: float) -> CellSize:
    return CellSize(counts, np.diag([length_a, width_a, width_a]), (False, False, False))


MEASURED = [
    ("Si", CellSize.of(bulk("Si", a=5.47)), 2.4),
    ("Si", cell({"Si": 8}, 5.49, 5.43, 5.44, 89.8, 89.1, 90.5), 27.4),
    ("Si", cell({"Si": 16}, 7.73, 7.73, 7.73, 60, 60, 60), 78.7),
    ("Si", box({"Si": 1}, 10, 10), 2.6),
    ("Si", box({"Si": 2}, 12, 10), 7.3),
    ("Al", CellSize.of(bulk("Al", a=4.04)), 1.9),
    ("Al", cell({"Al": 4}, 2.71, 5.51, 4.73, 85, 93.6, 117), 23.5),
    ("Al", cell({"Al": 16}, 7.07, 7.07, 7.07, 109.5, 70.5, 70.5), 133.6),
    ("NaCl", CellSize.of(bulk("NaCl", "rocksalt", a=5.69)), 4.8),
    ("NaCl", cell({"Na": 2, "Cl": 2}, 3.87, 7.9, 3.57, 89.9, 89.3, 118), 38.3),
    ("NaCl", cell({"Na": 4, "Cl": 4}, 3.92, 3.96, 13.72, 89.4, 90.2, 119.9), 63.4),
    ("NaCl", cell({"Na": 5, "Cl": 6}, 4, 4, 20.05, 90, 90, 120), 426.9),  # one electron is odd
    ("NaCl", box({"Na": 1}, 10, 10), 13.6),
    ("NaCl", box({"Cl": 2}, 12.2, 10), 51.0),
]


@pytest.mark.parametrize(("material", "size", "measured_s"), MEASURED)
def test_a_label_costs_what_was_measured(material: str, size: CellSize, measured_s: float) -> None:
    assert measured_s / 1.6 < cpu_s(settings(material), size) < 1.6 * measured_s


def test_the_grid_of_a_skewed_cell_costs_more_than_its_volume() -> None:
    """A flat rhombohedral cell of 105 Å³ has a grid of 96 x 96 x 90 points, and took 63 s with 6
    k-points where an upright one of 96 Å³ took 38 with 14.
    """
    counts = {"Na": 2.0, "Cl": 2.0}
    flat = cell(counts, 7.55, 7.55, 7.55, 150.36, 150.36, 42.42)
    edge_a = flat.volume_a3 ** (1 / 3)
    one_point = settings("NaCl").model_copy(update={"kspacing_per_a": 3.0})
    upright_s = cpu_s(one_point, CellSize(counts, edge_a * np.eye(3)))
    assert cpu_s(one_point, flat) - START_S > 2 * (upright_s - START_S)


def test_an_odd_electron_doubles_the_work_where_no_band_shares_it() -> None:
    for material, symbol, share in (("NaCl", "Cl", 2.0), ("Al", "Al", 1.0)):
        found = settings(material)
        size = cell({symbol: 5.0}, 5, 5, 6, 90, 90, 90)
        # As many atoms of a composition, of which nobody knows what a cell will have.
        parts = dataclasses.replace(size, counts={symbol: 5.0001})
        odd, unknown = (cpu_s(found, one) - START_S for one in (size, parts))
        assert odd / unknown == pytest.approx(share, rel=0.01)
