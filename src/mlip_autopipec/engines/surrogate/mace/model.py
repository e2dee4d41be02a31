"""Loads a MACE model; run by the Python of its own environment (see
``engines.calculator_server``).
"""

from __future__ import annotations

from typing import Any

__all__ = ["load"]


def load(options: dict[str, Any]) -> tuple[Any, list[str]]:
    """(ASE calculator, symbols of the elements it knows). ``options``: {"path": of the model
    file}.
    """
    import torch
    from ase.data import chemical_symbols
    from mace.calculators import MACECalculator

    torch.set_num_threads(1)
    # Single precision as its authors advise for dynamics; double costs 2.4 times as much.
    calculator = MACECalculator(model_paths=options["path"], device="cpu", default_dtype="float32")
    return calculator, [chemical_symbols[number] for number in calculator.z_table.zs]
