"""The plan of a folder of labels: made from its first structures, kept ever after."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms

from mlip_autopipec.base.errors import CampaignStateError, InputError
from mlip_autopipec.base.structures import atoms_to_json
from mlip_autopipec.base.tasks import Task
from mlip_autopipec.commands.label.method import OPTIONS, Parameters, derive_dft
from mlip_autopipec.commands.label.options import Options, asking_for_check
from mlip_autopipec.commands.label.structures import Structure, as_calculated
from mlip_autopipec.commands.label.work import given, label_task
from mlip_autopipec.config.label_plan import LabelPlan, read_plan
from mlip_autopipec.config.plan import DftPlan, ExecutorPlan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import Converges
from mlip_autopipec.runtime import layout

__all__ = ["as_given", "in_words", "make_plan", "parameters_text", "plan_for", "tasks_of"]


def plan_for(structures: Sequence[Atoms], options: Options | None = None) -> LabelPlan:
    """The plan that serves these structures, without a folder. Raises InputError."""
    options = options or Options()
    if options.converge:
        raise InputError(
            "a convergence series needs a folder", key="converge", hint="use DFTFactory.run"
        )
    return make_plan([item.atoms for item in as_given(structures)], None, options)[0]


def as_given(structures: Sequence[Atoms]) -> list[Structure]:
    ready = []
    for number, atoms in enumerate(structures):
        try:
            ready.append(as_calculated(atoms, f"given#{number}"))
        except ValueError as error:
            raise InputError(str(error), key=f"structure {number}") from None
    return ready


def make_plan(
    structures: Sequence[Atoms], root: Path | None, options: Options
) -> tuple[LabelPlan, dict[str, str], list[str]]:
    """The plan, the reasons for its numbers (none when the folder's own are kept) and notes for the
    user.

    A folder keeps the method it was begun with, so that its labels stay comparable. Raises
    InputError when that method does not serve the new structures or options, CampaignStateError
    when the folder holds another kind of run.
    """
    begun = _begun(root) if root else None
    options = _with_engine(options, begun.dft if begun else None)
    derived = derive_dft(
        structures,
        engine=options.engine or registry.DEFAULT_DFT,
        elements=options.elements,
        wishes=options.wishes(),
        settings=options.settings,
    )
    if root is None or begun is None:
        elements = tuple(sorted({*options.elements, *elements_of(structures)}))
        dft, reasons, notes = derived.dft, derived.reasons, list[str]()
        if options.converge:
            dft = asking_for_check(dft, options.settings)
    else:
        dft, notes = _kept(begun, derived, options, structures, root)
        elements, reasons = begun.elements, {}
    plan = LabelPlan(
        name=root.name if root else "dft",
        elements=elements,
        dft=dft,
        budget=options.budget,
        executor=_place(options, begun),
    )
    return plan, reasons, notes


def _place(options: Options, begun: LabelPlan | None) -> ExecutorPlan:
    """Where to calculate: as asked for, else on the cluster that the folder was begun on, else on
    this machine.
    """
    if options.executor is not None:
        cores = {} if options.cores is None else {"cores": options.cores}
        return options.executor.model_copy(update=cores)
    if begun is not None and begun.executor.name != "local" and options.cores is None:
        return begun.executor
    return ExecutorPlan(cores=options.cores or len(os.sched_getaffinity(0)))


def _with_engine(options: Options, dft: DftPlan | None) -> Options:
    """Options with what a call may leave out: the folder's engine, and what leads to its method
    again.
    """
    engine = options.engine
    if engine is None and options.calculator:
        engine = registry.dft_engine_with("calculator")
    if dft is None or engine not in (None, dft.engine):
        return replace(options, engine=engine)
    again = dft.method.wishes_again(options.wishes())
    named: dict[str, Any] = {key: value for key, value in again.items() if key in OPTIONS}
    others = {key: value for key, value in again.items() if key not in OPTIONS}
    return replace(options, engine=dft.engine, settings={**others, **options.settings}, **named)


def elements_of(structures: Iterable[Atoms]) -> set[str]:
    return {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}


def _begun(root: Path) -> LabelPlan | None:
    path = root / layout.PLAN_JSON
    if not path.exists():
        return None
    plan = read_plan(path)
    if not isinstance(plan, LabelPlan):
        raise CampaignStateError(
            f"{root} holds a campaign, not labels; choose another folder with --out"
        )
    return plan


def _kept(
    begun: LabelPlan, derived: Parameters, options: Options, structures: Sequence[Atoms], root: Path
) -> tuple[DftPlan, list[str]]:
    """The folder's method with the wall time that the largest structure now needs, and what would
    be chosen today.
    """
    _refuse_what_is_new(begun, options, structures, root)
    old, today = begun.dft.label_method(), derived.dft.label_method()
    method = begun.dft.method
    fixed = {key for key in options.settings if key in old}
    fixed |= {"engine", *method.identity, *derived.dft.method.identity}
    for key in sorted(fixed, key=lambda key: (key != "engine", key)):
        if today.get(key) != old.get(key):
            raise InputError(
                f"{root} was begun with {old.get(key)!r}",
                key=key,
                value=today.get(key),
                hint="choose another folder with --out",
            )
    changes: dict[str, Any] = {"walltime_s": max(begun.dft.walltime_s, derived.dft.walltime_s)}
    changes |= {key: getattr(derived.dft, key) for key in options.settings if key not in old}
    engine = registry.dft_engine(begun.dft.engine)
    if begun.dft.convergence == "checked" and isinstance(engine, Converges):
        fixed |= set(engine.chosen)
    differing = [
        f"{key} {today[key]} would be chosen today, {old[key]} of this folder is kept"
        for key in method.worth_a_note
        if today[key] != old[key] and key not in fixed
    ]
    return begun.dft.model_copy(update=changes), differing


def _refuse_what_is_new(
    begun: LabelPlan, options: Options, structures: Sequence[Atoms], root: Path
) -> None:
    if options.converge and begun.dft.convergence != "checked":
        raise InputError(
            f"{root} was begun without it",
            key="--converge",
            hint="choose another folder with --out",
        )
    wanted = {*options.elements, *elements_of(structures)}
    if new := sorted(wanted - set(begun.elements)):
        raise InputError(
            f"{root} was begun without {', '.join(new)}, and its labels must share one method",
            key="--out",
            hint=(
                "choose another folder, or begin it with:"
                f" {' '.join('--element ' + symbol for symbol in new)}"
            ),
        )


def tasks_of(
    plan: LabelPlan, found: Sequence[Structure]
) -> tuple[dict[str, Task], dict[str, list[str]]]:
    """Task id -> task, and task id -> where its structure was found (equal structures are one
    task).
    """
    tasks: dict[str, Task] = {}
    sources: dict[str, list[str]] = {}
    for item in found:
        task = label_task(plan, given(item.atoms, atoms_to_json(item.atoms)))
        name = task.id
        tasks.setdefault(name, task)
        sources.setdefault(name, []).append(item.source)
    return tasks, sources


def in_words(dft: DftPlan) -> str:
    """The method for the log."""
    return f"{dft.method.in_words()} (method {dft.method_hash})"


def parameters_text(plan: LabelPlan, reasons: Mapping[str, str]) -> str:
    """Every parameter in a line, with the reason where it was derived; to be read, plan.json is
    what runs.
    """
    lines = [
        "# How the structures of this folder are labelled. plan.json holds the same for the"
        " programs."
    ]
    section = plan.dft.model_dump(mode="json")
    method = section.pop("method")
    rows = [("dft.", "engine", section.pop("engine"))]
    rows += [("dft.method.", key, value) for key, value in method.items()]
    rows += [("dft.", key, value) for key, value in section.items()]
    for prefix, key, value in rows:
        text = f"{key}: {value}"
        reason = " ".join(reasons.get(prefix + key, "").split())
        lines.append(f"{text:<44}# {reason}" if reason else text)
    return "\n".join(lines) + "\n"
