"""Text of ``cp2k.inp`` from a labelling job: Quickstep, Gaussians and plane waves (GPW)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ase import Atoms

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.engines.dft.cp2k.data import electrons_of
from mlip_autopipec.engines.dft.cp2k.method import Method
from mlip_autopipec.engines.dft.cp2k.programs import PROJECT
from mlip_autopipec.science.kpoints import KPointGrid, choose_grid

__all__ = ["NUMERICS", "electrons", "grid_of", "write_input"]

#: Numerical knobs that ``LabelJob.numerics`` may hold; everything else in it is refused.
NUMERICS = frozenset(
    {
        "mixing",
        "mixing_alpha",
        "mixing_beta_per_bohr",
        "mixing_history",
        "scf_steps",
        "walltime_factor",
        "threads",
        "max_force_ev_per_a",
    }
)
_FUNCTIONALS = {"PBE"}
_WALLTIME_SHARE = 0.95
_DIGITS = 12

Section = Mapping[str, Any]


def grid_of(job: LabelJob, method: Method) -> KPointGrid:
    """The k-points of a job: the given mesh, or what follows from the method's spacing."""
    return choose_grid(
        job.atoms.cell.array,
        job.atoms.pbc,
        method.kspacing_per_a,
        method.kmesh_shifted,
        job.kmesh,
    )


def electrons(atoms: Atoms, potentials: Mapping[str, str]) -> int:
    """Valence electrons of a neutral structure, by the names of its pseudopotentials."""
    return sum(electrons_of(potentials[symbol]) for symbol in atoms.get_chemical_symbols())


def write_input(job: LabelJob, *, max_seconds: float) -> str:
    """``cp2k.inp`` for energy, forces and (periodic in three directions) stress.

    Raises InputError for a structure without a cell, an unknown functional or knob, or an element
    without basis set and pseudopotential.
    """
    method = Method.of_job(job)
    _check(job, method)
    periodic = all(job.atoms.pbc)
    force_eval = {
        "METHOD": "QUICKSTEP",
        "STRESS_TENSOR": "ANALYTICAL" if periodic else "NONE",
        "DFT": _dft(job, method),
        "SUBSYS": _subsys(job.atoms, method),
        "PRINT": {
            "FORCES": {"": "ON", "NDIGITS": _DIGITS},
            "STRESS_TENSOR": {"": "ON" if periodic else "OFF"},
        },
    }
    sections = {
        "GLOBAL": {
            "PROJECT": PROJECT,
            "RUN_TYPE": "ENERGY_FORCE",
            "PRINT_LEVEL": "MEDIUM",
            "WALLTIME": round(max_seconds * _WALLTIME_SHARE),
        },
        "FORCE_EVAL": force_eval,
    }
    return "\n".join(_lines(sections)) + "\n"


def _check(job: LabelJob, method: Method) -> None:
    if unknown := set(job.numerics) - NUMERICS:
        raise InputError(
            "unknown numerical setting",
            key="numerics",
            value=sorted(unknown),
            hint=str(sorted(NUMERICS)),
        )
    if method.functional not in _FUNCTIONALS:
        raise InputError("functional is not supported", key="functional", value=method.functional)
    if abs(job.atoms.cell.volume) < 1e-3:
        raise InputError(
            "the structure has no cell; a molecule needs a box",
            value=job.atoms.get_chemical_formula(),
        )
    symbols = set(job.atoms.get_chemical_symbols())
    for key, given in (("basis_sets", method.basis_sets), ("potentials", method.potentials)):
        if missing := symbols - set(given):
            raise InputError("none in the method", key=key, value=sorted(missing))


def _dft(job: LabelJob, method: Method) -> Section:
    atoms = job.atoms
    count = electrons(atoms, method.potentials)
    moments = _moments(atoms, method)
    # CP2K calculates an odd number of electrons with spin only. A density that starts unpolarised
    # stays so: elsewhere spin without a moment would give the same numbers at twice the cost.
    spin = bool(moments) or count % 2 == 1
    section: dict[str, Any] = {
        "BASIS_SET_FILE_NAME": method.basis_file,
        "POTENTIAL_FILE_NAME": method.potential_file,
        "MGRID": {
            "CUTOFF": f"[Ry] {method.grid_cutoff_ry:g}",
            "REL_CUTOFF": f"[Ry] {method.relative_cutoff_ry:g}",
            "NGRIDS": 4,
        },
        "QS": {"METHOD": "GPW", "EPS_DEFAULT": f"{method.eps_default:.1e}"},
        "SCF": _scf(job, method, spin),
        "XC": {
            "XC_FUNCTIONAL": {"": method.functional},
            **({"XC_GRID": {"USE_FINER_GRID": "T"}} if method.finer_xc_grid else {}),
        },
        "PRINT": {"MULLIKEN": {"": "ON"}},
    }
    if spin:
        section["UKS"] = "T"
        section["MULTIPLICITY"] = _multiplicity(atoms, moments, count)
    grid = grid_of(job, method)
    if not grid.gamma_only:
        section["KPOINTS"] = _kpoints(grid)
    return section


def _moments(atoms: Atoms, method: Method) -> Mapping[str, float]:
    """Starting moments of the elements in this structure; none where the method has no spin."""
    if not method.spin_polarized:
        return {}
    symbols, given = set(atoms.get_chemical_symbols()), method.starting_moments
    return {symbol: moment for symbol, moment in given.items() if moment and symbol in symbols}


def _multiplicity(atoms: Atoms, moments: Mapping[str, float], count: int) -> int:
    """2S+1 of the first guess, with the parity of the electrons; smearing lets it go from there."""
    total = abs(sum(moments.get(symbol, 0.0) for symbol in atoms.get_chemical_symbols()))
    unpaired = min(round(total), count)
    return unpaired + 1 if unpaired % 2 == count % 2 else abs(unpaired - 1) + 1


def _kpoints(grid: KPointGrid) -> Section:
    points = grid.points()
    total = sum(weight for _, weight in points)
    rows = [f"{x:.12f} {y:.12f} {z:.12f} {w / total:.12f}" for (x, y, z), w in points]
    return {
        "SCHEME": "GENERAL",
        "UNITS": "B_VECTOR",
        "KPOINT": rows,
        "FULL_GRID": "T",
        "PARALLEL_GROUP_SIZE": 0,
    }


def _scf(job: LabelJob, method: Method, spin: bool) -> Section:
    knobs = job.numerics
    return {
        "SCF_GUESS": "ATOMIC",
        "EPS_SCF": f"{method.eps_scf:.1e}",
        "MAX_SCF": int(knobs.get("scf_steps", 100)),
        # All bands of the basis: with k-points CP2K says nothing where smearing lacks some.
        "ADDED_MOS": "-1 -1" if spin else -1,
        "DIAGONALIZATION": {"": "ON", "ALGORITHM": "STANDARD"},
        "SMEAR": {
            "": "ON",
            "METHOD": "FERMI_DIRAC",
            "ELECTRONIC_TEMPERATURE": f"[K] {method.electronic_temperature_k:g}",
        },
        "MIXING": {
            "METHOD": str(knobs.get("mixing", "BROYDEN_MIXING")),
            "ALPHA": float(knobs.get("mixing_alpha", 0.4)),
            "BETA": float(knobs.get("mixing_beta_per_bohr", 0.5)),
            "NBUFFER": int(knobs.get("mixing_history", 8)),
        },
        "PRINT": {"RESTART": {"": "OFF"}},
    }


def _subsys(atoms: Atoms, method: Method) -> Section:
    rows = [_triple(vector) for vector in atoms.cell.array]
    coordinates = [
        f"{symbol} {_triple(position)}"
        for symbol, position in zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)
    ]
    moments = _moments(atoms, method)
    kinds: dict[str, Any] = {}
    for symbol in sorted(set(atoms.get_chemical_symbols())):
        kinds[f"KIND {symbol}"] = {
            "BASIS_SET": method.basis_sets[symbol],
            "POTENTIAL": method.potentials[symbol],
            **({"MAGNETIZATION": moments[symbol]} if symbol in moments else {}),
        }
    return {
        "CELL": {**dict(zip("ABC", rows, strict=True)), "PERIODIC": "XYZ"},
        "COORD": {"": coordinates},
        **kinds,
    }


def _triple(vector: Any) -> str:
    return " ".join(f"{x:.12f}" for x in vector)


def _lines(section: Section, depth: int = 0) -> Iterator[str]:
    """A section's lines: keywords, a keyword per item of a list, and subsections.

    The key "" holds the parameter of the section itself, or (a list) rows without keyword.
    """
    indent = "  " * depth
    for key, value in section.items():
        if isinstance(value, Mapping):
            parameter = value.get("", "")
            rows = parameter if isinstance(parameter, list) else []
            head = "" if isinstance(parameter, list) else parameter
            yield f"{indent}&{key} {head}".rstrip()
            yield from (f"{indent}  {row}" for row in rows)
            yield from _lines({k: v for k, v in value.items() if k}, depth + 1)
            yield f"{indent}&END {key.split()[0]}"
        elif isinstance(value, list):
            yield from (f"{indent}{key} {item}" for item in value)
        else:
            yield f"{indent}{key} {value}"
