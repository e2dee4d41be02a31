"""The report's figures as SVG text. Each takes plain values; None comes back where there is nothing
to draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    STYLE,
    panels,
    svg,
)
from mlip_autopipec.report.rows import (
    PotentialRow,
)
from mlip_autopipec.report.timeline import TimelineRow
from mlip_autopipec.science.predictions import Errors, Predicted, Predictions
from mlip_autopipec.science.properties.port import Chart

__all__ = [
    "Spend",
    "chart",
    "force_masks",
    "gamma_histogram",
    "learning_curve",
    "parity",
    "spend",
    "timeline",
]

KIND_COLOURS = {
    "generate": GREY,
    "select": GREY,
    "harvest": PURPLE,
    "label": BLUE,
    "train": ORANGE,
    "explore": GREEN,
    "validate": INK,
    "hit_rate": INK,
}
KIND_WORDS = {"label": "DFT", "train": "training", "explore": "MD"}


def parity(predictions: Predictions | None) -> str | None:
    """Potential against DFT: energies (eV/atom, above the lowest; whole cells) and force components
    (unmasked atoms).
    """
    if predictions is None or not (predictions.train or predictions.test):
        return None
    parts = (("training", INK, predictions.train), ("held out", ORANGE, predictions.test))
    whole = [row.energy_dft_ev_per_atom for _, _, rows in parts for row in rows if not row.masked]
    lowest = min(whole, default=0.0)
    with panels(2, 9.0, 4.2) as (figure, (left, right)):
        for word, colour, rows in parts:
            pairs = _energies(rows) - lowest
            _parity_points(left, pairs, colour, f"{word} ({len(pairs)} cells)", 16)
            stacked = np.concatenate([*(_forces(row) for row in rows), np.empty((0, 2))])
            _parity_points(right, stacked, colour, f"{word} ({len(stacked)} components)", 4)
        _parity_axes(left, "Energy above the lowest cell", "eV/atom")
        _parity_axes(right, "Force components", "eV/Å")
        return svg(figure)


def _energies(rows: Sequence[Predicted]) -> FloatArray:
    """(n, 2) by DFT and by the potential, of whole cells."""
    pairs = [
        (row.energy_dft_ev_per_atom, row.energy_potential_ev_per_atom)
        for row in rows
        if not row.masked
    ]
    return np.array(pairs, dtype=float).reshape(-1, 2)


def _forces(row: Predicted) -> FloatArray:
    return np.column_stack([row.forces_dft_ev_per_a, row.forces_potential_ev_per_a]).astype(float)


def _parity_points(axes: Axes, pairs: FloatArray, colour: str, label: str, size: float) -> None:
    if len(pairs):
        axes.scatter(
            pairs[:, 0],
            pairs[:, 1],
            s=size,
            color=colour,
            alpha=0.6,
            lw=0,
            label=label,
            rasterized=True,
        )


def _parity_axes(axes: Axes, title: str, unit: str) -> None:
    low, high = (
        min(axes.get_xlim()[0], axes.get_ylim()[0]),
        max(axes.get_xlim()[1], axes.get_ylim()[1]),
    )
    axes.plot([low, high], [low, high], color=GREY, lw=1, zorder=0)
    axes.set(
        title=title,
        xlabel=f"DFT ({unit})",
        ylabel=f"potential ({unit})",
        xlim=(low, high),
        ylim=(low, high),
    )
    axes.set_aspect("equal", adjustable="box")
    if axes.collections:
        axes.legend(loc="upper left")


def learning_curve(
    potentials: Sequence[PotentialRow], energy_target: float | None, force_target: float | None
) -> str | None:
    """RMSE against labels, one point per potential; dashed: the target (meV/atom, meV/Å)."""
    if not potentials:
        return None
    parts = (("training", INK, "s"), ("held out", ORANGE, "o"))
    with panels(2, 9.0, 3.4) as (figure, axes):
        for panel, (title, unit, target, error) in zip(
            axes,
            (
                ("Energy RMSE", "meV/atom", energy_target, _energy_rmse),
                ("Force RMSE", "meV/Å", force_target, _force_rmse),
            ),
            strict=True,
        ):
            for word, colour, marker in parts:
                points = [
                    (row.labels, error(row.train if word == "training" else row.test))
                    for row in potentials
                ]
                known = [(x, y) for x, y in points if y is not None]
                if known:
                    panel.plot(
                        *zip(*known, strict=True),
                        color=colour,
                        marker=marker,
                        ms=5,
                        lw=1.4,
                        label=word,
                    )
            if target is not None:
                panel.axhline(target, color=GREEN, lw=1.2, ls="--", label=f"target {target:g}")
            panel.set(title=title, xlabel="labelled structures", ylabel=unit)
            panel.set_ylim(bottom=0)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            if panel.lines:
                panel.legend()
        return svg(figure)


def _energy_rmse(errors: Errors) -> float | None:
    return errors.energy_rmse_mev_per_atom


def _force_rmse(errors: Errors) -> float | None:
    return errors.force_rmse_mev_per_a


def gamma_histogram(
    gamma: Mapping[str, Sequence[float]], select: float | None, brk: float | None
) -> str | None:
    """Extrapolation grades met in MD, one row of counts per potential (oldest at the top),
    logarithmic bins.
    """
    rows = {name: np.asarray(values, dtype=float) for name, values in gamma.items() if len(values)}
    if not rows:
        return None
    largest = max([float(values.max()) for values in rows.values()] + [brk or 1.0])
    smallest = min([float(values.min()) for values in rows.values()] + [select or 1.0])
    bins = np.geomspace(max(smallest, 0.05) * 0.95, max(largest, smallest, 0.06) * 1.05, 31)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 1.0 + 0.75 * len(rows)), layout="constrained")
        axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
        for panel, (name, values) in zip(axes, rows.items(), strict=True):
            panel.hist(np.clip(values, bins[0], bins[-1]), bins=bins, color=BLUE)
            panel.set_xscale("log")
            panel.grid(False)
            panel.yaxis.set_major_locator(MaxNLocator(2, integer=True))
            panel.text(
                1.01,
                0.5,
                f"{name}\nn = {len(values)}",
                transform=panel.transAxes,
                va="center",
                fontsize=9,
            )
            for value, colour, word in ((select, ORANGE, "select"), (brk, RED, "break")):
                if value is not None:
                    panel.axvline(value, color=colour, lw=1.2, ls="--")
                    if panel is axes[0]:
                        panel.annotate(
                            f"γ {word} = {value:g}",
                            (value, 1.0),
                            xycoords=("data", "axes fraction"),
                            xytext=(3, 2),
                            textcoords="offset points",
                            color=colour,
                            fontsize=9,
                        )
        axes[-1].set_xlabel("largest extrapolation grade γ in the cell (no unit)")
        figure.supylabel("count", fontsize=10, color=INK)
        return svg(figure)


def chart(shown: Chart) -> str:
    """A figure of a property: points, curves and marks of DFT and the potential."""
    styles = {"dft": (INK, "o", "DFT"), "potential": (BLUE, "x", "potential")}
    with panels(1, 6.5, 4.0) as (figure, (panel,)):
        for line in shown.lines:
            colour, marker, word = styles[line.source]
            match line.style:
                case "points":
                    panel.plot(line.x, line.y, marker, color=colour, ms=6, label=word)
                case "line":
                    panel.plot(line.x, line.y, color=colour, lw=1.3)
                case "mark":
                    panel.axvline(line.x[0], color=colour, lw=0.9, ls=":")
        panel.set(xlabel=shown.x_label, ylabel=shown.y_label)
        panel.legend()
        return svg(figure)


@dataclass(frozen=True, slots=True)
class Spend:
    """DFT calculations of one purpose."""

    labelled: int = 0
    failed: int = 0


def spend(counts: Mapping[str, Spend]) -> str | None:
    """DFT calculations by purpose, split into those that made a label and those that did not."""
    rows = {name: spent for name, spent in counts.items() if spent.labelled + spent.failed}
    if not rows:
        return None
    with panels(1, 9.0, 0.9 + 0.42 * len(rows)) as (figure, (panel,)):
        left = np.zeros(len(rows))
        for verdict, colour, many in (
            ("labelled", BLUE, [spent.labelled for spent in rows.values()]),
            ("failed", RED, [spent.failed for spent in rows.values()]),
        ):
            values = np.array(many, dtype=float)
            bars = panel.barh(
                list(rows), values, left=left, color=colour, height=0.6, label=verdict
            )
            panel.bar_label(
                bars,
                [f"{value:.0f}" if value else "" for value in values],
                label_type="center",
                color="w",
            )
            left += values
        panel.invert_yaxis()
        panel.grid(False, axis="y")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_xlabel("DFT calculations started")
        panel.legend(loc="lower right")
        return svg(figure)


def timeline(tasks: Sequence[TimelineRow]) -> str | None:
    """Gantt chart, in seconds since the start of the run; spans in which MD waited are pale."""
    if not tasks:
        return None
    kinds = [kind for kind in KIND_COLOURS if any(item.kind == kind for item in tasks)]
    lanes = {kind: _lanes([item for item in tasks if item.kind == kind]) for kind in kinds}
    total = sum(len(lane) for lane in lanes.values())
    with panels(1, 9.0, 1.0 + 0.28 * max(total, 4)) as (figure, (panel,)):
        row, ticks = 0, []
        for kind in kinds:
            ticks.append(row + (len(lanes[kind]) - 1) / 2)
            for lane in lanes[kind]:
                for ok, colour, hatch in ((True, KIND_COLOURS[kind], None), (False, RED, "////")):
                    some = [item for item in lane if item.ok is ok]
                    spans = [
                        (item.start / 60, max(item.end - item.start, 0.5) / 60) for item in some
                    ]
                    panel.broken_barh(
                        spans,
                        (row - 0.38, 0.76),
                        facecolor=colour,
                        edgecolor="w",
                        lw=0.3,
                        hatch=hatch,
                    )
                waits = [
                    (begin / 60, (end - begin) / 60) for item in lane for begin, end in item.waits
                ]
                panel.broken_barh(waits, (row - 0.30, 0.60), facecolor="#ffffff", alpha=0.75, lw=0)
                row += 1
            panel.axhline(row - 0.5, color="#e6e9ec", lw=0.8)
        panel.set_yticks(ticks, [KIND_WORDS.get(kind, kind) for kind in kinds])
        panel.tick_params(axis="y", length=0)
        panel.set_ylim(row - 0.4, -0.6)
        panel.grid(False, axis="y")
        panel.set_xlabel("minutes since the start (red, hatched: failed; pale: waiting)")
        return svg(figure)


def _lanes(tasks: Sequence[TimelineRow]) -> list[list[TimelineRow]]:
    """Tasks of one kind packed into as few rows as run at once."""
    lanes: list[list[TimelineRow]] = []
    for item in sorted(tasks, key=lambda task: task.start):
        free = next((lane for lane in lanes if lane[-1].end <= item.start), None)
        if free is None:
            lanes.append([item])
        else:
            free.append(item)
    return lanes


def force_masks(cutouts: Sequence[tuple[int, int]]) -> str | None:
    """Atoms per cutout, learned against masked: (core, all) each, in the order of labelling."""
    if not cutouts:
        return None
    core = np.array([learned for learned, _ in cutouts])
    buffer = np.array([atoms for _, atoms in cutouts]) - core
    with panels(1, 9.0, 2.8) as (figure, (panel,)):
        places = np.arange(1, len(cutouts) + 1)
        panel.bar(places, core, color=BLUE, label="core atoms (forces learned)")
        panel.bar(places, buffer, bottom=core, color="#c9d3dc", label="buffer atoms (masked)")
        panel.grid(False, axis="x")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set(xlabel="cutout", ylabel="atoms")
        panel.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
        return svg(figure)
