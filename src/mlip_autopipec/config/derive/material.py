"""What several sections ask of the material: its kind, its radius, the temperatures of its goal."""

from __future__ import annotations

from ase.data import atomic_numbers, covalent_radii

from mlip_autopipec.config.input import UserInput
from mlip_autopipec.config.plan import Material
from mlip_autopipec.science import dft_rules

__all__ = ["DEFAULT_TEMPERATURES_K", "kind_of", "radius_a", "temperatures_k"]

# By goal: ambient, and far enough above for the anharmonic part (general: up to and beyond many
# melting points).
DEFAULT_TEMPERATURES_K = {"general": [300.0, 900.0], "crystal": [300.0, 600.0]}


_IONIC = {
    "H",
    "N",
    "O",
    "F",
    "Cl",
    "Br",
    "I",
}  # anions that make a compound with a gap an insulator


def radius_a(material: Material) -> float:
    """Covalent radius of the largest element (Å)."""
    return max(float(covalent_radii[atomic_numbers[element]]) for element in material.elements)


def kind_of(material: Material) -> str:
    if material.kind == "molecule":
        return "molecule"
    if dft_rules.is_metal(material.fractions).value:
        return "metal"
    return "insulator" if _IONIC & set(material.elements) else "semiconductor"


def temperatures_k(user: UserInput) -> list[float]:
    return user.temperatures_k or DEFAULT_TEMPERATURES_K[user.goal]
