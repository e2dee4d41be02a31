"""Label files of structures in a folder: the whole of ``mlip-auto dft label`` but for the
printing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms

from mlip_autopipec.base.errors import CampaignStateError, InputError
from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.structures import atoms_to_json
from mlip_autopipec.base.tasks import Failure, Task
from mlip_autopipec.base.values import Json
from mlip_autopipec.commands.dft_check.of_folder import asking_for_check, with_checked_settings
from mlip_autopipec.commands.label import method
from mlip_autopipec.commands.label.calculator import check_calculator
from mlip_autopipec.commands.label.method import Parameters
from mlip_autopipec.commands.label.options import Options
from mlip_autopipec.commands.label.outputs import PARAMETERS
from mlip_autopipec.commands.label.structures import Structure, as_calculated, read_structures
from mlip_autopipec.commands.label.work import Labelling, given, label_task
from mlip_autopipec.config.dft_plan import ASE_CALCULATOR
from mlip_autopipec.config.label_plan import LabelPlan, read_plan
from mlip_autopipec.config.plan import DftPlan, ExecutorPlan
from mlip_autopipec.engines.dft.quantum_espresso import config, pseudos
from mlip_autopipec.runtime import layout
from mlip_autopipec.runtime.driver import carry_out
from mlip_autopipec.runtime.executors.ports import Executor

__all__ = ["label_atoms", "label_files", "make_plan", "plan_for", "tasks_of"]

TICK_S = 0.2


def label_files(
    files: Sequence[Path],
    out: Path,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Json:
    """Label every frame of ``files`` in the folder ``out``, or go on there; returns the summary.

    ``out`` then holds dataset.db (ASE database), labels.extxyz, quarantine.json and summary.json.
    Raises InputError, MissingProgramError, CampaignLockedError (another driver works in ``out``) or
    CampaignStateError (``out`` belongs to something else).
    """
    if not files:
        raise InputError("no file given", hint="mlip-auto dft FILE...")
    return _label(read_structures(files), out, options or Options(), progress, executor)


def label_atoms(
    structures: Sequence[Atoms],
    out: Path,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Json:
    """:func:`label_files` for structures in memory.

    Raises InputError for one that cannot be labelled.
    """
    return _label(_ready(structures), out, options or Options(), progress, executor)


def plan_for(structures: Sequence[Atoms], options: Options | None = None) -> LabelPlan:
    """The plan that serves these structures, without a folder. Raises InputError."""
    options = options or Options()
    if options.converge:
        raise InputError(
            "a convergence series needs a folder", key="converge", hint="use DFTFactory.run"
        )
    return make_plan([item.atoms for item in _ready(structures)], None, options)[0]


def _ready(structures: Sequence[Atoms]) -> list[Structure]:
    ready = []
    for number, atoms in enumerate(structures):
        try:
            ready.append(as_calculated(atoms, f"given#{number}"))
        except ValueError as error:
            raise InputError(str(error), key=f"structure {number}") from None
    return ready


def _label(
    found: list[Structure],
    out: Path,
    options: Options,
    progress: Progress | None,
    executor: Executor | None,
) -> Json:
    root, progress = out.resolve(), progress or Progress()
    plan, reasons, notes = make_plan([item.atoms for item in found], root, options)
    _check_programs(plan.dft, plan.elements)
    if plan.dft.convergence == "check":
        checked = with_checked_settings(
            plan, reasons, [item.atoms for item in found], root, progress, executor
        )
        if isinstance(checked, Failure):
            return _unchecked(root, len(found), checked)
        plan, reasons = checked
        plan = plan.model_copy(update={"dft": _with_time_for(plan.dft, found, options)})
    tasks, sources = tasks_of(plan, found)
    progress.log(f"{len(found)} structures, {len(tasks)} different; {_in_words(plan.dft)}")
    for note in notes:
        progress.log(note)
    root.mkdir(parents=True, exist_ok=True)
    if reasons:
        atomic_write(root / PARAMETERS, _parameters_text(plan, reasons))
    return carry_out(
        Labelling(plan, tasks, sources), root, progress=progress, executor=executor, tick_s=TICK_S
    )


def _with_time_for(dft: DftPlan, found: Sequence[Structure], options: Options) -> DftPlan:
    """The wall time that the largest structure needs with the checked settings, unless one was
    given.
    """
    return (
        dft
        if "walltime_s" in options.settings
        else method.with_walltime(dft, [item.atoms for item in found])
    )


def _unchecked(root: Path, structures: int, failure: Failure) -> Json:
    """The summary of a call that got no further than its convergence check."""
    return {
        "end_state": "needs_attention",
        "reason": f"the convergence check failed, {failure.kind}: {failure.message}",
        "folder": str(root),
        "structures": structures,
        "labelled": 0,
        "quarantined": 0,
        "left": structures,
    }


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
    options = _as_begun(options, begun.dft if begun else None)
    derived = method.derive_dft(
        structures,
        family=options.family,
        elements=options.elements,
        settings=options.settings,
        engine=options.engine or method.DEFAULT_ENGINE,
        calculator=options.calculator,
        arguments=options.arguments,
    )
    if root is None or begun is None:
        elements = tuple(sorted({*options.elements, *method.elements_of(structures)}))
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


def _as_begun(options: Options, dft: DftPlan | None) -> Options:
    """Options with what a call may leave out: the folder's engine, family and calculator."""
    engine = options.engine or (
        ASE_CALCULATOR if options.calculator else dft.engine if dft else None
    )
    if dft is None or engine != dft.engine:
        return replace(options, engine=engine)
    family = options.family or (dft.pseudo_family if dft.pseudo_family != "none" else None)
    calculator = options.calculator or dft.calculator
    same = calculator == dft.calculator
    arguments = options.arguments or (dft.arguments if same else {})
    return replace(
        options, engine=engine, family=family, calculator=calculator, arguments=arguments
    )


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
    if options.converge and begun.dft.convergence != "checked":
        raise InputError(
            f"{root} was begun without it",
            key="--converge",
            hint="choose another folder with --out",
        )
    wanted = {*options.elements, *method.elements_of(structures)}
    if new := sorted(wanted - set(begun.elements)):
        raise InputError(
            f"{root} was begun without {', '.join(new)}, and its labels must share one method",
            key="--out",
            hint=(
                "choose another folder, or begin it with:"
                f" {' '.join('--element ' + symbol for symbol in new)}"
            ),
        )
    old, today = begun.dft.method(), derived.dft.method()
    fixed = {key for key in options.settings if key in old}
    fixed |= {"engine", "pseudo_family", "calculator", "arguments", "calculator_version"} & {
        *old,
        *today,
    }
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
    differing = [
        f"{key} {today[key]} would be chosen today, {old[key]} of this folder is kept"
        for key in ("kspacing_per_a", "kmesh_shifted", "smearing", "spin_polarized")
        if key in old
        and today[key] != old[key]
        and key not in fixed
        and not (key == "kspacing_per_a" and begun.dft.convergence == "checked")
    ]
    return begun.dft.model_copy(update=changes), differing


def _check_programs(dft: DftPlan, elements: Sequence[str]) -> None:
    """Raises MissingProgramError (InputError for a calculator that cannot be made) before anything
    is begun.
    """
    if dft.engine == ASE_CALCULATOR:
        check_calculator(dft.method())
    if dft.engine == method.DEFAULT_ENGINE:
        config.command(dft.cores, {})
        for symbol in elements:
            pseudos.locate(dft.pseudo_family, symbol)


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


def _in_words(dft: DftPlan) -> str:
    if not dft.plane_waves:
        given = ", ".join(f"{key}={value}" for key, value in dft.arguments.items())
        return (
            f"{dft.calculator}({given}) of {dft.calculator_version or 'no package'} (method"
            f" {dft.method_hash})"
        )
    spin = ", spin-polarised" if dft.spin_polarized else ""
    mesh = "shifted" if dft.kmesh_shifted else "Gamma-centred"
    return (
        f"{dft.functional}, {dft.cutoff_ry:g}/{dft.rho_cutoff_ry:g} Ry, k-points every"
        f" {dft.kspacing_per_a:g} 1/Å ({mesh}), {dft.smearing} {dft.degauss_ry:g} Ry{spin} (method"
        f" {dft.method_hash})"
    )


def _parameters_text(plan: LabelPlan, reasons: Mapping[str, str]) -> str:
    """Every parameter in a line, with the reason where it was derived; to be read, plan.json is
    what runs.
    """
    lines = [
        "# How the structures of this folder are labelled. plan.json holds the same for the"
        " programs."
    ]
    for key, value in plan.dft.model_dump(mode="json").items():
        text = f"{key}: {value}"
        reason = " ".join(reasons.get(f"dft.{key}", "").split())
        lines.append(f"{text:<44}# {reason}" if reason else text)
    return "\n".join(lines) + "\n"
