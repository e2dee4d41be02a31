"""What pretrained universal potentials have in common."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ase.data import chemical_symbols

from mlip_autopipec.base.errors import InputError

__all__ = ["MATERIALS_PROJECT_ELEMENTS", "refuse_unknown"]

# The 89 elements of the relaxation trajectories of the Materials Project (MPtrj; Deng et al.,
# Nature Machine Intelligence 5, 1031 (2023)), on which CHGNet, SevenNet-0 and MACE-MP were fitted:
# H to Pu without these five.
MATERIALS_PROJECT_ELEMENTS = frozenset(chemical_symbols[1:95]) - {"Po", "At", "Rn", "Fr", "Ra"}


def refuse_unknown(symbols: Sequence[str], known: Collection[str], name: str) -> None:
    """Raise InputError that names the elements which the model ``name`` was not trained on."""
    unknown = sorted(set(symbols) - set(known))
    if unknown:
        raise InputError(
            f"{name} was not trained on this element",
            key="surrogate.engine",
            value=", ".join(unknown),
            hint="choose another surrogate, or let the screen use geometry alone",
        )
