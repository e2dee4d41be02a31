"""What several sections ask of the input: the temperatures of its goal."""

from __future__ import annotations

from mlip_autopipec.config.input import UserInput

__all__ = ["DEFAULT_TEMPERATURES_K", "temperatures_k"]

# By goal: ambient, and far enough above for the anharmonic part (general: up to and beyond many
# melting points).
DEFAULT_TEMPERATURES_K = {"general": [300.0, 900.0], "crystal": [300.0, 600.0]}


def temperatures_k(user: UserInput) -> list[float]:
    return user.temperatures_k or DEFAULT_TEMPERATURES_K[user.goal]
