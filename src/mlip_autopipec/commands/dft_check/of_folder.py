"""``mlip-auto dft --converge``: cutoff and k-points of a folder's method from a series on one of
its structures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ase import Atoms

from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.structures import atoms_to_json
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import content_hash
from mlip_autopipec.commands.dft_check.labels import SeriesLabels
from mlip_autopipec.commands.dft_check.series import beginning, converge_cell, knobs_of
from mlip_autopipec.config import dft_check
from mlip_autopipec.config.dft_plan import DftPlan
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import Converges
from mlip_autopipec.runtime.executors.ports import Executor
from mlip_autopipec.science.label_set import Kind, LabelSet, label_set_of

__all__ = ["representative", "with_checked_settings"]


def representative(structures: Sequence[Atoms], dft: DftPlan) -> Atoms:
    """The cell of the series: a crystal before slabs and molecules, with the hardest element, the
    smallest such.
    """
    engine = _engine(dft)

    def rank(atoms: Atoms) -> tuple[int, float, int]:
        symbols = set(atoms.get_chemical_symbols())
        hardest = max(engine.hardness(dft.method, symbol) for symbol in symbols)
        return -sum(bool(flag) for flag in atoms.pbc), -hardest, len(atoms)

    return min(structures, key=rank)


def with_checked_settings(
    plan: LabelPlan,
    reasons: Mapping[str, str],
    structures: Sequence[Atoms],
    root: Path,
    progress: Progress,
    runner: Executor | None,
) -> tuple[LabelPlan, dict[str, str]] | Failure:
    """The plan with what a series on the representative cell chose; made, gone on with, or read
    from ``root``.

    Elements and crystals that the cell does not stand for keep what the rules say of them: no
    setting is ever looser than theirs.
    """
    dft, home = plan.dft, root / dft_check.FOLDER
    cell = representative(structures, dft)
    key = content_hash({"method": dft.label_method(), "cell": atoms_to_json(cell)})
    result = dft_check.stored(root)
    if result is None or result.key != key:
        progress.log(beginning(cell, dft))
        machine = SeriesLabels(home, dft, plan.executor, progress=progress, runner=runner)
        made = converge_cell(cell, dft, home, plan.executor, key=key, label=machine)
        if isinstance(made, Failure):
            return made
        result = made
    found = {**reasons, **dft_check.reasons_of(dft, result)}
    chosen, why = _not_below(dft, result.chosen, cell, structures)
    checked = dft_check.with_choice(dft, chosen)
    return plan.model_copy(update={"dft": checked}), {**found, **why}


def _engine(dft: DftPlan) -> Converges:
    engine = registry.dft_engine(dft.engine)
    assert isinstance(engine, Converges)  # the options were refused otherwise
    return engine


def _rest(structures: Sequence[Atoms], cell: Atoms) -> LabelSet:
    """What ``cell`` does not stand for: elements that it lacks, and structures of other kinds."""
    own = label_set_of([cell])
    whole = label_set_of(structures)
    return LabelSet(
        tuple(sorted(set(whole.elements) - set(own.elements))),
        tuple(kind for kind in whole.kinds if _name(kind) != _name(own.kinds[0])),
    )


def _name(kind: Kind) -> tuple[Mapping[str, float], bool]:
    return kind.composition, kind.is_molecule


def _not_below(
    dft: DftPlan, chosen: Mapping[str, float], cell: Atoms, structures: Sequence[Atoms]
) -> tuple[dict[str, float], dict[str, str]]:
    """The chosen settings, tightened to what the rest needs, and why."""
    found, why = dict(chosen), dict[str, str]()
    needed = _engine(dft).least(dft.method, _rest(structures, cell))
    for knob in knobs_of(dft, cell):
        if knob.setting not in needed:
            continue
        value, reason = needed[knob.setting]
        if knob.tighter(value, found[knob.setting]):
            why[f"dft.method.{knob.setting}"] = (
                f"{found[knob.setting]:g} {knob.unit} was checked to be enough, but {reason}"
            )
            found |= knob.changes(value)
    return found, why
