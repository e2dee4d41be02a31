"""Loads SevenNet; run by the Python of its own environment (see ``engines.calculator_server``)."""

from __future__ import annotations

from typing import Any

__all__ = ["load"]


def load(options: dict[str, Any]) -> tuple[Any, list[str]]:
    """(ASE calculator, symbols of the elements it knows). ``options``: {"model": name or path of a
    checkpoint}.
    """
    import torch
    from ase.data import chemical_symbols
    from sevenn.calculator import SevenNetCalculator

    torch.set_num_threads(1)
    calculator = SevenNetCalculator(options["model"], device="cpu")
    return calculator, [chemical_symbols[number] for number in calculator.type_map]
