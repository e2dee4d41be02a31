"""``mlip-auto dft --converge``: cutoff and k-points of a folder's method from a series on one of
its structures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.base.structures import atoms_to_json
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json, content_hash
from mlip_autopipec.commands.label.method import least
from mlip_autopipec.config import dft_check
from mlip_autopipec.config.dft_plan import QUANTUM_ESPRESSO, DftPlan
from mlip_autopipec.config.label_plan import LabelPlan
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.runtime.executors.ports import Executor

__all__ = ["asking_for_check", "representative", "with_checked_settings"]

_CHOSEN = ("cutoff_ry", "rho_cutoff_ry", "kspacing_per_a")


def asking_for_check(dft: DftPlan, settings: Mapping[str, Any]) -> DftPlan:
    """The method with a check to come. Raises InputError where nothing is left to choose."""
    if dft.engine != QUANTUM_ESPRESSO:
        raise InputError(
            "only plane waves have a cutoff to converge", key="--converge", value=dft.engine
        )
    for key in _CHOSEN:
        if key in settings:
            raise InputError(
                "is what --converge chooses", key=f"--set {key}", hint="give one of the two"
            )
    return dft.model_copy(update={"convergence": "check"})


def representative(structures: Sequence[Atoms], family: str) -> Atoms:
    """The cell of the series: a crystal before slabs and molecules, with the hardest element, the
    smallest such.
    """

    def rank(atoms: Atoms) -> tuple[int, float, int]:
        hardest = max(
            pseudos.cutoffs(family, symbol)[1] for symbol in set(atoms.get_chemical_symbols())
        )
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

    Elements and crystals that the cell does not stand for keep what the rules say of them: the
    cutoff is never below theirs, the k-points never coarser.
    """
    from mlip_autopipec.commands.dft_check.labels import SeriesLabels
    from mlip_autopipec.commands.dft_check.series import converge_cell

    dft, home = plan.dft, root / dft_check.FOLDER
    cell = representative(structures, dft.pseudo_family)
    key = content_hash({"method": dft.method(), "cell": atoms_to_json(cell)})
    result = _stored(home / dft_check.RESULT, key)
    if result is None:
        progress.log(
            f"convergence check of {cell.get_chemical_formula()}, from {dft.cutoff_ry:g} Ry"
        )
        machine = SeriesLabels(home, dft, plan.executor, progress=progress, runner=runner)
        made = converge_cell(cell, dft, home, plan.executor, key=key, label=machine)
        if isinstance(made, Failure):
            return made
        result = made
    found = {**reasons, **dft_check.reasons_of(dft, result)}
    chosen, why = _not_below(dft, result["chosen"], least(structures, cell, dft.pseudo_family))
    checked = dft_check.with_choice(dft, {**result, "chosen": chosen})
    return plan.model_copy(update={"dft": checked}), {**found, **why}


def _stored(table: Path, key: str) -> Json | None:
    result: Json | None = read_json(table) if table.exists() else None
    return result if result is not None and result["key"] == key else None


def _not_below(
    dft: DftPlan, chosen: Json, needed: Mapping[str, tuple[float, str]]
) -> tuple[Json, dict[str, str]]:
    """The chosen settings, tightened to what the rest needs, and why."""
    found, why = dict(chosen), {}
    if "cutoff_ry" in needed and needed["cutoff_ry"][0] > found["cutoff_ry"]:
        value, reason = needed["cutoff_ry"]
        found |= {"cutoff_ry": value, "rho_cutoff_ry": dft.rho_cutoff_ry / dft.cutoff_ry * value}
        why["dft.cutoff_ry"] = f"{chosen['cutoff_ry']:g} Ry was checked to be enough, but {reason}"
    if "kspacing_per_a" in needed and needed["kspacing_per_a"][0] < found["kspacing_per_a"]:
        value, reason = needed["kspacing_per_a"]
        found["kspacing_per_a"] = value
        why["dft.kspacing_per_a"] = (
            f"{chosen['kspacing_per_a']:g} 1/Å was checked to be enough, but {reason}"
        )
    return found, why
