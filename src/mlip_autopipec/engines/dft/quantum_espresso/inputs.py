"""Text of ``pw.in`` from a labelling job (INPUT_PW of Quantum ESPRESSO 6.7-7.x), written by our own
small writer.

ASE's writer is not used: it passes magnetic moments unscaled as ``starting_magnetization``, which
before QE 7.3 is a fraction of the valence electrons.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.engines.dft.quantum_espresso.config import OUTDIR, PREFIX
from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft.quantum_espresso.sampling import (
    Sampling,
    sampled,
    sampled_as_given,
)
from mlip_autopipec.engines.dft.quantum_espresso.spin import is_free_atom, occupations_and_spin
from mlip_autopipec.science.kpoints import KPointGrid, choose_grid

__all__ = ["NUMERICS", "PSEUDO_FOLDER", "grid_of", "sampling_of", "write_input"]

PSEUDO_FOLDER = "pseudo"

#: Numerical knobs that ``LabelJob.numerics`` may hold; everything else in it is refused.
NUMERICS = frozenset(
    {
        "mixing_beta",
        "mixing_ndim",
        "mixing_mode",
        "electron_maxstep",
        "diagonalization",
        "ndiag",
        "nosym",
        "noinv",
        "walltime_factor",
        "threads",
        "max_force_ev_per_a",
    }
)
_FUNCTIONALS = {"PBE"}
_ISOLATED = {"martyna_tuckerman": "mt"}
_MAX_SECONDS_SHARE = 0.95
# Ry. A free atom's open shell turns in its box for ever, which costs nothing: silicon's stays
# between 3e-7 and 5e-6 Ry for a hundred steps. It has no forces that would need more.
_FREE_ATOM_CONV_THR_RY = 1e-5


def grid_of(job: LabelJob) -> KPointGrid:
    """The k-points of a job: the given mesh, or what follows from the method's spacing."""
    method = Method.of_job(job)
    return choose_grid(
        job.atoms.cell.array,
        job.atoms.pbc,
        method.kspacing_per_a,
        method.kmesh_shifted,
        job.kmesh,
    )


def sampling_of(job: LabelJob) -> Sampling:
    """K-points and symmetry of a job; ``numerics["nosym"]`` overrides the rule for symmetry."""
    if "nosym" in job.numerics:
        return sampled_as_given(job.atoms, grid_of(job), symmetric=not job.numerics["nosym"])
    return sampled(job.atoms, grid_of(job))


def write_input(job: LabelJob, *, z_valence: Mapping[str, float], max_seconds: float) -> str:
    """``pw.in`` for a self-consistent calculation with forces and stress.

    ``z_valence``: valence electrons of each element's pseudopotential, for spin. Raises InputError
    for a structure without a cell, an unknown functional, knob or an element without
    pseudopotential.
    """
    method, numerics = Method.of_job(job), job.numerics
    _check(job, method)
    sampling = sampling_of(job)
    atoms = sampling.atoms
    species = sorted(set(atoms.get_chemical_symbols()))
    control = {
        "calculation": "scf",
        "restart_mode": "from_scratch",
        "prefix": PREFIX,
        "outdir": f"./{OUTDIR}",
        "pseudo_dir": f"./{PSEUDO_FOLDER}",
        "tprnfor": True,
        "tstress": bool(all(atoms.pbc)),
        "disk_io": "low",
        "max_seconds": round(max_seconds * _MAX_SECONDS_SHARE, 1),
    }
    system: dict[str, object] = {
        "ibrav": 0,
        "nat": len(atoms),
        "ntyp": len(species),
        "ecutwfc": method.cutoff_ry,
        "ecutrho": method.rho_cutoff_ry,
        **occupations_and_spin(atoms, method, z_valence),
        "nosym": not sampling.symmetric,
        "noinv": bool(numerics.get("noinv", False)),
    }
    # For molecules only (G. J. Martyna & M. E. Tuckerman, J. Chem. Phys. 110, 2810, 1999): it takes
    # images out of the potential of a cell that is no crystal's.
    if method.isolated != "none" and not any(atoms.pbc):
        system["assume_isolated"] = _ISOLATED[method.isolated]
    electrons = {
        "conv_thr": max(
            method.conv_thr_ry_per_atom * len(atoms),
            _FREE_ATOM_CONV_THR_RY if is_free_atom(atoms) else 0.0,
        ),
        "electron_maxstep": int(numerics.get("electron_maxstep", 100)),
        "mixing_beta": float(numerics.get("mixing_beta", 0.7)),
        "mixing_ndim": int(numerics.get("mixing_ndim", 8)),
        "mixing_mode": str(numerics.get("mixing_mode", "plain")),
        "diagonalization": str(numerics.get("diagonalization", "david")),
    }
    text = (
        _namelist("control", control)
        + _namelist("system", system)
        + _namelist("electrons", electrons)
    )
    return text + _species_card(species, method.pseudos) + _structure_cards(atoms) + sampling.card


def _check(job: LabelJob, method: Method) -> None:
    if unknown := set(job.numerics) - NUMERICS:
        raise InputError(
            "unknown numerical setting",
            key="numerics",
            value=sorted(unknown),
            hint=str(sorted(NUMERICS)),
        )
    if method.functional not in _FUNCTIONALS:
        raise InputError(
            "functional is not supported", key="dft.functional", value=method.functional
        )
    if abs(job.atoms.cell.volume) < 1e-3:
        raise InputError(
            "the structure has no cell; a molecule needs a box",
            value=job.atoms.get_chemical_formula(),
        )
    missing = set(job.atoms.get_chemical_symbols()) - set(method.pseudos)
    if missing:
        raise InputError(
            "no pseudopotential in the method", key="dft.pseudos", value=sorted(missing)
        )


def _value(value: object) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, float):
        return f"{value:.10g}".replace("e", "d") if "e" in f"{value:.10g}" else f"{value:.10g}"
    return f"'{value}'" if isinstance(value, str) else str(value)


def _namelist(name: str, entries: Mapping[str, object]) -> str:
    lines = [f"  {key} = {_value(value)}" for key, value in entries.items()]
    return "\n".join([f"&{name}", *lines, "/", ""])


def _species_card(species: list[str], pseudos: Mapping[str, str]) -> str:
    rows = [
        f"  {symbol} {atomic_masses[atomic_numbers[symbol]]:.6f} {pseudos[symbol]}"
        for symbol in species
    ]
    return "\n".join(["ATOMIC_SPECIES", *rows, ""])


def _structure_cards(atoms: Atoms) -> str:
    cell = ["  " + " ".join(f"{x:.12f}" for x in vector) for vector in np.asarray(atoms.cell.array)]
    rows = [
        f"  {symbol} " + " ".join(f"{x:.12f}" for x in position)
        for symbol, position in zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)
    ]
    return "\n".join(["CELL_PARAMETERS angstrom", *cell, "ATOMIC_POSITIONS angstrom", *rows, ""])
