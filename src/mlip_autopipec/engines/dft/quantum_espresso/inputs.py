"""Text of ``pw.in`` from a labelling job (INPUT_PW of Quantum ESPRESSO 6.7-7.x), written by our own
small writer.

ASE's writer is not used: it passes magnetic moments unscaled as ``starting_magnetization``, which
before QE 7.3 is a fraction of the valence electrons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.engines.dft.quantum_espresso.config import OUTDIR, PREFIX
from mlip_autopipec.engines.dft.quantum_espresso.fragment import Fragment, read_fragment
from mlip_autopipec.engines.dft.quantum_espresso.hubbard import hubbard_cards
from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft.quantum_espresso.sampling import (
    Sampling,
    sampled,
    sampled_as_given,
)
from mlip_autopipec.engines.dft.quantum_espresso.species import Species, species_of
from mlip_autopipec.engines.dft.quantum_espresso.spin import (
    is_free_atom,
    moments_count,
    occupations_and_spin,
    ordered,
)
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
_ISOLATED = {"martyna_tuckerman": "mt"}
_DFTD3_VERSIONS = {"d3": 3, "d3bj": 4}
# Of the cell: the zone in which the potential of the dipole correction falls back, in mid-vacuum.
_DIPOLE_FALL = 0.05
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
    atoms = ordered(job.atoms, Method.of_job(job))
    if "nosym" in job.numerics:
        return sampled_as_given(atoms, grid_of(job), symmetric=not job.numerics["nosym"])
    return sampled(atoms, grid_of(job))


def write_input(
    job: LabelJob,
    *,
    z_valence: Mapping[str, float],
    max_seconds: float,
    version: tuple[int, int] | None = None,
) -> str:
    """``pw.in`` for a self-consistent calculation with forces and stress.

    ``z_valence``: valence electrons of each element's pseudopotential, for spin; ``version``: of
    the pw.x that will read it, for +U. Raises InputError for a structure without a cell, an unknown
    knob, an element without pseudopotential, or +U without a version.
    """
    method, numerics = Method.of_job(job), job.numerics
    _check(job, method)
    sampling = sampling_of(job)
    atoms = sampling.atoms
    own = moments_count(atoms, method)
    species, names = species_of(atoms, moments=own)
    hubbard, hubbard_card = hubbard_cards(
        method.hubbard, method.hubbard_projectors, species, version
    )
    control: dict[str, object] = {
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
        **occupations_and_spin(atoms, method, z_valence, species if own else ()),
        "nosym": not sampling.symmetric,
        "noinv": bool(numerics.get("noinv", False)),
        **_asked_for(atoms, method),
        **hubbard,
    }
    if method.dipole_correction and (dipole := _dipole(atoms)):
        control |= {"tefield": True, "dipfield": True}
        system |= dipole
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
    added = read_fragment(method.extra) if method.extra else Fragment()
    text = (
        _namelist("control", control, added)
        + _namelist("system", system, added)
        + _namelist("electrons", electrons, added)
    )
    cards = _species_card(species, method.pseudos) + _structure_cards(atoms, names) + sampling.card
    more = hubbard_card + (f"{added.cards}\n" if added.cards else "")
    return text + cards + more


def _asked_for(atoms: Atoms, method: Method) -> dict[str, object]:
    """Functional, dispersion and charge, where a method names them."""
    found: dict[str, object] = {}
    if method.input_dft:
        found["input_dft"] = method.input_dft
    if method.dispersion != "none":
        found |= {
            "vdw_corr": "dft-d3",
            "dftd3_version": _DFTD3_VERSIONS[method.dispersion],
            "dftd3_threebody": False,
        }
    if method.charge and not is_free_atom(atoms):
        found["tot_charge"] = float(method.charge)
    return found


def _dipole(atoms: Atoms) -> dict[str, object]:
    """The dipole correction of a slab (L. Bengtsson, Phys. Rev. B 59, 12301, 1999): its potential
    falls back in the middle of the vacuum. Empty for what is no slab.
    """
    free = [axis for axis in range(3) if not atoms.pbc[axis]]
    if len(free) != 1:
        return {}
    axis = free[0]
    places = np.sort(atoms.cell.scaled_positions(atoms.positions)[:, axis] % 1.0)
    gaps = np.diff(np.append(places, places[0] + 1.0))
    widest = int(np.argmax(gaps))
    middle = (places[widest] + gaps[widest] / 2 - _DIPOLE_FALL / 2) % 1.0
    return {
        "edir": axis + 1,
        "emaxpos": round(float(middle), 6),
        "eopreg": _DIPOLE_FALL,
        "eamp": 0.0,
    }


def _check(job: LabelJob, method: Method) -> None:
    if unknown := set(job.numerics) - NUMERICS:
        raise InputError(
            "unknown numerical setting",
            key="numerics",
            value=sorted(unknown),
            hint=str(sorted(NUMERICS)),
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


def _namelist(name: str, entries: Mapping[str, object], added: Fragment) -> str:
    """With what a fragment adds. Raises InputError for an entry that stands there already."""
    more = added.entries.get(name, {})
    if twice := sorted(set(more) & {key.lower() for key in entries}):
        raise InputError(
            "stands in the input already: another setting of the method brings it",
            key="dft.extra",
            value=twice[0],
        )
    lines = [f"  {key} = {_value(value)}" for key, value in entries.items()]
    lines += [f"  {key} = {value}" for key, value in more.items()]
    return "\n".join([f"&{name}", *lines, "/", ""])


def _species_card(species: Sequence[Species], pseudos: Mapping[str, str]) -> str:
    rows = [
        f"  {one.name} {atomic_masses[atomic_numbers[one.symbol]]:.6f} {pseudos[one.symbol]}"
        for one in species
    ]
    return "\n".join(["ATOMIC_SPECIES", *rows, ""])


def _structure_cards(atoms: Atoms, names: Sequence[str]) -> str:
    cell = ["  " + " ".join(f"{x:.12f}" for x in vector) for vector in np.asarray(atoms.cell.array)]
    rows = [
        f"  {name} " + " ".join(f"{x:.12f}" for x in position)
        for name, position in zip(names, atoms.positions, strict=True)
    ]
    return "\n".join(["CELL_PARAMETERS angstrom", *cell, "ATOMIC_POSITIONS angstrom", *rows, ""])
