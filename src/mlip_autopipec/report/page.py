"""``report.html``: one self-contained page that says what was made, how good it is and what it
cost.

The page states what is known and names what is not: a figure without data is replaced by the
reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.potential_folder import FIT
from mlip_autopipec.report import failures, plots
from mlip_autopipec.report.findings import Findings
from mlip_autopipec.report.html import details, figure, met, table
from mlip_autopipec.report.page_accuracy import PageData, accuracy
from mlip_autopipec.report.rows import Screen
from mlip_autopipec.report.values import Summary
from mlip_autopipec.report.words import number, plural
from mlip_autopipec.science.hit_rate import HitRate
from mlip_autopipec.science.predictions import Predictions

__all__ = ["render"]

VERDICTS = {
    "converged": "Converged: every stop rule was met.",
    "budget_exhausted": "Stopped at the budget, not converged.",
    "stalled": "Stalled, not converged: nothing was left to try.",
    "needs_attention": "Stopped: a person must act.",
    None: "Not finished.",
}
PURPOSES = {"validate": "validation", "audit": "check of the screen"}
FILES = {
    "training.extxyz": (
        "every labelled structure with energy, forces, stress, force mask and provenance"
    ),
    "in.lammps": "MD with LAMMPS, runs as it stands",
    "structure.data": "the start cell of that run",
    "structure.extxyz": "the same cell for ASE",
    "ase_example.py": "the same from Python with ASE",
    "potential.py": "the ASE calculator: energies of DFT, forces, stress, extrapolation grades",
    "potential.yace": "the potential, whole: for LAMMPS (pair_style pace) and pyace",
    "fit/potential.json": "which trainer made the potential",
    "fit/metrics.json": "the same as above it",
    "metrics.json": "errors on training and held-out data",
    "predictions.json": "the points of the parity plot",
    "summary.json": "this page in numbers, for programs",
}


UNKNOWN = "not known"


def render(plan: Plan, found: Findings, summary: Summary, predictions: Predictions | None) -> str:
    """The page as text. ``predictions``: those of the released potential, if they are stored."""
    data = PageData(plan, found, summary, predictions)
    state = summary.end_state
    template = Template(
        resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    )
    elements = ", ".join(plan.material.elements)
    return template.substitute(
        title=escape(f"{summary.name}: interatomic potential for {elements}"),
        subtitle=escape(summary.goal),
        state=escape(state or "unfinished"),
        verdict=escape(VERDICTS.get(state, str(state))),
        reason=escape(summary.reason),
        body="\n".join(
            [
                _targets(summary),
                _handover(summary, found.potential),
                accuracy(data),
                _exploration(data),
                _screen(summary.screen),
                _cost(data),
                _method(data),
            ]
        ),
    )


def _targets(summary: Summary) -> str:
    rows = [
        [
            escape(item.name),
            f"{number(item.value, 'not known')} {escape(item.unit)}",
            f"at most {item.limit:g} {escape(item.unit)}",
            met(item.met),
        ]
        for item in summary.targets
    ]
    return (
        "<h2>Result</h2>"
        + table(
            "What was asked for and what was reached", ("target", "reached", "asked for", ""), rows
        )
        + _sentence(summary)
    )


def _sentence(summary: Summary) -> str:
    return (
        f"<p>{summary.dft_calls} DFT calculations of at most {summary.budget['dft_calls']}"
        " were started, failed ones, convergence tests and validation included, in"
        f" {summary.wall_s / 60:.0f} minutes of wall time and"
        f" {sum(summary.core_hours.values()):.2f} core hours."
        f" {plural(summary.potentials, 'potential was', 'potentials were')} trained; MD took"
        f" over a newer one {plural(summary.swaps, 'time', 'times')} without stopping;"
        f" {plural(summary.cutouts, 'periodic cutout was', 'periodic cutouts were')} labelled"
        " with masked forces." + _expected(summary) + "</p>"
    )


def _expected(summary: Summary) -> str:
    """What the plan expected beside it."""
    told = summary.expected
    if told is None:
        return ""
    return (
        f" The plan expected about {told.dft_calls} calculations and"
        f" {told.wall_minutes:.0f} minutes; a label took {told.label_cost:.1f} times what was"
        " expected of it."
    )


def _handover(summary: Summary, potential: PotentialRef | None) -> str:
    own = {} if potential is None else registry.trainer(potential.trainer).files()
    known = {**{f"{FIT}/{name}": escape(text) for name, text in own.items()}, **FILES}
    rows = [
        [f"<code>{escape(name)}</code>", known[name]] for name in summary.files if name in known
    ]
    notes = "".join(f"<li>{escape(note)}</li>" for note in summary.notes)
    return (
        "<h2>Files</h2>"
        "<p>Whatever gives energies here gives those of DFT, the isolated atoms' included. What"
        f" lies in {FIT}/ are parts for this program: alone they lack some.</p>"
        + table("In this folder", ("file", "content"), rows)
        + (
            f"<p>The potential was fitted with programs under this licence: {escape(licence)}.</p>"
            if (licence := summary.licence)
            else ""
        )
        + (f"<h3>Missing, or other than planned</h3><ul>{notes}</ul>" if notes else "")
    )


def _exploration(data: PageData) -> str:
    exploration = data.plan.exploration
    rows = [
        [
            escape(item.name),
            escape(item.state),
            str(item.visits),
            *(number(value, UNKNOWN) for value in (item.ps, item.clean_ps, item.gamma_max)),
            str(item.frames),
            str(item.unknown),
            str(item.unjudged),
            escape(item.potential or "none"),
        ]
        for item in data.found.conditions
    ]
    heads = (
        "condition",
        "state",
        "visits",
        "in all, ps",
        "newest run, ps",
        "γ max",
        "frames judged",
        "with unknown atoms",
        "never judged",
        "last potential",
    )
    cutouts = [
        (len(item.core), len(item.atoms))
        for _, item in data.found.labelled
        if item.core is not None
    ]
    return (
        "<h2>Exploration</h2><p>Over all visits of MD under all potentials.</p>"
        "<p>MD makes a run of fixed length at each condition under each potential. Frames with an "
        "atom whose predicted force error is above the limit are labelled, a diverse few, and "
        "others by chance. With an extrapolation grade above γ break the run goes back to its last "
        "trusted frame and waits for a better potential.</p>"
        + (table("Conditions", heads, rows) or '<p class="missing">No MD was run.</p>')
        + figure(
            "Extrapolation grades",
            plots.gamma_histogram(
                data.found.gamma, exploration.gamma_select, exploration.gamma_break
            ),
            "no extrapolation grades were recorded",
            "Grades that MD reported, one row per potential, oldest at the top. Learning "
            "moves them to the left.",
        )
        + figure(
            "Force masks",
            plots.force_masks(cutouts),
            "no cutout was labelled",
            "Atoms of each periodic cutout: forces of core atoms are learned, those of the "
            "buffer are not.",
        )
    )


def _screen(screen: Screen | None) -> str:
    """What the surrogate was worth: numbers from the first labels."""
    if screen is None:
        return ""
    name = escape(" ".join(part for part in (screen.surrogate, screen.model) if part))
    passed = (
        f"Of {plural(screen.proposed, 'proposed structure', 'proposed structures')}"
        f" {screen.accepted} passed"
    )
    if screen.hit_rate is None:
        judge = "the distances between atoms alone" if screen.geometry_only else name
        return (
            f"<h2>Screen</h2><p>{passed} the screen by {judge}. It was not compared with DFT.</p>"
        )
    found = screen.hit_rate
    rows = [
        [
            "labelled structures that passed",
            f"{found.n_hits} of {found.n_accepted} as promised",
        ],
        [
            "rejected ones labelled to check it",
            f"{found.n_false_rejections} of {found.n_audited} wrongly rejected",
        ],
        [
            "energy RMSE after element offsets, meV/atom",
            number(found.energy_rmse_mev_per_atom, UNKNOWN),
        ],
        ["force RMSE, meV/Å", number(found.force_rmse_mev_per_a, UNKNOWN)],
        ["correlation of forces", number(found.force_correlation, UNKNOWN)],
    ]
    return (
        f"<h2>Screen</h2><p>{passed} the screen by {name}. As promised means that DFT converged,"
        f" with energy and forces within the screen's limits. {_ranks(found)}</p>"
        + table("The surrogate against our own DFT, on the first labels", ("", ""), rows)
    )


def _ranks(found: HitRate) -> str:
    if found.force_correlation is None:
        return "There are too few forces to say whether it ranks this material."
    if found.geometry_only:
        return (
            '<span class="unmet">It does not rank this material.</span> MD adds by geometry alone.'
        )
    return '<span class="met">It ranks this material.</span>'


def _cost(data: PageData) -> str:
    summary = data.summary
    hours = [[escape(kind), f"{value:.3f}"] for kind, value in summary.core_hours.items()]
    failed = [
        [escape(cell) for cell in line] for line in failures.cells(summary.failures, message=True)
    ]
    begin = min((row.start for row in data.found.timeline), default=0.0)
    return (
        "<h2>Cost</h2>"
        + figure(
            "DFT spend",
            plots.spend(_spend(data)),
            "no DFT calculation was started",
            "Every calculation that was started. One that failed and was repaired counts "
            "once more.",
        )
        + "<h3>Failures</h3>"
        + (
            table(
                "Failed attempts of all tasks, and what was tried",
                (*failures.HEADS, "last message"),
                failed,
            )
            or "<p>No attempt failed.</p>"
        )
        + figure(
            "Timeline",
            plots.timeline([row.since(begin) for row in data.found.timeline]),
            "no task was run",
            f"Each bar is one task. For {summary.overlap_min:.1f} minutes at least two of "
            f"DFT, training and MD were "
            "at work at once; MD that waits is not counted.",
        )
        + table("Core hours", ("work", "hours"), hours, numbers_from=1)
    )


def _spend(data: PageData) -> dict[str, plots.Spend]:
    rows = Counter(
        PURPOSES.get(purpose) or ("training, whole" if item.core is None else "training, cutouts")
        for purpose, item in data.found.labelled
    )
    rows["convergence check"] = data.summary.convergence_calls
    failed = max(0, data.summary.dft_calls - sum(rows.values()))
    return {
        **{name: plots.Spend(labelled=made) for name, made in rows.items()},
        "no label": plots.Spend(failed=failed),
    }


def _method(data: PageData) -> str:
    summary = data.summary
    checks = summary.stop_rules.checks if summary.stop_rules else ()
    rules = [[escape(item.text), met(item.met)] for item in checks]
    strategies = Counter(item.provenance.strategy for _, item in data.found.labelled)
    settings = [
        [escape(key), f"<code>{escape(_plain(value))}</code>"]
        for part in (
            data.plan.dft.label_method(),
            summary.thresholds,
            {f"version of {name}": version for name, version in summary.versions.items()},
            {"method hash": summary.method_hash, "plan hash": summary.plan_hash},
        )
        for key, value in part.items()
        if not key.endswith("sha256")
    ]
    return (
        "<h2>How it was made</h2>"
        + table("Stop rules at the end", ("rule", ""), rules)
        + (
            table(
                "Labelled structures by the strategy that proposed them",
                ("strategy", "structures"),
                [[escape(name), str(many)] for name, many in strategies.most_common()],
                numbers_from=1,
            )
            or '<p class="missing">Nothing was labelled.</p>'
        )
        + details(
            table("DFT method, thresholds and versions", ("key", "value"), settings),
            "Settings and versions",
        )
    )


def _plain(value: Any) -> str:
    return (
        ", ".join(f"{k}: {v}" for k, v in value.items())
        if isinstance(value, Mapping)
        else str(value)
    )
