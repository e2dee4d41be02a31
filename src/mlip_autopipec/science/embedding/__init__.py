"""Periodic embedding with force masking: small DFT cells around the atoms on which a potential
extrapolates.
"""

from mlip_autopipec.science.embedding.cut import cut
from mlip_autopipec.science.embedding.lattice import Crystal, find_crystal, primitive_cell
from mlip_autopipec.science.embedding.model import Cutout, Skipped

__all__ = ["Crystal", "Cutout", "Skipped", "cut", "find_crystal", "primitive_cell"]
