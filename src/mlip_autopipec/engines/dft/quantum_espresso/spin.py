"""Occupations and spin of one calculation: those of the method, and spin wherever a free atom, a
free pair or an odd number of electrons needs it.

These are rules of preparing a calculation, the same in every campaign, so labels with and without
spin share one method. A closed shell calculated with spin gives the same numbers at twice the
cost; an open one without is wrong by the energy of its spin (hydrogen 1.04 eV).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, ground_state_magnetic_moments

from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft.quantum_espresso.species import Species, has_moments
from mlip_autopipec.science import dft_rules, magnetic_order

__all__ = [
    "is_doublet",
    "is_free_atom",
    "moments_count",
    "occupations_and_spin",
    "ordered",
    "state_problem",
    "unpaired",
]

# Of the moments of its atoms that a free pair starts from. From all of it a hydrogen molecule stays
# a triplet, 10 eV too high, for no electron of the other spin is there to begin with; from half it
# finds the singlet, and four silicon pairs end as they did (moments of 2, 4, 1.6 and 2).
PAIR_SHARE = 0.5


def ordered(atoms: Atoms, method: Method) -> Atoms:
    """``atoms`` with the moments that the method's magnetic order starts them from, where it has
    one and the structure does not say its own.
    """
    if method.magnetic_order != "antiferro" or not method.spin_polarized or has_moments(atoms):
        return atoms
    if not any(atoms.pbc):
        return atoms
    moments = magnetic_order.alternating(atoms, method.starting_moments)
    if moments is None:
        return atoms
    copy: Atoms = atoms.copy()
    copy.set_initial_magnetic_moments(moments)
    return copy


def moments_count(atoms: Atoms, method: Method) -> bool:
    """Whether the moments of a structure start its calculation: a free atom has those of its ground
    state.
    """
    return method.spin_polarized and has_moments(atoms) and not is_free_atom(atoms)


def occupations_and_spin(
    atoms: Atoms, method: Method, z_valence: Mapping[str, float], started: Sequence[Species] = ()
) -> dict[str, object]:
    """Entries of the namelist ``system``. ``z_valence``: electrons of each pseudopotential;
    ``started``: the species where the structure's own moments count.

    A free atom has the multiplicity of its ground state, and whole electrons in its levels: smeared
    over the three p levels oxygen's is 0.37 eV too high. Where s competes with d or f levels they
    are smeared, and what that adds to the energy is taken out again (:func:`outputs.parse_folder`).
    A free pair starts from half the moments of its atoms, parallel, and finds its own. What else
    has an odd number of electrons, and a gap or no periodicity, is a doublet; in a metal the bands
    share the odd electron.
    """
    if started:
        return _smeared(method) | _started(
            [one.symbol for one in started], [one.moment or 0.0 for one in started], z_valence
        )
    species = sorted(set(atoms.get_chemical_symbols()))
    free = not any(atoms.pbc)
    if free and len(atoms) <= 2:
        return _free_atoms(atoms, species, method, z_valence)
    moments = method.starting_moments
    # A density that starts unpolarised stays so: nspin = 2 would give the same numbers at twice
    # the cost.
    if method.spin_polarized and any(moments.get(symbol) for symbol in species):
        start = [float(moments.get(symbol, 0.0)) for symbol in species]
        return _smeared(method) | _started(species, start, z_valence)
    electrons = sum(z_valence[symbol] for symbol in atoms.get_chemical_symbols()) - method.charge
    if is_doublet(method, species, electrons, free=free):
        return _smeared(method) | {"nspin": 2, "tot_magnetization": 1.0}
    return _smeared(method)


def is_doublet(method: Method, species: Sequence[str], electrons: float, *, free: bool) -> bool:
    """Whether an odd number of ``electrons`` leaves one that no band shares: with a gap, or without
    periodicity (``free``).
    """
    gap = free or (method.smearing == "gaussian" and dft_rules.has_nonmetal(species))
    return gap and round(electrons) % 2 == 1


def unpaired(symbol: str, electrons: float) -> int:
    """Unpaired electrons of the free atom's ground state (Hund), or one or none where the
    pseudopotential's number of ``electrons`` leaves no way to them (a frozen f shell).
    """
    moment = round(float(ground_state_magnetic_moments[atomic_numbers[symbol]]))
    odd = round(electrons) % 2
    return moment if moment % 2 == odd else odd


# Of the moments that a calculation starts from: with less it has lost them. Those of oxides shrink
# to 0.6 to 0.9 of their high-spin value, those of metals to 0.25 (nickel, from 2).
LOST_SHARE = 0.15
# Of the absolute magnetisation: a total so large is that of another order than one that adds up to
# nothing.
UNBALANCED_SHARE = 0.3


def state_problem(atoms: Atoms, method: Method, total: float, absolute: float) -> str | None:
    """Why moments are of another state than the one that was asked for, in one line: labels of two
    states on one potential surface cannot be learned. None where they are as asked, and where
    nobody asked: what starts from an element's usual moment may well be non-magnetic.

    ``total`` and ``absolute`` magnetisation of the cell in Bohr magnetons.
    """
    asked = ordered(atoms, method)
    if not moments_count(asked, method):
        return None
    moments = asked.get_initial_magnetic_moments()
    size = float(np.abs(moments).sum())
    if absolute < LOST_SHARE * size:
        return (
            f"the moments were lost: absolute magnetisation {absolute:.2f}, started from {size:.2f}"
            " Bohr magnetons"
        )
    balanced = abs(float(moments.sum())) < UNBALANCED_SHARE * size / 2
    if balanced and abs(total) > UNBALANCED_SHARE * absolute:
        return (
            f"opposite moments have turned: total magnetisation {total:.2f} of {absolute:.2f} Bohr"
            " magnetons"
        )
    return None


def is_free_atom(atoms: Atoms) -> bool:
    return len(atoms) == 1 and not any(atoms.pbc)


def _free_atoms(
    atoms: Atoms, species: list[str], method: Method, z_valence: Mapping[str, float]
) -> dict[str, object]:
    moments = {symbol: float(unpaired(symbol, z_valence[symbol])) for symbol in species}
    alone = is_free_atom(atoms)
    # Gaussian: the Fermi energy of cold smearing is not unique between levels.
    found: dict[str, object] = {
        "occupations": "smearing",
        "smearing": "gaussian",
        "degauss": method.degauss_ry,
    }
    if alone and not dft_rules.open_inner_shell(species[0]):
        found = {"occupations": "fixed"}
    if not any(moments.values()):
        return found
    if alone:
        fixed = {"tot_magnetization": moments[species[0]]}
        return found | _started(species, [moments[species[0]]], z_valence) | fixed
    halved = [PAIR_SHARE * moments[symbol] for symbol in species]
    return found | _started(species, halved, z_valence)


def _smeared(method: Method) -> dict[str, object]:
    if method.occupations != "smearing":
        return {"occupations": method.occupations}
    return {
        "occupations": "smearing",
        "smearing": method.smearing,
        "degauss": method.degauss_ry,
    }


def _started(
    symbols: Sequence[str], moments: Sequence[float], z_valence: Mapping[str, float]
) -> dict[str, object]:
    """Moments (Bohr magnetons) of each species, whose elements are ``symbols``; before QE 7.3 a
    starting magnetization is a fraction of the valence electrons.
    """
    found: dict[str, object] = {"nspin": 2}
    for index, (symbol, moment) in enumerate(zip(symbols, moments, strict=True), 1):
        fraction = moment / z_valence[symbol]
        found[f"starting_magnetization({index})"] = round(min(max(fraction, -1.0), 1.0), 6)
    return found
