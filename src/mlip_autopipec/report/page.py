"""``report.html``: one self-contained page that says what was made, how good it is and what it
cost.

The page states what is known and names what is not: a figure without data is replaced by the
reason.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from mlip_autopipec.base.values import Json
from mlip_autopipec.report import plots

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
    "potential.yaml": "the potential (ACE, pyace format)",
    "potential.yace": "the same for LAMMPS <code>pair_style pace</code>",
    "potential.asi": "its active set, for extrapolation grades",
    "training.extxyz": (
        "every labelled structure with energy, forces, stress, force mask and provenance"
    ),
    "in.lammps": "MD with LAMMPS, runs as it stands",
    "structure.data": "the start cell of that run",
    "structure.extxyz": "the same cell for ASE",
    "ase_example.py": "the same from Python with ASE",
    "metrics.json": "errors on training and held-out data",
    "predictions.json": "the points of the parity plot",
    "summary.json": "this page in numbers, for programs",
}


def render(data: Mapping[str, Any]) -> str:
    """The page as text. ``data``: the values gathered by ``runtime.results`` (``summary``,
    ``predictions`` ...).
    """
    summary = data["summary"]
    state = summary.get("end_state")
    template = Template(
        resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    )
    return template.substitute(
        title=escape(f"{summary['name']}: interatomic potential for {', '.join(data['elements'])}"),
        subtitle=escape(str(summary.get("goal") or "")),
        state=escape(str(state or "unfinished")),
        verdict=escape(VERDICTS.get(state, str(state))),
        reason=escape(str(summary.get("reason") or "")),
        body="\n".join(
            [
                _targets(summary),
                _handover(summary),
                _accuracy(data),
                _exploration(data),
                _screen(summary.get("screen")),
                _cost(data),
                _method(data),
            ]
        ),
    )


def _targets(summary: Json) -> str:
    words = {True: ("met", "met"), False: ("unmet", "not met"), None: ("unknown", "not known")}
    rows = [
        [
            escape(item["name"]),
            f"{_number(item['value'])} {escape(item['unit'])}",
            f"at most {item['limit']:g} {escape(item['unit'])}",
            '<span class="{}">{}</span>'.format(*words[item["met"]]),
        ]
        for item in summary["targets"]
    ]
    return (
        "<h2>Result</h2>"
        + _table(
            "What was asked for and what was reached", ("target", "reached", "asked for", ""), rows
        )
        + _sentence(summary)
    )


def _sentence(summary: Json) -> str:
    hours = sum(value for value in summary["core_hours"].values() if value)
    return (
        f"<p>{summary['dft_calls']} DFT calculations of at most {summary['budget']['dft_calls']}"
        " were started, failed ones, convergence tests and validation included, in"
        f" {summary['wall_s'] / 60:.0f} minutes of wall time and {hours:.2f} core hours."
        f" {_plural(summary['potentials'], 'potential was', 'potentials were')} trained; MD took"
        f" over a newer one {_plural(summary['swaps'], 'time', 'times')} without stopping;"
        f" {_plural(summary['cutouts'], 'periodic cutout was', 'periodic cutouts were')} labelled"
        " with masked forces.</p>"
    )


def _handover(summary: Json) -> str:
    rows = [
        [f"<code>{escape(name)}</code>", FILES[name]] for name in summary["files"] if name in FILES
    ]
    notes = "".join(f"<li>{escape(note)}</li>" for note in summary["notes"])
    return (
        "<h2>Files</h2>"
        + _table("In this folder", ("file", "content"), rows)
        + (f"<h3>Missing, or other than planned</h3><ul>{notes}</ul>" if notes else "")
    )


def _accuracy(data: Mapping[str, Any]) -> str:
    summary = data["summary"]
    targets = {item["name"]: item["limit"] for item in summary["targets"]}
    limits = {
        "energy_rmse_mev_per_atom": targets.get("held-out energy RMSE"),
        "force_rmse_mev_per_a": targets.get("held-out force RMSE"),
    }
    released = summary.get("released")
    errors = [
        [word, _number(part.get("n_structures")), *(_number(part.get(key)) for key in limits)]
        for word, part in (("training", summary["train"]), ("held out", summary["test"]))
    ]
    kinds = [
        [
            f"{escape(row['strategy'])}, {'held out' if row['split'] == 'test' else 'training'}",
            _number(row["n_structures"]),
            *(_number(row[key]) for key in limits),
        ]
        for row in summary.get("errors_by_strategy", [])
    ]
    potentials = [
        [
            escape(str(item["name"])) + (" (released)" if item["name"] == released else ""),
            escape(str(item["trainer"])),
            str(item["labels"]),
            *(_number(((item.get("metrics") or {}).get("test") or {}).get(key)) for key in limits),
        ]
        for item in data["potentials"]
    ]
    heads = ("", "structures", "energy, meV/atom", "forces, meV/Å")
    return (
        "<h2>Accuracy</h2>"
        "<p>Held-out structures share no parent with training ones; they are random "
        "picks of what was proposed, or "
        "frames of MD, while what a selector chose (most melts and glasses among it) is "
        "always learned. Errors are "
        "root mean squares over whole cells (energies) and over components on unmasked "
        "atoms (forces), against our own "
        "DFT.</p>"
        + (
            _table("RMSE of the released potential", heads, errors, numbers_from=1)
            if released
            else ""
        )
        + (
            _table("The same by kind of structure", ("", *heads[1:]), kinds, numbers_from=1)
            if kinds
            else ""
        )
        + _figure(
            "Parity",
            plots.parity(data["predictions"]),
            "the released potential has no stored predictions",
            "Potential against DFT for training and held-out data; on the line is exact.",
        )
        + _figure(
            "Learning curve",
            plots.learning_curve(data["rounds"], limits),
            "no potential was trained",
            "Errors against the number of labels. The test set grows too, so a rise may mean "
            "harder test structures.",
        )
        + _details(
            _table(
                "Potentials, oldest first (held-out RMSE)",
                ("potential", "trainer", "labels", "energy, meV/atom", "forces, meV/Å"),
                potentials,
                numbers_from=2,
            )
            if potentials
            else ""
        )
        + _properties(data)
    )


def _properties(data: Mapping[str, Any]) -> str:
    if "molecule" in data["summary"]:
        return _molecule(data["summary"]["molecule"])
    summary, fits = data["summary"], ((data["validation"] or {}).get("eos") or {}).get("fits") or {}
    rows = []
    for key, name, unit, digits in (
        ("lattice_constant_a", "lattice constant a", "Å", 4),
        ("bulk_modulus_gpa", "bulk modulus", "GPa", 1),
    ):
        potential, dft = summary[key]["potential"], summary[key]["dft"]
        off = (
            "not known"
            if potential is None or not dft
            else f"{100 * (potential - dft) / dft:+.2f} %"
        )
        cells = [
            "not known" if value is None else f"{value:.{digits}f} {unit}"
            for value in (potential, dft)
        ]
        rows.append([name, *cells, off])
    reasons = "".join(
        f"<p>No value for {escape(name)}: {escape(fit['failure'])}.</p>"
        for name, fit in fits.items()
        if "failure" in fit
    )
    return _figure(
        "Equation of state",
        plots.equation_of_state(data["validation"]),
        "no potential was validated",
        "Energies at the same cells, Birch-Murnaghan fits (lines) and equilibrium volumes"
        " (dotted).",
    ) + (
        _table("At rest, from the fits", ("", "potential", "DFT", "off by"), rows, 1) + reasons
        if fits
        else ""
    )


def _molecule(found: Mapping[str, Any]) -> str:
    """Bonds and vibrations of a molecule at rest, by the potential and by DFT."""
    frequencies = found.get("frequencies_per_cm") or {}
    rows = [
        [
            f"{escape(row['bond'])}, mean of {row['count']}",
            *_pair(row["potential"], row["dft"], "Å", 4),
        ]
        for row in found.get("bonds_a") or []
    ]
    rows += [
        [f"vibration {number}", *_pair(ours, dft, "1/cm", 0)]
        for number, (ours, dft) in enumerate(
            zip(frequencies.get("potential", []), frequencies.get("dft", []), strict=True), start=1
        )
    ]
    missing = found.get("failure") or (None if rows else "no potential was validated")
    return (
        "<h3>The molecule at rest</h3>"
        + (
            _table(
                "Bonds, each at its own minimum; vibrations, along the same modes",
                ("", "potential", "DFT", "off by"),
                rows,
                1,
            )
            if rows
            else ""
        )
        + (f'<p class="missing">{escape(missing)}.</p>' if missing else "")
        + (
            f"<p>Largest difference of a bond {_number(found['largest_bond_error_a'])} Å, of "
            f"an angle "
            f"{_number(found['largest_angle_error_deg'])}°. Where DFT was asked last, its "
            f"largest force was "
            f"{_number(found['dft_force_at_rest_ev_per_a'])} eV/Å.</p>"
            if found.get("bonds_a")
            else ""
        )
    )


def _pair(potential: float, dft: float, unit: str, digits: int) -> list[str]:
    off = f"{100 * (potential - dft) / dft:+.2f} %" if dft else "not known"
    return [*(f"{value:.{digits}f} {unit}" for value in (potential, dft)), off]


def _exploration(data: Mapping[str, Any]) -> str:
    thresholds = data["summary"]["thresholds"]
    rows = [
        [
            escape(str(item.get("name"))),
            escape(str(item.get("state"))),
            *(_number(item.get(key)) for key in ("clean_ps", "ps", "gamma_max")),
            escape(str(item.get("potential") or "none")),
        ]
        for item in data["conditions"]
    ]
    heads = ("condition", "state", "clean, ps", "in all, ps", "γ max", "last potential")
    cutouts = [item for item in data["labelled"] if item["masked"]]
    return (
        "<h2>Exploration</h2>"
        "<p>MD runs on while DFT and training work. A structure whose extrapolation "
        "grade γ passes γ select asks to be "
        "labelled; above γ break the run goes back to its last trusted frame and waits.</p>"
        + (_table("Conditions", heads, rows) if rows else '<p class="missing">No MD was run.</p>')
        + _figure(
            "Extrapolation grades",
            plots.gamma_histogram(
                data["gamma"], thresholds["gamma_select"], thresholds["gamma_break"]
            ),
            "no extrapolation grades were recorded",
            "Grades that MD reported, one row per potential, oldest at the top. Learning "
            "moves them to the left.",
        )
        + _figure(
            "Force masks",
            plots.force_masks(cutouts),
            "no cutout was labelled",
            "Atoms of each periodic cutout: forces of core atoms are learned, those of the "
            "buffer are not.",
        )
    )


def _screen(screen: Json | None) -> str:
    """What the surrogate was worth: numbers from the first labels."""
    if screen is None:
        return ""
    name = escape(" ".join(str(screen[key]) for key in ("surrogate", "model") if screen[key]))
    passed = (
        f"Of {_plural(screen['proposed'], 'proposed structure', 'proposed structures')}"
        f" {screen['accepted']} passed"
    )
    found = screen["hit_rate"]
    if found is None:
        judge = "the distances between atoms alone" if screen["geometry_only"] else name
        return (
            f"<h2>Screen</h2><p>{passed} the screen by {judge}. It was not compared with DFT.</p>"
        )
    rows = [
        [
            "labelled structures that passed",
            f"{found['n_hits']} of {found['n_accepted']} as promised",
        ],
        [
            "rejected ones labelled to check it",
            f"{found['n_false_rejections']} of {found['n_audited']} wrongly rejected",
        ],
        ["energy RMSE after element offsets, meV/atom", _number(found["energy_rmse_mev_per_atom"])],
        ["force RMSE, meV/Å", _number(found["force_rmse_mev_per_a"])],
        ["correlation of forces", _number(found["force_correlation"])],
    ]
    if found["force_correlation"] is None:
        verdict = "There are too few forces to say whether it ranks this material."
    elif found["geometry_only"]:
        verdict = (
            '<span class="unmet">It does not rank this material.</span> MD adds by geometry alone.'
        )
    else:
        verdict = '<span class="met">It ranks this material.</span>'
    return (
        f"<h2>Screen</h2><p>{passed} the screen by {name}. As promised means that DFT converged,"
        f" with energy and forces within the screen's limits. {verdict}</p>"
        + _table("The surrogate against our own DFT, on the first labels", ("", ""), rows)
    )


def _cost(data: Mapping[str, Any]) -> str:
    summary = data["summary"]
    hours = [
        [escape(kind), f"{value:.3f}"]
        for kind, value in summary["core_hours"].items()
        if value is not None
    ]
    groups: dict[tuple[str, str], list[Json]] = {}
    for item in data["failures"]:
        groups.setdefault((item["kind"], item.get("verdict") or ""), []).append(item)
    failures = [
        [
            escape(kind),
            str(len(items)),
            escape(verdict),
            escape(
                ", ".join(sorted({str(item["cure"]) for item in items if item.get("cure")}))
                or "none"
            ),
            escape(str(items[-1]["message"])),
        ]
        for (kind, verdict), items in sorted(groups.items())
    ]
    heads = ("kind", "attempts", "verdict", "cure", "last message")
    return (
        "<h2>Cost</h2>"
        + _figure(
            "DFT spend",
            plots.failures(_spend(data)),
            "no DFT calculation was started",
            "Every calculation that was started. One that failed and was repaired counts "
            "once more.",
        )
        + "<h3>Failures</h3>"
        + (
            _table("Failed attempts of all tasks", heads, failures)
            if failures
            else "<p>No attempt failed.</p>"
        )
        + _figure(
            "Timeline",
            plots.timeline(data["timeline"]),
            "no task was run",
            f"Each bar is one task. For {summary['overlap_min']:.1f} minutes at least two of "
            f"DFT, training and MD were "
            "at work at once; MD that waits is not counted.",
        )
        + (_table("Core hours", ("work", "hours"), hours, numbers_from=1) if hours else "")
    )


def _spend(data: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    rows = Counter(
        PURPOSES.get(item["purpose"])
        or ("training, cutouts" if item["masked"] else "training, whole")
        for item in data["labelled"]
    )
    rows["convergence check"] = data["summary"].get("convergence_calls", 0)
    failed = max(0, data["summary"]["dft_calls"] - sum(rows.values()))
    return {
        **{name: {"labelled": count} for name, count in rows.items()},
        "no label": {"failed": failed},
    }


def _method(data: Mapping[str, Any]) -> str:
    summary = data["summary"]
    checks = (summary.get("stop_rules") or {}).get("checks") or []
    words = {True: '<span class="met">met</span>', False: '<span class="unmet">not met</span>'}
    rules = [[escape(item["text"]), words[bool(item["met"])]] for item in checks]
    strategies = Counter(item["strategy"] for item in data["labelled"])
    settings = [
        [escape(key), f"<code>{escape(_plain(value))}</code>"]
        for part in (
            data["dft"],
            summary["thresholds"],
            {f"version of {k}": v for k, v in summary["versions"].items()},
        )
        for key, value in part.items()
        if key != "pseudo_sha256"
    ]
    settings += [
        [key.replace("_", " "), f"<code>{summary[key]}</code>"]
        for key in ("method_hash", "plan_hash")
    ]
    return (
        "<h2>How it was made</h2>"
        + (_table("Stop rules at the end", ("rule", ""), rules) if rules else "")
        + (
            _table(
                "Labelled structures by the strategy that proposed them",
                ("strategy", "structures"),
                [[escape(name), str(count)] for name, count in strategies.most_common()],
                numbers_from=1,
            )
            if strategies
            else '<p class="missing">Nothing was labelled.</p>'
        )
        + _details(
            _table("DFT method, thresholds and versions", ("key", "value"), settings),
            "Settings and versions",
        )
    )


def _figure(title: str, svg: str | None, missing: str, caption: str) -> str:
    """A figure with heading, alternative text and caption, or the reason why there is none."""
    if svg is None:
        return f'<h3>{title}</h3><p class="missing">Not available: {escape(missing)}.</p>'
    source = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    return (
        f'<h3>{title}</h3><figure><img src="{source}" alt="{escape(f"{title}. {caption}")}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _table(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers_from: int | None = None,
) -> str:
    """A table of ready HTML cells; the first cell of a row is its header; numbers stand right from
    a column on.
    """

    def kind(column: int) -> str:
        return ' class="number"' if numbers_from is not None and column >= numbers_from else ""

    head = "".join(f'<th scope="col"{kind(i)}>{text}</th>' for i, text in enumerate(heads))
    body = "".join(
        "<tr>"
        + f'<th scope="row">{row[0]}</th>'
        + "".join(f"<td{kind(i)}>{cell}</td>" for i, cell in enumerate(row[1:], start=1))
        + "</tr>"
        for row in rows
    )
    return (
        "<div"
        f' class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _details(content: str, title: str = "All potentials") -> str:
    return f"<details><summary>{title}</summary>{content}</details>" if content else ""


def _number(value: object) -> str:
    if not isinstance(value, int | float):
        return "not known"
    return (
        str(value)
        if isinstance(value, int)
        else f"{value:.3g}"
        if abs(value) < 100
        else f"{value:.0f}"
    )


def _plain(value: object) -> str:
    return (
        ", ".join(f"{k}: {v}" for k, v in value.items())
        if isinstance(value, Mapping)
        else str(value)
    )


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
