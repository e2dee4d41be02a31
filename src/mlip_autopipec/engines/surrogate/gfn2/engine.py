"""GFN2-xTB as the surrogate of molecules: tight binding with parameters for every element up to
radon.

Bannwarth, Ehlert & Grimme, J. Chem. Theory Comput. 15, 1652 (2019), by the library tblite. No
pretrained potential: it has electrons, so that radicals and broken bonds come out sensibly, which a
model learned from crystals cannot offer.
"""

from __future__ import annotations

from collections.abc import Sequence

from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from mlip_autopipec.base.errors import MissingProgramError

__all__ = ["Gfn2"]

INSTALL = "pip install 'mlip-autopipec[xtb]'"
METHOD = "GFN2-xTB"
SUPPORTED = frozenset(chemical_symbols[1:87])


class Gfn2:
    """Surrogate port. Each calculator keeps the electrons of the last structure as its first
    guess.
    """

    def calculator(self) -> Calculator:
        """Energy, forces and, in periodic cells, stress.

        Raises MissingProgramError when tblite is not installed.
        """
        self.require()
        from tblite.ase import TBLite

        return TBLite(method=METHOD, verbosity=0)

    def supports(self, symbols: Sequence[str]) -> bool:
        """Whether every element has parameters."""
        return set(symbols) <= SUPPORTED

    def require(self) -> object:
        """Raises MissingProgramError when tblite is not installed."""
        try:
            import tblite.ase
        except ModuleNotFoundError as error:
            raise MissingProgramError(
                f"the Python package {error.name!r} (surrogate GFN2-xTB)", INSTALL
            ) from error
        return tblite.ase
