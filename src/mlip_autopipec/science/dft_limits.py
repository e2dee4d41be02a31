"""What labels and potentials leave out, where it touches a material."""

from __future__ import annotations

from ase.data import atomic_numbers

from mlip_autopipec.science.dft_rules import Composition, moment_in, wide_gap
from mlip_autopipec.science.ions import ANIONS

__all__ = ["limits_of"]

# From hafnium on splittings of the valence shell reach half an electronvolt.
_SPIN_ORBIT_FROM = 72


def limits_of(composition: Composition) -> list[str]:
    """What a label by this functional alone leaves out, where it touches the material."""
    elements = set(composition)
    found = []
    open_shells = sorted(s for s in elements if moment_in(s, composition))
    if open_shells and elements & set(ANIONS):
        shells = ", ".join(open_shells)
        found.append(f"open shells of {shells} beside anions usually ask for +U (dft.hubbard)")
    heavy = sorted(s for s in elements if atomic_numbers[s] >= _SPIN_ORBIT_FROM)
    if heavy:
        found.append(f"without spin-orbit coupling, which {', '.join(heavy)} would notice")
    if wide_gap(composition).value:
        found.append("a short-range potential will not see long-range electrostatics")
    return found
