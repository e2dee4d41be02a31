"""The method of CP2K: its settings, and how they follow from what is to be labelled.

A family is a basis set and the pseudopotentials that it was made for, as they come in CP2K's data
files. k-points and magnetic moments follow the rules that every code shares; smearing is
Fermi-Dirac, the only kind that CP2K has, with a temperature as wide as their Gaussian. Molecules
see their images: of the solvers that take them out, Martyna-Tuckerman's does not go with the finer
grid that narrow Gaussians need, and the wavelet one knows cubic boxes only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import field_validator

from mlip_autopipec.base.errors import InputError, nearest
from mlip_autopipec.base.section import Positive, complaint
from mlip_autopipec.base.values import FloatArray, Json
from mlip_autopipec.engines.dft.cp2k import data
from mlip_autopipec.engines.dft.cp2k.programs import HARTREE_EV, data_folder
from mlip_autopipec.engines.dft_port import DftMethod, DftWishes, Knob, MethodChoice
from mlip_autopipec.science import dft_rules, label_set
from mlip_autopipec.science.dft_rules import Choice
from mlip_autopipec.science.dft_series import spacings_to_try_per_a
from mlip_autopipec.science.label_set import LabelSet

__all__ = [
    "CHOSEN",
    "FAMILIES",
    "NAME",
    "Family",
    "Method",
    "Wishes",
    "check_recorded",
    "derive",
    "finer_xc_grid",
    "grid_cutoff_ry",
    "hardness",
    "knobs",
    "least",
]

T = TypeVar("T")
Pairs = Mapping[str, tuple[data.Entry, data.Entry]]
"""Basis set and pseudopotential of each element."""

NAME = "cp2k"
CHOSEN = ("grid_cutoff_ry", "kspacing_per_a")
"""Settings that a convergence series fixes."""


@dataclass(frozen=True, slots=True)
class Family:
    """A basis set and its pseudopotentials: data files, and names without ``-qN``."""

    basis_file: str
    basis: str
    potential_file: str
    potential: str
    functional: str = "PBE"


FAMILIES: Mapping[str, Family] = {
    "DZVP-MOLOPT-SR-GTH": Family("BASIS_MOLOPT", "DZVP-MOLOPT-SR-GTH", "GTH_POTENTIALS", "GTH-PBE"),
    "TZVP-MOLOPT-PBE-GTH": Family(
        "BASIS_MOLOPT_UZH", "TZVP-MOLOPT-PBE-GTH", "POTENTIAL_UZH", "GTH-PBE"
    ),
}
DEFAULT_FAMILY = "DZVP-MOLOPT-SR-GTH"

_LOWEST_CUTOFF_RY, _CUTOFF_STEP_RY = 300.0, 50.0
_CUTOFF_PER_EXPONENT_RY = 40.0
#: Exponent (1/bohr²) from which the exchange-correlation energy needs a finer grid of its own.
_NARROW = 4.0
_KELVIN_PER_RY = HARTREE_EV / 2 / 8.617333262e-5
#: Widths of the same variance: Gaussian (as plane-wave codes define it) over Fermi-Dirac.
_GAUSSIAN_PER_FERMI_DIRAC = 2.565


class Method(DftMethod):
    """Everything that changes the physics of CP2K. Numerical settings are left out.

    ``data_sha256``: of the numbers of an element's basis set and pseudopotential.
    ``eps_default``: below it, integrals are left out; ``eps_scf``: change of the density matrix
    at which the SCF cycle ends. An odd number of electrons is calculated with spin always.
    """

    identity: ClassVar[tuple[str, ...]] = ("family",)
    worth_a_note: ClassVar[tuple[str, ...]] = (
        "kspacing_per_a",
        "kmesh_shifted",
        "electronic_temperature_k",
        "spin_polarized",
    )

    functional: str
    family: str
    basis_file: str
    basis_sets: dict[str, str]
    potential_file: str
    potentials: dict[str, str]
    data_sha256: dict[str, str]
    grid_cutoff_ry: Positive
    relative_cutoff_ry: Positive = 60.0
    finer_xc_grid: bool
    kspacing_per_a: Positive
    kmesh_shifted: bool
    electronic_temperature_k: Positive
    spin_polarized: bool
    starting_moments: dict[str, float]
    eps_default: Positive = 1e-10
    eps_scf: Positive = 1e-6

    def in_words(self) -> str:
        spin = ", spin-polarised" if self.spin_polarized else ""
        mesh = "shifted" if self.kmesh_shifted else "Gamma-centred"
        return (
            f"{self.functional}, {self.family}, grid of {self.grid_cutoff_ry:g} Ry, k-points every"
            f" {self.kspacing_per_a:g} 1/Å ({mesh}), Fermi-Dirac at"
            f" {self.electronic_temperature_k:g} K{spin}"
        )

    def wishes_again(self, given: Mapping[str, Any]) -> Json:
        return {"family": self.family, **given}

    def kmesh(
        self, cell: FloatArray, periodic: tuple[bool, bool, bool]
    ) -> tuple[int, int, int] | None:
        return dft_rules.kmesh(cell, periodic, self.kspacing_per_a, self.kmesh_shifted)


class Wishes(DftWishes):
    """Settings in place of derived ones; ``family`` of basis sets and pseudopotentials."""

    family: str | None = None
    grid_cutoff_ry: float | None = None
    finer_xc_grid: bool | None = None
    kspacing_per_a: float | None = None
    kmesh_shifted: bool | None = None
    electronic_temperature_k: Positive | None = None
    spin_polarized: bool | None = None
    starting_moments: dict[str, float] | None = None
    eps_scf: Positive | None = None

    @field_validator("grid_cutoff_ry")
    @classmethod
    def _usual_cutoff(cls, value: float | None) -> float | None:
        if value is not None and not 50.0 <= value <= 4000.0:
            raise complaint(
                "impossible grid cutoff", "50 to 4000 Ry; leave it out to have it derived"
            )
        return value

    @field_validator("kspacing_per_a")
    @classmethod
    def _usual_spacing(cls, value: float | None) -> float | None:
        if value is not None and not 0.05 <= value <= 2.0:
            raise complaint(
                "impossible k-point spacing", "0.05 to 2 1/Å; leave it out to have it derived"
            )
        return value


def derive(needed: LabelSet, wishes: Wishes) -> MethodChoice:
    """The method that serves all of ``needed``, and why.

    Raises InputError for an unknown family or an element that it lacks, MissingProgramError where
    CP2K's data files are not installed.
    """
    reasons: dict[str, str] = {}
    name = wishes.family or DEFAULT_FAMILY
    if name not in FAMILIES:
        raise InputError("unknown family", key="family", value=name, hint=nearest(name, FAMILIES))
    family, folder = FAMILIES[name], data_folder()
    pairs = {symbol: _pair(folder, name, symbol) for symbol in needed.elements}

    def because(key: str, value: T, reason: str) -> T:
        given = getattr(wishes, key, None)
        reasons[key] = reason if given is None else f"given, instead of {_short(value)}: {reason}"
        return value if given is None else given

    def chosen(key: str, choice: Choice[T]) -> T:
        return because(key, choice.value, choice.reason)

    moments = chosen("starting_moments", label_set.starting_moments(needed))
    method = Method(
        functional=because("functional", family.functional, "the family's functional"),
        family=because("family", name, "a basis set and the pseudopotentials it was made for"),
        basis_file=because("basis_file", family.basis_file, "of CP2K's data"),
        basis_sets=because(
            "basis_sets", {s: _full_name(basis) for s, (basis, _) in pairs.items()}, "of the family"
        ),
        potential_file=because("potential_file", family.potential_file, "of CP2K's data"),
        potentials=because(
            "potentials",
            {s: _full_name(potential) for s, (_, potential) in pairs.items()},
            "of the family, with as many valence electrons as the basis set",
        ),
        data_sha256=because(
            "data_sha256",
            {s: _sha256(*pair) for s, pair in pairs.items()},
            "checked before every run",
        ),
        grid_cutoff_ry=chosen("grid_cutoff_ry", grid_cutoff_ry(pairs)),
        relative_cutoff_ry=because("relative_cutoff_ry", 60.0, "a grid for every Gaussian"),
        finer_xc_grid=chosen("finer_xc_grid", finer_xc_grid(pairs)),
        kspacing_per_a=chosen("kspacing_per_a", label_set.kspacing_per_a(needed)),
        kmesh_shifted=chosen("kmesh_shifted", label_set.kmesh_shifted(needed)),
        electronic_temperature_k=chosen("electronic_temperature_k", _temperature_k(needed)),
        spin_polarized=because("spin_polarized", bool(moments), reasons["starting_moments"]),
        starting_moments=moments,
        eps_default=because("eps_default", 1e-10, "energies exact to 0.01 meV"),
        eps_scf=because(
            "eps_scf", 1e-6, "forces exact to 0.1 meV/Å; molecules come no closer than 1e-6"
        ),
    )
    return MethodChoice(method, reasons)


def _pair(folder: Path, name: str, symbol: str) -> tuple[data.Entry, data.Entry]:
    """Basis set and pseudopotential of an element that treat the same electrons; of several pairs
    the one with the most.
    """
    family = FAMILIES[name]
    bases = _named(folder / family.basis_file, symbol, family.basis)
    potentials = _named(folder / family.potential_file, symbol, family.potential)
    for electrons in sorted(set(bases) & set(potentials), reverse=True):
        return bases[electrons], potentials[electrons]
    raise InputError(f"the family {name} of CP2K lacks {symbol}", key="family", value=name)


def _named(path: Path, symbol: str, name: str) -> dict[int, data.Entry]:
    """Valence electrons -> the entry ``name-qN`` of an element."""
    return {
        entry.electrons: entry
        for entry in data.entries(path, symbol)
        if entry.electrons is not None and f"{name}-q{entry.electrons}" in entry.names
    }


def _full_name(entry: data.Entry) -> str:
    return next(name for name in entry.names if name.endswith(f"-q{entry.electrons}"))


def _sha256(basis: data.Entry, potential: data.Entry) -> str:
    return hashlib.sha256(f"{basis.sha256} {potential.sha256}".encode()).hexdigest()


def check_recorded(method: Method, symbols: Iterable[str]) -> None:
    """Raises InputError where the installed basis set or pseudopotential is missing or not the one
    that the method was derived with, MissingProgramError without CP2K's data.
    """
    folder = data_folder()
    for symbol in symbols:
        basis = data.find(folder / method.basis_file, symbol, method.basis_sets[symbol])
        potential = data.find(folder / method.potential_file, symbol, method.potentials[symbol])
        if basis is None or potential is None:
            absent = method.basis_sets[symbol] if basis is None else method.potentials[symbol]
            raise InputError(
                f"the data of CP2K lack {absent} of {symbol}", file=folder, key="family"
            )
        if method.data_sha256.get(symbol, _sha256(basis, potential)) != _sha256(basis, potential):
            raise InputError(
                f"basis set or pseudopotential of {symbol} are not those that the method was"
                " derived with",
                file=folder,
                hint="another release of CP2K's data? set CP2K_DATA_DIR to the one used before",
            )


def grid_cutoff_ry(pairs: Pairs) -> Choice[float]:
    """Cutoff (Ry) of the finest grid, by the narrowest Gaussian of basis sets and core charges.

    Measured against 1000 and 1500 Ry: silicon (2.6 per bohr²) has its forces to 0.001 meV/Å from
    250 Ry on; carbon monoxide (10.4), with the finer grid for exchange and correlation, to 2 meV/Å
    at 400 and 1 at 600 Ry (without it 49 and 10).
    """
    hardest, exponent = _narrowest(pairs)
    steps = -(-_CUTOFF_PER_EXPONENT_RY * exponent // _CUTOFF_STEP_RY)
    value = max(_LOWEST_CUTOFF_RY, steps * _CUTOFF_STEP_RY)
    return Choice(value, f"narrowest Gaussian: {hardest}, exponent {exponent:.1f} per bohr²")


def finer_xc_grid(pairs: Pairs) -> Choice[bool]:
    """Whether exchange and correlation get the finer grid (see :func:`grid_cutoff_ry`)."""
    hardest, exponent = _narrowest(pairs)
    if exponent < _NARROW:
        return Choice(False, "no narrow Gaussian: forces are the same without it")
    return Choice(True, f"{hardest} is narrow: without it atoms feel where the grid is")


def _narrowest(pairs: Pairs) -> tuple[str, float]:
    """The element with the narrowest Gaussian, and its exponent (1/bohr²)."""
    exponents = {symbol: _exponent(*pair) for symbol, pair in pairs.items()}
    hardest = max(exponents, key=lambda symbol: exponents[symbol])
    return hardest, exponents[hardest]


def _exponent(basis: data.Entry, potential: data.Entry) -> float:
    """Largest exponent (1/bohr²) in the basis set or of the core charge."""
    primitives = [row[0] for row in basis.rows[2:] if len(row) > 1]
    radius_bohr = potential.rows[1][0]
    return max(*primitives, 1 / (2 * radius_bohr**2))


def _temperature_k(needed: LabelSet) -> Choice[float]:
    smearing = label_set.smearing(needed)
    width_ry = smearing.value[1]
    kelvin = round(width_ry / _GAUSSIAN_PER_FERMI_DIRAC * _KELVIN_PER_RY, -1)
    return Choice(
        kelvin,
        f"Fermi-Dirac as wide as Gaussians of {width_ry:g} Ry ({smearing.reason})",
    )


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def knobs(method: Method, periodic: tuple[bool, bool, bool]) -> Sequence[Knob]:
    """Grid cutoff, then k-points; what is not periodic has none."""
    start = method.grid_cutoff_ry
    cutoff = Knob(
        "grid_cutoff_ry",
        tuple(factor * start for factor in (1.0, 1.5, 2.0, 3.0)),
        "cutoff of the grid (Ry)",
        "Ry",
    )
    if not any(periodic):
        return (cutoff,)
    spacings = tuple(spacings_to_try_per_a(method.kspacing_per_a))
    return cutoff, Knob("kspacing_per_a", spacings, "k-point spacing (1/Å)", "1/Å")


def least(method: Method, rest: LabelSet) -> dict[str, tuple[float, str]]:
    """Grid cutoff (Ry) of further elements and k-point spacing (1/Å) of further crystals."""
    found: dict[str, tuple[float, str]] = {}
    if rest.elements:
        folder = data_folder()
        cutoff = grid_cutoff_ry({s: _pair(folder, method.family, s) for s in rest.elements})
        found["grid_cutoff_ry"] = cutoff.value, cutoff.reason
    if rest.crystals:
        spacing = label_set.kspacing_per_a(rest)
        found["kspacing_per_a"] = spacing.value, spacing.reason
    return found


def hardness(method: Method, symbol: str) -> float:
    """Largest exponent (1/bohr²) of an element."""
    return _exponent(*_pair(data_folder(), method.family, symbol))
