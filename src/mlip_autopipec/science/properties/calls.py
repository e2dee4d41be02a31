"""How many DFT calculations a property will usually ask for."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from mlip_autopipec.science.properties.port import Property

__all__ = ["ExpectsCalls", "expected_calls"]


@runtime_checkable
class ExpectsCalls(Protocol):
    """A property that usually needs fewer calculations than it may ask for at most."""

    @property
    def expected_calls(self) -> int:
        """What it usually needs."""
        ...


def expected_calls(asked: Property) -> int:
    """What is usual, or the most where the property does not say."""
    return asked.expected_calls if isinstance(asked, ExpectsCalls) else asked.calls
