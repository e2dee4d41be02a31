"""The convergence series of a DFT method: runs it, keeps it as JSON and pictures, and picks the
settings.

Every calculation is kept below the folder, so a series that was interrupted goes on where it
stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.typed import to_json
from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.commands.dft_check.labels import SeriesLabels
from mlip_autopipec.commands.label.method import derive_dft
from mlip_autopipec.commands.label.options import asking_for_check, converging
from mlip_autopipec.commands.label.structures import read_structures
from mlip_autopipec.config.dft_check import RESULT, CheckResult, KnobSeries, Limits
from mlip_autopipec.config.plan import DftPlan, ExecutorPlan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import Knob
from mlip_autopipec.science import dft_series as series
from mlip_autopipec.science.reading import Given

__all__ = [
    "RESULT",
    "Labeller",
    "beginning",
    "converge_cell",
    "converge_file",
    "knobs_of",
    "label_in",
    "plot",
    "run_series",
]

_MOST_ATTEMPTS = 6

#: The labels of all jobs of one series, or the failures that were left, in their order.
Labeller = Callable[[Sequence[LabelJob]], Sequence[Label | Failure]]


def converge_file(
    file: Path,
    folder: Path,
    *,
    family: str | None = None,
    settings: Mapping[str, Any] | None = None,
    engine: str | None = None,
    cores: int | None = None,
    label: Labeller | None = None,
    given: Given | None = None,
) -> CheckResult | Failure:
    """:func:`run_series` for the first structure of a file, from the settings that ``mlip-auto
    dft`` derives for it.

    The result also says what those were (``derived``). ``cores``: None takes every core this
    process may use; ``given``: what the user says of the file. Raises InputError for a file
    that cannot be read, unknown families or settings,
    and engines without settings to converge.
    """
    name = engine or registry.DEFAULT_DFT
    converging(name)
    structure = read_structures([file], given)[0].atoms
    wishes = {"family": family} if family else {}
    dft = derive_dft([structure], engine=name, wishes=wishes, settings=settings).dft
    asking_for_check(dft, {})
    executor = ExecutorPlan(cores=cores or len(os.sched_getaffinity(0)))
    return converge_cell(structure, dft, folder, executor, label=label)


def converge_cell(
    atoms: Atoms,
    dft: DftPlan,
    folder: Path,
    executor: ExecutorPlan,
    *,
    key: str | None = None,
    seed: int = 1,
    progress: Progress | None = None,
    label: Labeller | None = None,
) -> CheckResult | Failure:
    """:func:`run_series` for a cell, from the settings of ``dft``, on as many cores as ``executor``
    has.

    A crystal of one atom is doubled, since nothing can be displaced in it and it has no forces to
    judge. The result, also in ``folder``, has besides ``derived`` (the settings that it began
    with), ``calculations`` as they were started (repairs included), ``cpu_s`` and ``key`` (what the
    series belongs to). ``label``: as there.
    """
    machine = label or SeriesLabels(folder, dft, executor, progress=progress)
    if len(atoms) == 1 and any(atoms.pbc):
        atoms = atoms.repeat([2 if axis == int(np.argmax(atoms.pbc)) else 1 for axis in range(3)])
    method = dft.label_method()
    result = run_series(atoms, method, knobs_of(dft, atoms), machine, seed=seed)
    if isinstance(result, Failure):
        return result
    result = replace(result, derived={name: method[name] for name in result.chosen}, key=key)
    if isinstance(machine, SeriesLabels):
        result = replace(result, calculations=machine.calculations, cpu_s=machine.cpu_s)
    write_json(folder / RESULT, to_json(result))
    plot(result, folder)
    return result


def knobs_of(dft: DftPlan, atoms: Atoms) -> Sequence[Knob]:
    """The series of a cell, from the settings of ``dft``."""
    engine = converging(dft.engine)
    periodic = (bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2]))
    return engine.knobs(dft.method, sorted(set(atoms.get_chemical_symbols())), periodic)


def beginning(atoms: Atoms, dft: DftPlan) -> str:
    """What is about to be done, in one line."""
    start = [f"{getattr(dft.method, k.setting):g} {k.unit}" for k in knobs_of(dft, atoms)]
    return f"convergence check of {atoms.get_chemical_formula()}, from {' and '.join(start)}"


def run_series(
    atoms: Atoms,
    method: Json,
    knobs: Sequence[Knob],
    labeller: Labeller,
    *,
    force_limit_mev_per_a: float = series.FORCE_LIMIT_MEV_PER_A,
    energy_limit_mev_per_atom: float = series.ENERGY_LIMIT_MEV_PER_ATOM,
    seed: int = 1,
) -> CheckResult | Failure:
    """The series of one setting after the other, each at what the earlier ones chose.

    ``atoms``: a small cell of the material; ``method``: that of its jobs; ``knobs``: what is tried.

    CPU time is taken for wall time. A Failure when a calculation cannot be done or a series ends
    before it is converged.
    """
    done: list[Label] = []
    pair = series.probe_pair(atoms, seed)
    current, chosen, found = dict(method), dict[str, float](), list[KnobSeries]()
    for knob in knobs:
        values = [value for value in knob.values for _ in pair]
        jobs = [
            LabelJob(structure, {**current, **knob.changes(value)})
            for value in knob.values
            for structure in pair
        ]
        labels: list[Label] = []
        for value, one in zip(values, labeller(jobs), strict=True):
            if isinstance(one, Failure):
                return Failure(
                    one.kind,
                    f"{knob.setting} {value:g}: {one.message}",
                    one.evidence,
                )
            labels.append(one)
        done += labels
        judged = series.judge(
            knob.setting,
            knob.values,
            list(zip(labels[::2], labels[1::2], strict=True)),
            force_limit=force_limit_mev_per_a,
            energy_limit=energy_limit_mev_per_atom,
        )
        if isinstance(judged, Failure):
            return judged
        found.append(
            KnobSeries(
                judged.setting,
                judged.points,
                judged.chosen,
                judged.reason,
                title=knob.title,
                in_step=dict(knob.in_step),
            )
        )
        chosen |= knob.changes(judged.chosen)
        current |= chosen
    wall_s = sum(one.wall_s for one in done)
    return CheckResult(
        formula=atoms.get_chemical_formula(),
        method=current,
        method_hash=content_hash(current),
        chosen=chosen,
        limits=Limits(force_limit_mev_per_a, energy_limit_mev_per_atom),
        series=tuple(found),
        calculations=len(done),
        wall_s=wall_s,
        cpu_s=wall_s,
    )


def label_in(folder: Path, job: LabelJob, *, walltime_s: float, cores: int) -> Label | Failure:
    """Label a job below ``folder``, with the engine's own repairs; a label that is there already is
    read.
    """
    home = folder / content_hash(job.to_json())
    kept = home / "label.json"
    if kept.exists():
        return Label.from_json(read_json(kept))
    engine = registry.dft_engine(str(job.method["engine"]))
    failures: list[Failure] = []
    attempt: LabelJob | None = job
    while attempt is not None and len(failures) < _MOST_ATTEMPTS:
        place = home / f"attempt-{_next_number(home)}"
        seconds = walltime_s * float(attempt.numerics.get("walltime_factor", 1.0))
        prepared = engine.prepare(attempt, walltime_s=seconds, cores=cores)
        code = run_prepared(prepared, place, seconds + 30.0)
        found = engine.parse(place, attempt, code)
        if isinstance(found, Label):
            write_json(kept, found.to_json())
            return found
        failures.append(found)
        attempt = engine.repair(attempt, failures)
    return failures[-1]


def _next_number(home: Path) -> int:
    return 1 + sum(1 for _ in home.glob("attempt-*"))


def plot(result: CheckResult, folder: Path) -> list[Path]:
    """``convergence.png`` and ``.svg``: errors against each setting, on a logarithmic scale, with
    limits and choice.
    """
    from matplotlib.figure import Figure

    count = len(result.series)
    figure = Figure(figsize=(5.2 * count, 4.0), layout="constrained")
    for axes, item in zip(figure.subplots(1, count, squeeze=False)[0], result.series, strict=True):
        points = item.points[:-1]  # the last is the reference
        values = [point.value for point in points]
        forces = [point.force_error_mev_per_a for point in points]
        energies = [point.energy_error_mev_per_atom for point in points]
        for name, errors, limit, colour in (
            ("largest force error (meV/Å)", forces, result.limits.force_mev_per_a, "tab:blue"),
            (
                "energy difference error (meV/atom)",
                energies,
                result.limits.energy_mev_per_atom,
                "tab:orange",
            ),
        ):
            shown = [max(abs(error), 1e-3) for error in errors]
            axes.plot(values, shown, "o-", color=colour, label=name)
            axes.axhline(limit, color=colour, linestyle=":", linewidth=1)
        axes.axvline(
            item.chosen, color="0.4", linestyle="--", linewidth=1, label=f"chosen: {item.chosen:g}"
        )
        axes.set(yscale="log", xlabel=item.title or item.setting, ylabel="error")
        axes.set_title(f"{result.formula}, reference {item.points[-1].value:g}", fontsize=10)
        axes.legend(fontsize=8)
    paths = [folder / f"convergence{suffix}" for suffix in (".png", ".svg")]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths
