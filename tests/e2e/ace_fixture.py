"""Small linear ACE potentials for the tests of molecular dynamics, fitted in seconds to ASE's EMT.

The physics of the label does not matter here; what matters is that the potential is a real one,
with an active set.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

__all__ = ["copper_frames", "fit_ace"]


def copper_frames(
    seed: int, sigmas: tuple[float, ...], strains: tuple[float, ...], count: int
) -> list[Atoms]:
    """Rattled and strained 32-atom copper cells. ``sigmas`` in Å, ``strains`` linear."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        atoms = bulk("Cu", "fcc", a=3.61, cubic=True) * (2, 2, 2)
        strain = strains[number % len(strains)]
        shear = rng.normal(0.0, 0.01, (3, 3))
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) * (1 + strain) + (shear + shear.T) / 2), scale_atoms=True
        )
        atoms.positions += rng.normal(0.0, sigmas[number % len(sigmas)], atoms.positions.shape)
        frames.append(atoms)
    return frames


def fit_ace(folder: Path, frames: list[Atoms], functions: int = 40, cutoff_a: float = 4.5) -> Path:
    """Fit a linear ACE to EMT energies and forces; writes ``potential.{yaml,yace,asi}`` and returns
    ``folder``.
    """
    import pandas as pd
    from pyace import create_multispecies_basis_config
    from pyace.activelearning import (
        compute_A_active_inverse,
        compute_active_set,
        compute_B_projections,
        save_active_inverse_set,
    )
    from pyace.linearacefit import LinearACEDataset, LinearACEFit
    from sklearn.linear_model import Ridge

    config = create_multispecies_basis_config(
        {
            "deltaSplineBins": 0.001,
            "elements": ["Cu"],
            "embeddings": {
                "ALL": {
                    "npot": "FinnisSinclairShiftedScaled",
                    "fs_parameters": [1, 1],
                    "ndensity": 1,
                }
            },
            "bonds": {
                "ALL": {
                    "radbase": "SBessel",
                    "radparameters": [5.25],
                    "rcut": cutoff_a,
                    "dcut": 0.01,
                    "NameOfCutoffFunction": "cos",
                }
            },
            "functions": {
                "number_of_functions_per_element": functions,
                "UNARY": {"nradmax_by_orders": [8, 4, 2], "lmax_by_orders": [0, 3, 2]},
            },
        }
    )
    rows = []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        rows.append({"ase_atoms": frame.copy(), "energy_corrected": energy, "forces": forces})
    data = LinearACEDataset(config, pd.DataFrame(rows))
    data.construct_design_matrix(max_workers=1)
    fit = LinearACEFit(
        model=Ridge(alpha=1e-8, fit_intercept=False, solver="auto"), train_dataset=data
    )
    fit.fit()
    folder.mkdir(parents=True, exist_ok=True)
    basis = fit.get_bbasis()
    basis.save(str(folder / "potential.yaml"))
    basis.to_ACECTildeBasisSet().save_yaml(str(folder / "potential.yace"))
    projections = compute_B_projections(basis, [frame.copy() for frame in frames])
    active = compute_A_active_inverse(compute_active_set(projections, verbose=False))
    save_active_inverse_set(
        str(folder / "potential.asi"), active, elements_name=basis.elements_name
    )
    return folder
