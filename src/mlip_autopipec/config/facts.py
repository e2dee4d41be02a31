"""What is known of a material before anything is calculated: its kind, sizes and masses.

Rules about plans and costs ask here, so that none of them knows a material otherwise than another.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

from ase.data import atomic_masses, atomic_numbers, covalent_radii, reference_states

from mlip_autopipec.base.values import Json
from mlip_autopipec.config.plan import Material
from mlip_autopipec.science import dft_rules

__all__ = [
    "Kind",
    "kind_of",
    "lightest",
    "melting_point_k",
    "molecule_atoms",
    "molecule_box",
    "radius_a",
    "volume_per_atom_a3",
]

Kind = Literal["metal", "semiconductor", "insulator", "molecule"]

# Anions that make a compound with a gap an insulator.
_IONIC = frozenset({"H", "N", "O", "F", "Cl", "Br", "I"})
_ATOMS_PER_CELL = {"fcc": 4, "bcc": 2, "diamond": 8, "sc": 1}


def kind_of(material: Material) -> Kind:
    """By composition alone; a molecule is one whatever its atoms are."""
    if material.kind == "molecule":
        return "molecule"
    if dft_rules.is_metal(material.fractions).value:
        return "metal"
    return "insulator" if _IONIC & set(material.elements) else "semiconductor"


def is_cubic_metal(material: Material) -> bool:
    """An elemental metal whose own crystal is face- or body-centred cubic: one atom in the
    primitive cell.
    """
    if kind_of(material) != "metal" or len(material.elements) != 1:
        return False
    state: Json = dict(reference_states[atomic_numbers[material.elements[0]]] or {})
    return state.get("symmetry") in {"fcc", "bcc"}


def radius_a(material: Material) -> float:
    """Covalent radius of the largest element (Å)."""
    return max(float(covalent_radii[atomic_numbers[element]]) for element in material.elements)


def lightest(material: Material) -> tuple[str, float]:
    """The lightest element and its mass (amu): it sets the fastest vibration."""
    masses = {symbol: float(atomic_masses[atomic_numbers[symbol]]) for symbol in material.elements}
    symbol = min(masses, key=lambda name: masses[name])
    return symbol, masses[symbol]


def melting_point_k(material: Material) -> float | None:
    """Of an element, by experiment; None for what has no entry."""
    return _MELTS_AT_K.get(material.elements[0]) if len(material.elements) == 1 else None


# CRC Handbook of Chemistry and Physics, 97th edition (2016), section 4, rounded to kelvins.
_MELTS_AT_K = {
    **{"Li": 454.0, "Be": 1560.0, "B": 2348.0, "Na": 371.0, "Mg": 923.0, "Al": 933.0},
    **{"Si": 1687.0, "K": 337.0, "Ca": 1115.0, "Sc": 1814.0, "Ti": 1941.0, "V": 2183.0},
    **{"Cr": 2180.0, "Mn": 1519.0, "Fe": 1811.0, "Co": 1768.0, "Ni": 1728.0, "Cu": 1358.0},
    **{"Zn": 693.0, "Ga": 303.0, "Ge": 1211.0, "Rb": 312.0, "Sr": 1050.0, "Y": 1795.0},
    **{"Zr": 2127.0, "Nb": 2750.0, "Mo": 2895.0, "Tc": 2430.0, "Ru": 2606.0, "Rh": 2236.0},
    **{"Pd": 1828.0, "Ag": 1235.0, "Cd": 594.0, "In": 430.0, "Sn": 505.0, "Sb": 904.0},
    **{"Te": 723.0, "Cs": 302.0, "Ba": 1000.0, "La": 1193.0, "Hf": 2506.0, "Ta": 3290.0},
    **{"W": 3687.0, "Re": 3458.0, "Os": 3306.0, "Ir": 2719.0, "Pt": 2041.0, "Au": 1337.0},
    **{"Tl": 577.0, "Pb": 601.0, "Bi": 545.0},
}


def volume_per_atom_a3(material: Material) -> float:
    """Composition average over the elements' own crystals; from covalent radii where there is none
    (Å^3).
    """
    return sum(part * _element_volume_a3(symbol) for symbol, part in material.fractions.items())


def _element_volume_a3(symbol: str) -> float:
    number = atomic_numbers[symbol]
    state: Json = dict(reference_states[number] or {})
    name, a = str(state.get("symmetry")), float(state.get("a") or 0.0)
    if name in _ATOMS_PER_CELL and a:
        return a**3 / _ATOMS_PER_CELL[name]
    if name == "hcp" and a:
        return a**3 * float(state.get("c/a", 1.633)) * math.sqrt(3) / 4
    return 4.0 / 3.0 * math.pi * float(covalent_radii[number]) ** 3 / 0.35


def molecule_box(material: Material) -> tuple[int, float]:
    """Atoms of the molecule that a material of the kind ``molecule`` is, and the volume of its box
    (Å^3).
    """
    return _geometry(str(material.structure_file or material.molecule))


def molecule_atoms(material: Material) -> int:
    """Atoms of that molecule."""
    return molecule_box(material)[0]


@functools.lru_cache(maxsize=16)
def _geometry(text: str) -> tuple[int, float]:
    """Atoms of a molecule and the volume of its box (Å^3)."""
    from mlip_autopipec.science.generation import molecule_names

    atoms = molecule_names.one_geometry(text)
    return len(atoms), float(atoms.get_volume())
