"""Task ``label``: one DFT calculation.

Atoms on top of each other are refused before the program starts (some codes return success for
them). A dead attempt that finished its calculation but never reported is salvaged: its files are
read instead of computing again.
"""

from __future__ import annotations

from pathlib import Path

from ase import Atoms

from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import Continues, DftEngine, Watches
from mlip_autopipec.runtime.executors.parsl import block
from mlip_autopipec.runtime.layout import OUTCOME
from mlip_autopipec.science import contacts

__all__ = ["run", "too_close"]

#: The failure whose state is worth keeping for the next attempt.
OUT_OF_WALLTIME = "out_of_walltime"
# A program stops itself a little before its wall time; killing is for one that hangs.
_KILL_MARGIN_S = 30.0
# A program is never given less, however little is left of the allocation.
_SHORTEST_S = 60.0


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Label the job of a :class:`LabelPayload`; the result is ``Label.to_json()``.

    A salvaged result leaves a file ``salvaged`` (name of the dead attempt's folder) in ``folder``.
    """
    job = LabelPayload.from_json(spec.payload).job
    if "max_force_ev_per_a" not in job.numerics:
        job = job.with_numerics(max_force_ev_per_a=plan.dft.max_force_ev_per_a)
    if plan.dft.threads > 1:
        job = job.with_numerics(threads=plan.dft.threads)
    problem = too_close(job.atoms)
    if problem is not None:
        return Outcome(None, failure=problem)
    engine = registry.dft_engine(plan.dft.engine)
    for dead in _unreported(spec, folder):
        found = engine.parse(dead, job, None)
        if isinstance(found, Label):
            atomic_write(folder / "salvaged", f"{dead.name}\n")
            return Outcome(found.to_json())
    walltime_s = _within_block(
        plan.dft.walltime_s * float(job.numerics.get("walltime_factor", 1.0))
    )
    prepared = engine.prepare(job, walltime_s=walltime_s, cores=plan.dft.cores)
    earlier = folder.with_name(f"attempt-{spec.attempt - 1}")
    if isinstance(engine, Continues) and earlier.is_dir():
        prepared = engine.resume(prepared, earlier, folder)
        _drop_scratch(engine, earlier)
    # The program stops itself a little before its wall time; killing it is for one that hangs.
    watch = engine.watch if isinstance(engine, Watches) else None
    code = run_prepared(prepared, folder, walltime_s + _KILL_MARGIN_S, watch)
    result = engine.parse(folder, job, code)
    if isinstance(result, Failure):
        if result.kind != OUT_OF_WALLTIME:
            _drop_scratch(engine, folder)
        return Outcome(None, failure=result)
    _drop_scratch(engine, folder)
    return Outcome(result.to_json())


def _within_block(walltime_s: float) -> float:
    """The wall time, cut to what the scheduler's allocation leaves: stopping in time keeps the
    state to go on from.
    """
    left_s = block.seconds_left()
    return (
        walltime_s
        if left_s is None
        else min(walltime_s, max(_SHORTEST_S, left_s - 2 * _KILL_MARGIN_S))
    )


def _unreported(spec: TaskSpec, folder: Path) -> list[Path]:
    """Folders of earlier attempts whose worker vanished, newest first: any of them may hold a
    finished result.
    """
    if spec.salvage is None:
        return []
    earlier = [folder.with_name(f"attempt-{number}") for number in range(spec.attempt - 1, 0, -1)]
    return [dead for dead in earlier if dead.is_dir() and not (dead / OUTCOME).exists()]


def too_close(atoms: Atoms) -> Failure | None:
    """A ``geometry`` failure when two atoms (or an atom and its image) sit nearly on one place."""
    found = contacts.too_close(atoms, contacts.LABEL_LIMIT)
    if found is None:
        return None
    pair = f"atoms {found.first} and {found.second} are {found.distance_a:.3f} Å apart"
    return Failure("geometry", f"{pair}: refused before the calculation")


def _drop_scratch(engine: DftEngine, folder: Path) -> None:
    """Remove what the code says may go, and the folders that are empty then."""
    for path in engine.scratch(folder):
        path.unlink(missing_ok=True)
        for place in path.parents:
            if place == folder or not place.is_dir() or any(place.iterdir()):
                break
            place.rmdir()
