"""The basis of a fit as python-ace's object, with a number of functions of its own for each
element.
"""

from __future__ import annotations

from typing import Any

from mlip_autopipec.engines.train.pacemaker.config import basis_spec
from mlip_autopipec.engines.train.pacemaker.inputs import FitSettings

__all__ = ["empty_basis"]


def empty_basis(settings: FitSettings) -> Any:
    """A linear BBasisConfiguration whose coefficients are all nought.

    python-ace limits the functions of all elements alike. A block of functions belongs to its
    central atom, so each element's blocks are taken from the basis that is limited as it should be.
    """
    from pyace import create_multispecies_basis_config

    def limited(functions: int) -> Any:
        return create_multispecies_basis_config(
            basis_spec(settings.elements, functions, settings.cutoff_a, linear=True)
        )

    found = {number: limited(number) for number in set(settings.functions_per_element.values())}
    functions = {
        number: {block.block_name: block.funcspecs for block in basis.funcspecs_blocks}
        for number, basis in found.items()
    }
    # Only the functions are exchanged: radial parts of a pair have to be equal seen from either of
    # its elements.
    basis = found[max(found)]
    blocks = basis.funcspecs_blocks
    for block in blocks:
        centre = block.block_name.split()[0]
        block.funcspecs = functions[settings.functions_per_element[centre]][block.block_name]
    basis.funcspecs_blocks = blocks
    return basis
