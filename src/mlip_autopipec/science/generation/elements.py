"""Start crystals of an element: its known crystal, and the simple lattices beside it."""

from __future__ import annotations

import contextlib

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii, reference_states
from ase.neighborlist import neighbor_list

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science.generation.aflow import prototypes_of
from mlip_autopipec.science.lattices import bare

__all__ = ["SIMPLE", "elemental", "lattice_of", "reference_crystal", "simple_lattice", "touching"]

SIMPLE = ("diamond", "fcc", "bcc", "hcp", "sc")
# alpha-Mn has 29 atoms in its primitive cell; what is larger (beta-B: 105) is not worth its DFT.
MAX_ATOMS = 30


def lattice_of(symbol: str) -> str:
    """The lattice that ASE's table of reference states names for an element; empty where it names
    none.
    """
    return str((reference_states[atomic_numbers[symbol]] or {}).get("symmetry", ""))


def reference_crystal(symbol: str) -> Candidate | None:
    """The element's known crystal at its measured lattice constants; None where ASE knows the
    lattice but no basis.
    """
    # alpha-Mn, Ga, B ...
    with contextlib.suppress(ValueError, RuntimeError, KeyError, NotImplementedError):
        return Candidate(
            bare(bulk(symbol), moments=False),  # ASE brings some, ferromagnetic
            Provenance("start", f"reference:{symbol}", {"prototype": lattice_of(symbol)}),
            forced=True,
        )
    return None


def simple_lattice(symbol: str, lattice: str) -> Atoms:
    """An element on one of the SIMPLE lattices, nearest neighbours touching."""
    return touching(bulk(symbol, lattice, a=4.0, c=4.0 * 1.633 if lattice == "hcp" else None))


def elemental(symbol: str) -> list[Candidate]:
    """The reference crystal first, then the simple lattices; all small prototypes where there is no
    reference.

    Raises InputError for the elements of two-atom molecules: what is meant, gas or molecular
    crystal, is not known.
    """
    reference = lattice_of(symbol)
    if reference == "diatom":
        raise InputError(
            "this element is a gas of molecules",
            key="material",
            value=symbol,
            hint=f"write 'molecule: {symbol}2', or give a structure file",
        )
    known = reference_crystal(symbol)
    found = [known] if known is not None else []
    for lattice in SIMPLE:
        if lattice != reference or known is None:
            atoms = simple_lattice(symbol, lattice)
            found.append(
                Candidate(atoms, Provenance("start", f"{lattice}:{symbol}", {"prototype": lattice}))
            )
    if known is None:
        for item in prototypes_of({symbol: 1}, MAX_ATOMS):
            atoms = bare(item.atoms)
            atoms.symbols[:] = symbol
            parameters = {"prototype": item.name, "aflow": item.label}
            group = f"{item.strukturbericht or item.label}:{symbol}"
            if any(other.provenance.group == group for other in found):
                group = f"{item.label}:{len(found)}:{symbol}"
            found.append(Candidate(touching(atoms), Provenance("start", group, parameters)))
    return found


def touching(atoms: Atoms) -> Atoms:
    """Scaled so that the nearest pair is as far apart as the sum of its covalent radii."""
    radii = covalent_radii[atoms.numbers]
    reach = 1.1
    # The cutoff grows in units of radii, so the nearest pair in these units is the nearest of all.
    while len((found := neighbor_list("ijd", atoms, reach * radii))[2]) == 0:
        reach *= 1.3
    i, j, distance = found
    ratio = float(np.min(distance / (radii[i] + radii[j])))
    scaled = bare(atoms)
    scaled.set_cell(atoms.cell.array / ratio, scale_atoms=True)
    return scaled
