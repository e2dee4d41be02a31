"""Palette and style of the report's figures.

Okabe and Ito's colours, safe for colour-blind readers: DFT and training data dark, the potential
and held-out data in colour, so that a colour means the same thing in every figure.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "INK",
    "ORANGE",
    "PURPLE",
    "RED",
    "STYLE",
    "panels",
    "svg",
]

INK, GREY, BLUE, ORANGE, GREEN, RED, PURPLE = (
    "#20262d",
    "#9aa3ad",
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#b5322a",
    "#8f5a9e",
)
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mlip",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ec",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def panels(columns: int, width: float, height: float) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with axes side by side; width and height in inches."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
        yield figure, list(axes)


def svg(figure: Figure) -> str:
    """The figure as SVG text, the same each time."""
    text = io.StringIO()
    figure.savefig(text, format="svg", dpi=150, metadata={"Date": None})
    return text.getvalue()
