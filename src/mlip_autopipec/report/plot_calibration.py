"""The figure that shows whether a potential knows how wrong it is."""

from __future__ import annotations

from matplotlib.axes import Axes

from mlip_autopipec.report.drawing import BLUE, GREY, ORANGE, panels, svg
from mlip_autopipec.science.calibration import Calibration

__all__ = ["calibration_plot"]


def calibration_plot(found: Calibration | None) -> str | None:
    """True force errors by predicted error (meV/Å), and beside it by extrapolation grade."""
    if found is None:
        return None
    by_grade = found.bins_of_gamma
    with panels(2 if by_grade else 1, 9.0 if by_grade else 4.6, 3.9) as (figure, axes):
        told = [item.predicted_mev_per_a for item in found.bins]
        true = [item.true_mev_per_a for item in found.bins]
        ends = [min(*told, *true) * 0.8, max(*told, *true) * 1.25]
        axes[0].plot(ends, ends, color=GREY, lw=1, zorder=0)
        _points(axes[0], told, true, BLUE)
        axes[0].set_title(f"Predicted error, rank correlation {found.rank_correlation:.2f}")
        axes[0].set_xlabel("predicted error (meV/Å)")
        axes[0].set_ylabel("true error (meV/Å)")
        if by_grade:
            grades = [item.gamma for item in by_grade]
            _points(axes[1], grades, [item.true_mev_per_a for item in by_grade], ORANGE)
            axes[1].set_title(
                f"Extrapolation grade, rank correlation {found.rank_correlation_of_gamma:.2f}"
            )
            axes[1].set_xlabel("extrapolation grade γ (no unit)")
            axes[1].set_ylabel("true error (meV/Å)")
        return svg(figure)


def _points(axes: Axes, x: list[float], y: list[float], colour: str) -> None:
    axes.plot(x, y, color=colour, marker="o", ms=5, lw=1.0)
    axes.set_xscale("log")
    axes.set_yscale("log")
