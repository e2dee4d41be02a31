"""DFT parameters from composition and cell alone: each function returns the number and the reason
for it.

The rules and the measurements behind them (PseudoDojo 0.5 PBE, pw.x 6.7, forces against 64 Ry,
energies against an 8x8x8 mesh) are in the docstrings; a user who wants them checked on the material
runs the plan's convergence series.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray

from mlip_autopipec.science.ions import (
    ANIONS,
    balanced,
    charge_of,
    electronegativity_difference,
)
from mlip_autopipec.science.kpoints import choose_grid

__all__ = [
    "MOLECULES_SIDE_BY_SIDE",
    "SHEETS_OF_CARBON",
    "Choice",
    "Composition",
    "has_nonmetal",
    "is_metal",
    "kmesh",
    "kmesh_shifted",
    "kspacing_per_a",
    "makes_molecules",
    "moment_in",
    "open_inner_shell",
    "rho_cutoff_ry",
    "smearing",
    "spin_polarized",
    "starting_moments",
    "wavefunction_cutoff_ry",
    "wide_gap",
]

T = TypeVar("T")
FloatArray = NDArray[np.float64]
Composition = Sequence[str] | Mapping[str, float]
"""Chemical symbols (repeats count) or amounts per element."""


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """A derived value and the reason for it, one line."""

    value: T
    reason: str


# Metals have a Fermi surface to resolve.
METAL_SPACING_PER_A = 0.25
# A gap makes the Brillouin zone smooth; defects and melts close it, so not wider.
SEMICONDUCTOR_SPACING_PER_A = 0.36
# Molecules side by side hardly share electrons: their bands are flat. Gamma alone from 9 Å on, as
# in boxes of 32 water molecules (9.9 Å).
MOLECULAR_SPACING_PER_A = 0.72
# Strong ionics keep their gap of several eV when they are rattled or molten.
WIDE_GAP_SPACING_PER_A = 0.54
# Electronegativities this far apart make one: MgO has 2.13, NaCl 2.23; Al2O3 1.83.
IONIC_DIFFERENCE = 2.0
# Cold smearing of 0.14 eV: forces stay those of the ground state, and melts converge.
DEGAUSS_RY = 0.01

#: Elements whose solids have a gap, alone and among each other (group 14 alloys and carbides).
_GROUP_14 = {"C", "Si", "Ge"}
_GAPPED_ELEMENTS = {
    "H", "He", "B", "N", "O", "F", "Ne", "P", "S", "Cl", "Ar", "Se", "Br", "Kr", "Te", "I", "Xe",
} | _GROUP_14  # fmt: skip

#: High-spin moments (Bohr magnetons) of the magnetic elements: unpaired d electrons of the atom or
#: common ion.
_MOMENTS = {"Cr": 4.0, "Mn": 5.0, "Fe": 4.0, "Co": 3.0, "Ni": 2.0}
_LANTHANIDES = ("Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb")
_F_MOMENTS = dict(
    zip(
        _LANTHANIDES, (1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0), strict=True
    )
)
_ACTINIDES = dict(
    zip(("Pa", "U", "Np", "Pu", "Am", "Cm"), (2.0, 3.0, 4.0, 5.0, 6.0, 7.0), strict=True)
)

#: Atomic numbers, first and last.
_OPEN_INNER_SHELLS = ((21, 29), (39, 47), (57, 79), (89, 103))

#: Elements whose low cutoff was measured: force error in meV/Å against 64 Ry.
_MEASURED_LOW_FORCE_ERROR = {"Si": 1.0, "Al": 5.5}
# meV/Å. A low cutoff hint whose measured error is above is not trusted.
MAX_CUTOFF_FORCE_ERROR = 10.0


SHEETS_OF_CARBON = Choice(True, "graphite and graphene are semimetals: their bands meet")
MOLECULES_SIDE_BY_SIDE = Choice(
    MOLECULAR_SPACING_PER_A,
    "molecules side by side: flat bands, Gamma alone in cells of 9 Å and more",
)
#: Elements of molecules and noble gases; what else they bond to makes networks or salts.
_MOLECULAR_ELEMENTS = _GAPPED_ELEMENTS - {"B", "Ge", "Te"}


def makes_molecules(composition: Composition) -> bool:
    """Whether solids of these elements may consist of molecules or noble atoms."""
    return set(composition) <= _MOLECULAR_ELEMENTS


def is_metal(composition: Composition) -> Choice[bool]:
    """A guess from the composition: True when a gap is not expected.

    A gap is expected for non-metallic elements alone and among each other (carbides, molecules and
    their solids), and for compounds whose usual oxidation states add up to zero, but not where an
    open d or f shell is left: plain PBE has no gap, or hardly one, in FeO, CoO or CeO2 with an
    electron too many. The guess decides k-points and smearing only; a wrong "semiconductor" costs
    accuracy, a wrong "metal" costs time. Symbols given once each count 1:1.
    """
    counts = composition if isinstance(composition, Mapping) else Counter(composition)
    elements = set(counts)
    if elements <= _GAPPED_ELEMENTS:
        return Choice(
            False,
            f"{'-'.join(sorted(elements))}: non-metals have a gap in their usual solids and"
            " molecules",
        )
    # Also where it is closed in this compound: a vacancy opens it.
    magnetic = sorted(s for s in elements if _high_spin(s) or moment_in(s, counts))
    if len(elements) > 1 and magnetic:
        return Choice(
            True, f"open shell of {', '.join(magnetic)}: PBE may leave no gap, so none is assumed"
        )
    if balanced(counts):
        return Choice(False, "usual oxidation states add up to zero, so a gap is expected")
    if elements & set(ANIONS) or elements & _GAPPED_ELEMENTS:
        return Choice(True, "usual oxidation states do not add up to zero, so no gap is assumed")
    return Choice(True, "only metallic elements")


def wide_gap(composition: Composition) -> Choice[bool]:
    """True for strong ionics: closed-shell cations with halogens or oxygen, of which even the
    nearest two differ by 2.0 in electronegativity.
    """
    counts = composition if isinstance(composition, Mapping) else Counter(composition)
    difference = electronegativity_difference(counts)
    if difference is None:
        return Choice(False, "not built of closed-shell ions")
    return Choice(
        difference >= IONIC_DIFFERENCE,
        f"closed-shell ions, electronegativities {difference:.1f} apart",
    )


def has_nonmetal(symbols: Sequence[str]) -> bool:
    """True when an element is among them that is no metal by itself."""
    return bool(set(symbols) & _GAPPED_ELEMENTS)


def kspacing_per_a(
    composition: Composition,
    pbc: Sequence[bool] = (True, True, True),
    *,
    metal: Choice[bool] | None = None,
) -> Choice[float]:
    """k-point spacing in 1/Å, 2π included. ``metal``: where more is known than the composition.

    Metals 0.25. Semiconductors and insulators 0.36 with shifted meshes. Silicon of 8 atoms, forces
    against a 6x6x6 shifted mesh: a crystal at 900 K is within 10 meV/Å already at 0.39, but an
    amorphous cell, whose gap has closed, is 290 meV/Å off at 0.57 (2x2x2), 140 at 0.39 (3x3x3) and
    50 at 0.29 (4x4x4). 0.36 is where label noise falls below what a potential of this kind
    resolves, at about 30 s a label.

    Wide gaps (:func:`wide_gap`) 0.54. Cells of 8 atoms, rattled by 0.08 Å, against 0.36: forces of
    NaCl within 0.8 meV/Å rms (0.56: 3.7), of MgO within 6.3 (0.74: 27), at 8 in place of 27
    k-points; perfect crystals within 0.02 meV/atom.
    """
    if not any(pbc):
        return Choice(
            METAL_SPACING_PER_A, "no periodic direction: one k-point whatever the spacing"
        )
    guess = metal or is_metal(composition)
    if guess.value:
        return Choice(
            METAL_SPACING_PER_A, f"metal ({guess.reason}): 0.25 1/Å resolves the Fermi surface"
        )
    wide = wide_gap(composition)
    if wide.value:
        return Choice(
            WIDE_GAP_SPACING_PER_A,
            f"wide gap ({wide.reason}): 0.54 1/Å, shifted: forces of rattled NaCl within 1 meV/Å,"
            " of MgO within 6",
        )
    return Choice(
        SEMICONDUCTOR_SPACING_PER_A,
        f"semiconductor or insulator ({guess.reason}): 0.36 1/Å, shifted: silicon crystals within"
        " 10 meV/Å, amorphous cells within 50",
    )


def kmesh_shifted(
    composition: Composition, pbc: Sequence[bool] = (True, True, True)
) -> Choice[bool]:
    """Whether meshes are shifted by half a step along every periodic direction (also where n = 1).

    True for crystals of every kind; hexagonal cells stay Gamma-centred
    (:func:`mlip_autopipec.science.kpoints.choose_grid`). The leading error of a mesh adds up, over
    the nearest vectors of its superlattice, cosines of 2π times shift and vector (Moreno & Soler,
    Phys. Rev. B 45, 13891, 1992): of the twelve of a face-centred one the shift turns the sign of
    six, so they cancel; in body-centred and simple ones it turns all, and the error keeps its size.
    Aluminium at 0.25 1/Å (mv 0.01 Ry), without and with the shift, against meshes of 24-28 (fcc,
    bcc) and of 16 (rattled):

    ==========================  =======================  =======================
    aluminium                   Gamma-centred            shifted
    ==========================  =======================  =======================
    fcc primitive 9x9x9         +29 meV/atom             -0.4 meV/atom
    the same, 7 to 10           -48 to +29               -5 to +13
    a0, B against WIEN2k        +0.17 %, +2.0 %          -0.09 %, -4.1 %
    4 atoms, rattled by 0.1 Å   58 meV/Å rms             16 meV/Å rms
    bcc primitive, 8 to 10      -16 to +38 meV/atom      +3 to +21 meV/atom
    ==========================  =======================  =======================

    (20x20x20: -0.03 %, -2.2 %.) In the hexagonal cell (9x9x6) the shift makes stresses that the
    crystal does not have: 0.9 GPa of shear, and 1 GPa between the two directions of the plane. The
    price of leaving it out, hexagonal silicon rattled by 0.05 Å at 0.36 1/Å against 8x8x5: forces
    within 33 meV/Å rms instead of 16, energy +17 meV/atom instead of -8 (with a shift along the
    sixfold axis alone, which keeps the symmetry, 12 and +13).
    """
    if not any(pbc):
        return Choice(False, "no periodic direction: Gamma point")
    if is_metal(composition).value:
        return Choice(
            True,
            "shifted meshes converge faster (aluminium at this spacing: 0.4 instead of 29 meV/atom,"
            " forces within 16 instead of 58 meV/Å); hexagonal cells stay Gamma-centred",
        )
    return Choice(
        True,
        "shifted meshes converge faster with a gap (silicon 4x4x4: 1.4 instead of 93 meV/atom);"
        " hexagonal cells stay Gamma-centred",
    )


def kmesh(
    cell: ArrayLike,
    pbc: Sequence[bool] = (True, True, True),
    spacing_per_a: float = METAL_SPACING_PER_A,
    shifted: bool = False,
) -> tuple[int, int, int]:
    """Monkhorst-Pack divisions for a symmetric cell, to be kept along an equation of state.

    ``cell``: (3, 3) in Å, rows are vectors; ``spacing_per_a`` with 2π included. The grid is that of
    :func:`mlip_autopipec.science.kpoints.choose_grid`. Where it is a face-centred part of a finer
    mesh, the finer mesh itself is returned: a symmetric cell reduces it by its own symmetry, and in
    the conventional cells of fcc and diamond it is the same sampling, so energies along the
    equation of state agree with those of the training cells.
    """
    vectors = np.asarray(cell, dtype=float)
    return choose_grid(vectors, pbc, spacing_per_a, shifted).divisions


def smearing(
    composition: Composition, *, metal: bool | None = None
) -> Choice[tuple[Literal["mv", "gaussian"], float]]:
    """Kind and width (Ry): cold smearing for metals, Gaussian where a gap is possible. ``metal``:
    where more is known than the composition.

    The occupation of cold smearing (Marzari et al., Phys. Rev. Lett. 82, 3296, 1999) overshoots 1,
    so with a gap its Fermi energy is not unique: pw.x 6.7 put it into the valence band of perfect
    silicon (0.7 meV/atom too high at 4x4x4, 5.5 at 2x2x2, with a jump along the equation of state).
    Gaussian occupations are monotonic.
    """
    if is_metal(composition).value if metal is None else metal:
        return Choice(
            ("mv", DEGAUSS_RY), "metal: cold smearing, whose forces hardly depend on the width"
        )
    return Choice(
        ("gaussian", DEGAUSS_RY),
        "gap expected: narrow, Gaussian because the Fermi energy of cold smearing is not unique in"
        " a gap; not fixed occupations because melts and defects close gaps",
    )


def _high_spin(symbol: str) -> float:
    return {**_MOMENTS, **_F_MOMENTS, **_ACTINIDES}.get(symbol, 0.0)


def moment_in(symbol: str, composition: Composition) -> float:
    """High-spin moment (Bohr magnetons) of an element in a compound: Cu2+ has an unpaired electron,
    Co3+ among oxygen none (low spin, as in LiCoO2).
    """
    counts = composition if isinstance(composition, Mapping) else Counter(composition)
    if symbol == "Cu":
        return 1.0 if charge_of(symbol, counts) == 2 else 0.0
    if symbol == "Co" and "O" in counts and charge_of(symbol, counts) == 3:
        return 0.0
    return _high_spin(symbol)


def open_inner_shell(symbol: str) -> bool:
    """True for the elements of groups 3 to 11 and of the f block: s competes with d or f levels."""
    number = atomic_numbers[symbol]
    return any(first <= number <= last for first, last in _OPEN_INNER_SHELLS)


def starting_moments(composition: Composition) -> Choice[dict[str, float]]:
    """High-spin start moments (Bohr magnetons) of the magnetic elements of a compound; empty when
    there is none.
    """
    moments = {s: moment_in(s, composition) for s in sorted(set(composition))}
    magnetic = [symbol for symbol, moment in moments.items() if moment]
    if magnetic:
        return Choice(
            moments,
            f"{', '.join(magnetic)} may be magnetic: started from the high-spin value, all atoms"
            " parallel",
        )
    if set(composition) == {"O"}:
        return Choice({"O": 1.0}, "O2 is a triplet")
    if "Co" in moments:
        return Choice({}, "Co3+ among oxygen is a closed shell (low spin), and is not forced open")
    return Choice({}, "no magnetic element")


def spin_polarized(composition: Composition) -> Choice[bool]:
    """True when :func:`starting_moments` names any."""
    moments = starting_moments(composition)
    return Choice(bool(moments.value), moments.reason)


def wavefunction_cutoff_ry(hints: Mapping[str, tuple[float, float, float]]) -> Choice[float]:
    """Plane-wave cutoff for every cell of a campaign, from the family's (low, normal, high) hints
    in Ry per element.

    The low hint is taken for an element whose low hint was measured to keep forces within 10 meV/Å
    (Si, Al), the normal one otherwise; the largest over the elements of the campaign counts. Raises
    ValueError without elements.
    """
    if not hints:
        raise ValueError("no elements")
    needed = {}
    for element, (low, normal, _) in hints.items():
        error = _MEASURED_LOW_FORCE_ERROR.get(element)
        trusted = error is not None and error < MAX_CUTOFF_FORCE_ERROR
        needed[element] = (
            (low, f"low hint, measured force error {error} meV/Å")
            if trusted
            else (normal, "normal hint")
        )
    hardest = max(needed, key=lambda element: needed[element][0])
    value, why = needed[hardest]
    return Choice(float(value), f"{hardest} needs the most: {why}")


def rho_cutoff_ry(
    cutoff_ry: float, dual: float = 4.0, needed: Mapping[str, float] | None = None
) -> Choice[float]:
    """Density cutoff: four times the wave-function cutoff is exact for norm-conserving
    pseudopotentials.

    ``needed``: density cutoffs (Ry) that ultrasoft and PAW elements ask for. Their augmentation
    charges are as hard as they are whatever the wave-function cutoff, so the largest of them and of
    4x counts. ``dual`` is used instead of 4 where a family gives nothing but a ratio.
    """
    if needed:
        hardest = max(needed, key=lambda element: needed[element])
        if needed[hardest] > 4 * cutoff_ry:
            return Choice(
                float(needed[hardest]), f"{hardest} needs the most for its augmentation charge"
            )
        return Choice(
            4 * cutoff_ry, f"4 x {cutoff_ry:g} Ry is more than any augmentation charge needs"
        )
    exact = "exact for norm-conserving pseudopotentials" if dual == 4.0 else "the family's dual"
    return Choice(dual * cutoff_ry, f"{dual:g} x {cutoff_ry:g} Ry, {exact}")
