"""Label files of structures in a folder: the whole of ``mlip-auto dft label`` but for the
printing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.typed import from_json
from mlip_autopipec.commands.dft_check.of_folder import with_checked_settings
from mlip_autopipec.commands.label.method import on_the_command_line, time_for
from mlip_autopipec.commands.label.options import Options
from mlip_autopipec.commands.label.outputs import PARAMETERS, LabelSummary, NotBegun
from mlip_autopipec.commands.label.plan import (
    as_given,
    in_words,
    make_plan,
    parameters_text,
    tasks_of,
)
from mlip_autopipec.commands.label.structures import Structure, read_structures
from mlip_autopipec.commands.label.work import Labelling
from mlip_autopipec.config.plan import DftPlan
from mlip_autopipec.engines import registry
from mlip_autopipec.runtime.driver import carry_out
from mlip_autopipec.runtime.executors.ports import Executor
from mlip_autopipec.science.reading import Given

__all__ = ["label_atoms", "label_files"]

TICK_S = 0.2


def label_files(
    files: Sequence[Path],
    out: Path,
    options: Options | None = None,
    *,
    given: Given | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> LabelSummary | NotBegun:
    """Label every frame of ``files`` in the folder ``out``, or go on there; returns the summary.
    ``given``: what the user says of the files.

    ``out`` then holds dataset.db (ASE database), labels.extxyz, quarantine.json and summary.json.
    Raises InputError, MissingProgramError, CampaignLockedError (another driver works in ``out``) or
    CampaignStateError (``out`` belongs to something else).
    """
    if not files:
        raise InputError("no file given", hint="mlip-auto dft FILE...")
    return _label(read_structures(files, given), out, options or Options(), progress, executor)


def label_atoms(
    structures: Sequence[Atoms],
    out: Path,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> LabelSummary | NotBegun:
    """:func:`label_files` for structures in memory.

    Raises InputError for one that cannot be labelled.
    """
    return _label(as_given(structures), out, options or Options(), progress, executor)


def _label(
    found: list[Structure],
    out: Path,
    options: Options,
    progress: Progress | None,
    executor: Executor | None,
) -> LabelSummary | NotBegun:
    root, progress = out.resolve(), progress or Progress()
    plan, reasons, notes = make_plan([item.atoms for item in found], root, options)
    _check_programs(plan.dft, plan.elements)
    if plan.dft.convergence == "check":
        checked = with_checked_settings(
            plan, reasons, [item.atoms for item in found], root, progress, executor
        )
        if isinstance(checked, Failure):
            return NotBegun(
                reason=f"the convergence check failed, {checked.kind}: {checked.message}",
                folder=str(root),
                structures=len(found),
                left=len(found),
            )
        plan, reasons = checked
        if "walltime_s" not in options.settings:
            dft = time_for(plan.dft, [item.atoms for item in found])
            plan = plan.model_copy(update={"dft": dft})
    tasks, sources = tasks_of(plan, found)
    progress.log(f"{len(found)} structures, {len(tasks)} different; {in_words(plan.dft)}")
    for note in [*notes, *_changes(found)]:
        progress.log(note)
    root.mkdir(parents=True, exist_ok=True)
    if reasons:
        atomic_write(root / PARAMETERS, parameters_text(plan, reasons))
    work = Labelling(plan, tasks, sources)
    left = carry_out(work, root, progress=progress, executor=executor, tick_s=TICK_S)
    return from_json(LabelSummary, left)


def _changes(found: Sequence[Structure]) -> list[str]:
    """What was made of what the files say, a line for each kind of change."""
    counts = Counter(note for item in found for note in item.notes)
    first = {note: item.source for item in reversed(found) for note in item.notes}
    return [
        f"{first[note]}: {note}" + (f" ({count - 1} more such)" if count > 1 else "")
        for note, count in counts.items()
    ]


def _check_programs(dft: DftPlan, elements: Sequence[str]) -> None:
    """Raises MissingProgramError, or InputError for a method that cannot be used here, before
    anything is begun.
    """
    try:
        registry.dft_engine(dft.engine).require(dft.method, elements, dft.cores)
    except InputError as error:
        raise on_the_command_line(error, dft.engine) from None
