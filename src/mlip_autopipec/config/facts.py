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


def radius_a(material: Material) -> float:
    """Covalent radius of the largest element (Å)."""
    return max(float(covalent_radii[atomic_numbers[element]]) for element in material.elements)


def lightest(material: Material) -> tuple[str, float]:
    """The lightest element and its mass (amu): it sets the fastest vibration."""
    masses = {symbol: float(atomic_masses[atomic_numbers[symbol]]) for symbol in material.elements}
    symbol = min(masses, key=lambda name: masses[name])
    return symbol, masses[symbol]


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
