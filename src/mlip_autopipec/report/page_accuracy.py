"""The part of the report that says how good the potential is."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from mlip_autopipec.config.plan import Plan
from mlip_autopipec.report import plots
from mlip_autopipec.report.findings import Findings
from mlip_autopipec.report.html import details, figure, table
from mlip_autopipec.report.plot_calibration import calibration_plot
from mlip_autopipec.report.properties import shown_properties
from mlip_autopipec.report.rows import ConditionReached, Limits
from mlip_autopipec.report.status import potential_rows
from mlip_autopipec.report.values import Summary
from mlip_autopipec.report.words import number, off
from mlip_autopipec.science.calibration import Calibration
from mlip_autopipec.science.judgement import JudgedErrors
from mlip_autopipec.science.predictions import Errors, Predictions
from mlip_autopipec.science.properties.port import PropertyValue, Shown

__all__ = ["PageData", "accuracy"]

UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class PageData:
    """What the report is made of. ``predictions``: those of the released potential, if stored."""

    plan: Plan
    found: Findings
    summary: Summary
    predictions: Predictions | None


def accuracy(data: PageData) -> str:
    """Errors of the released potential, and what the validation found."""
    summary, found = data.summary, data.found
    rows = potential_rows(found.potentials, dict(found.published_at))
    kinds = [
        [
            f"{escape(row.strategy)}, {'held out' if row.split == 'test' else 'training'}",
            str(row.n_structures),
            number(row.energy_rmse_mev_per_atom, UNKNOWN),
            number(row.force_rmse_mev_per_a, UNKNOWN),
        ]
        for row in summary.errors_by_strategy
    ]
    potentials = [
        [
            escape(row.name) + (" (released)" if row.name == summary.released else ""),
            escape(row.trainer),
            str(row.labels),
            *_errors(row.test)[1:],
        ]
        for row in rows
    ]
    heads = ("", "structures", "energy, meV/atom", "forces, meV/Å")
    errors = [["training", *_errors(summary.train)], ["held out", *_errors(summary.test)]]
    return (
        "<h2>Accuracy</h2>"
        "<p>Held-out structures share no parent with those that the potential (or, where a fit "
        "cross-validates, the fit that predicts them) had learned. Errors are "
        "root mean squares over whole cells (energies) and over components on unmasked "
        "atoms (forces), against our own "
        "DFT; in brackets the ends of the interval that holds the true figure in nine of ten "
        "cases.</p>"
        + table(
            "At the conditions of MD: structures drawn there by chance, not learned",
            ("condition", "role", "explored", "structures", "energy, meV/atom", "forces, meV/Å"),
            [_condition(item) for item in summary.conditions],
        )
        + _limited_by(summary.limits)
        + table(
            "By kind of structure, not learned",
            ("kind", "structures", "energy, meV/atom", "forces, meV/Å"),
            [
                [escape(item.name), str(item.n), *_with_interval(item)]
                for item in summary.cross_validation
            ],
        )
        + (
            table("RMSE of the released potential", heads, errors, numbers_from=1)
            if summary.released
            else ""
        )
        + table("The same by kind of structure", heads, kinds, numbers_from=1)
        + figure(
            "Parity",
            plots.parity(data.predictions),
            "the released potential has no stored predictions",
            "Potential against DFT for training and held-out data; on the line is exact.",
        )
        + _calibration(summary.calibration)
        + figure(
            "Learning curve",
            plots.learning_curve(
                rows,
                data.plan.convergence.energy_rmse_mev_per_atom,
                data.plan.convergence.force_rmse_mev_per_a,
            ),
            "no potential was trained",
            "Errors against the number of labels. The test set grows too, so a rise may mean "
            "harder test structures.",
        )
        + details(
            table(
                "Potentials, oldest first (held-out RMSE)",
                ("potential", "trainer", "labels", "energy, meV/atom", "forces, meV/Å"),
                potentials,
                numbers_from=2,
            ),
            "All potentials",
        )
        + _properties(data)
    )


def _errors(errors: Errors) -> list[str]:
    values = (errors.n_structures, errors.energy_rmse_mev_per_atom, errors.force_rmse_mev_per_a)
    return [number(value, UNKNOWN) for value in values]


def _limited_by(limits: Limits | None) -> str:
    """What would make the potential better, where its trainer says so."""
    if limits is None:
        return ""
    words = _LIMITS[limits.limited_by]
    if limits.force_rmse_training_mev_per_a is None:
        return f"<p>{words}</p>"
    return (
        f"<p>{words} Forces near the lowest energies are off by"
        f" {number(limits.force_rmse_training_mev_per_a)} meV/Å on what it has learned and by"
        f" {number(limits.force_rmse_out_of_fold_mev_per_a)} on what it has not.</p>"
    )


_LIMITS = {
    "data": "Data limit this potential: most of its error is on what it has not learned, and more"
    " labels would lower it.",
    "capacity": "Capacity limits this potential: most of its error stays on what it has learned."
    " More functions or a non-linear form would lower it; more labels would not.",
}


def _calibration(found: Calibration | None) -> str:
    """Predicted against true errors, and the grade beside them."""
    if found is None:
        return ""
    off = found.true_mev_per_a / found.predicted_mev_per_a if found.predicted_mev_per_a else 0.0
    said = (
        f"Of {found.n_atoms} atoms that fits had not learned, the force error was"
        f" {off:.2f} times the predicted one; atoms ordered by predicted error are ordered by true"
        f" error with a rank correlation of {found.rank_correlation:.2f}"
    )
    if found.rank_correlation_of_gamma is not None:
        said += f", ordered by extrapolation grade with {found.rank_correlation_of_gamma:.2f}"
    return figure(
        "Predicted and true errors",
        calibration_plot(found),
        "",
        f"{said}. Each point holds as many atoms; on the line the prediction is right. Fit,"
        " calibration and grade of an atom are without its group.",
    )


def _condition(item: ConditionReached) -> list[str]:
    explored = f"{'yes' if item.explored else 'no'} ({item.unknown} of {item.frames} unknown)"
    return [
        escape(item.name),
        item.role,
        explored if item.frames else "not visited",
        str(item.n),
        *_with_interval(item),
    ]


def _with_interval(item: JudgedErrors) -> list[str]:
    values = (
        (
            item.energy_rmse_mev_per_atom,
            item.energy_rmse_mev_per_atom_low,
            item.energy_rmse_mev_per_atom_high,
        ),
        (
            item.force_rmse_mev_per_a,
            item.force_rmse_mev_per_a_low,
            item.force_rmse_mev_per_a_high,
        ),
    )
    return [
        UNKNOWN if value is None else f"{number(value)} ({number(low)} to {number(high)})"
        for value, low, high in values
    ]


def _properties(data: PageData) -> str:
    shown = shown_properties(data.plan, data.found.validation)
    known = [item for item in data.summary.properties if item.potential is not None or item.dft]
    rows = [_property(item) for item in known]
    return "".join(map(_shown, shown)) + table(
        "What the validation found",
        ("", "potential", "DFT", "off by", "spread over resampled fits"),
        rows,
        1,
    )


def _property(item: PropertyValue) -> list[str]:
    def words(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:.{item.digits}f} {escape(item.unit)}"

    name = escape(f"{item.label} ({item.measure})" if item.measure else item.label)
    if item.kind == "alone":
        return [name, words(item.potential), "", "", _spread(item)]
    return [
        name,
        words(item.potential),
        words(item.dft),
        off(item.potential, item.dft),
        _spread(item),
    ]


def _spread(item: PropertyValue) -> str:
    """Standard deviation over the ensemble, and whether the value is steady."""
    if item.without_value:
        return f"{item.without_value} of the fits have no value"
    if item.spread is None:
        return ""
    size = f"± {item.spread:.{item.digits}f} {escape(item.unit)}"
    return size if item.steady is not False else f"{size}, more than half the tolerance"


def _shown(shown: Shown) -> str:
    """Figure, table and notes of a property."""
    rows = [[escape(cell) for cell in row] for row in shown.table.rows] if shown.table else []
    if shown.chart is not None or not (rows or shown.notes):
        head = figure(
            escape(shown.title),
            plots.chart(shown.chart) if shown.chart else None,
            "no potential was validated",
            shown.caption,
        )
    else:
        head = f"<h3>{escape(shown.title)}</h3>"
    notes = "".join(f"<p>{escape(note)}</p>" for note in shown.notes)
    return (
        head + (table(shown.table.title, shown.table.heads, rows, 1) if shown.table else "") + notes
    )
