"""The cure table: failure class and history -> the next job, with numerical knobs changed and
nothing else.

``None`` means quarantine: the structure is kept with its history and never blocks the loop. Each
ladder is a list of changes tried one after the other, counted by how often that class has been
seen; its length is the limit of the class, ``TOTAL_LIMIT`` that of the task. The cures were tried
on provoked failures (bcc iron that oscillates at beta 0.7 converges at 0.35, not with more steps or
a longer history).

====================  ==========================================================================
class                 cures, one after the other
====================  ==========================================================================
scf_not_converged     beta 0.35 and 200 steps; beta 0.2, ndim 12; local-TF 0.3; cg with beta 0.1
                      (slabs and other long cells: local-TF comes first)
diagonalization       cg (david where that was not the one that failed); paro; then david with
                      beta 0.3
charge_wrong          beta 0.3; beta 0.3 with cg
symmetry              nosym; nosym and noinv
out_of_walltime       twice, then four times the time (continued where the run stopped cleanly and
                      its files are kept)
out_of_memory         as it is (another job may have taken it); ndim 4; ndim 4 with cg, which keeps
                      fewer vectors
interrupted, lost     as it is, three times
disk                  as it is, twice (another job may have filled it)
restart_corrupt       as it is, twice (every attempt starts in a fresh folder)
parallelization       one process for the dense diagonalisation
machine               as it is, once (another node may do)
input                 only where this pw.x no longer has the solver: the next one
unknown               as it is; then nosym with beta 0.3
====================  ==========================================================================

No cure: geometry, pseudopotential, smearing_needed, too_few_bands, fft_volume,
ionic_not_converged, exx, and input else. They need another structure or other physics, which is a
campaign's decision and a new method hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.dft.quantum_espresso.classes import MACHINE

__all__ = ["LADDERS", "SOLVERS", "TOTAL_LIMIT", "repair"]

#: Attempts in all, the first one included.
TOTAL_LIMIT = 8
#: Those that every version from 6.7 on has; ppcg is gone since December 2024.
SOLVERS = ("david", "cg", "paro")
#: Cells with one vector this many times longer than another slosh: charge runs along the long
#: direction.
_LONG_CELL = 3.0
_NEXT_SOLVER = "next"

LADDERS: Mapping[str, tuple[Json, ...]] = {
    "scf_not_converged": (
        {"mixing_beta": 0.35, "electron_maxstep": 200},
        {"mixing_beta": 0.2, "mixing_ndim": 12, "electron_maxstep": 300},
        {"mixing_beta": 0.3, "mixing_ndim": 8, "mixing_mode": "local-TF", "electron_maxstep": 300},
        {
            "mixing_beta": 0.1,
            "mixing_mode": "plain",
            "diagonalization": "cg",
            "electron_maxstep": 400,
        },
    ),
    "charge_wrong": ({"mixing_beta": 0.3}, {"mixing_beta": 0.3, "diagonalization": "cg"}),
    "diagonalization": (
        {"diagonalization": _NEXT_SOLVER, "ndiag": 1},
        {"diagonalization": _NEXT_SOLVER, "ndiag": 1},
        {"diagonalization": "david", "ndiag": 1, "mixing_beta": 0.3},
    ),
    "symmetry": ({"nosym": True}, {"nosym": True, "noinv": True}),
    "interrupted": ({}, {}, {}),
    "out_of_walltime": ({"walltime_factor": 2.0}, {"walltime_factor": 4.0}),
    "out_of_memory": ({}, {"mixing_ndim": 4}, {"mixing_ndim": 4, "diagonalization": "cg"}),
    "disk": ({}, {}),
    "restart_corrupt": ({}, {}),
    "parallelization": ({"ndiag": 1},),
    "lost": ({}, {}, {}),
    MACHINE: ({},),
    "unknown": ({}, {"nosym": True, "mixing_beta": 0.3}),
}


def repair(job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
    """The next job after ``failures`` (oldest first), or None for quarantine. Pure; the method is
    never touched.
    """
    if not failures or len(failures) >= TOTAL_LIMIT:
        return None
    kind = failures[-1].kind
    solver = str(job.numerics.get("diagonalization", "david"))
    if kind == "input" and solver not in SOLVERS:
        return job.with_numerics(diagonalization=_next_solver(solver))
    ladder = _ladder(kind, job)
    seen = sum(failure.kind == kind for failure in failures)
    if seen > len(ladder):
        return None
    changes = dict(ladder[seen - 1])
    if changes.get("diagonalization") == _NEXT_SOLVER:
        changes["diagonalization"] = _next_solver(solver, seen)
    return job.with_numerics(**changes)


def _ladder(kind: str, job: LabelJob) -> tuple[Json, ...]:
    ladder = LADDERS.get(kind, ())
    if kind != "scf_not_converged":
        return ladder
    lengths = np.linalg.norm(job.atoms.cell.array, axis=1)
    if lengths.max() <= _LONG_CELL * lengths.min():
        return ladder
    local = next(step for step in ladder if step.get("mixing_mode") == "local-TF")
    return (local, *({"mixing_mode": "plain", **step} for step in ladder if step is not local))


def _next_solver(current: str, seen: int = 1) -> str:
    """The first time david, or cg where david failed; then the one that is left. One that we do not
    know of gives way to david.
    """
    others = [solver for solver in SOLVERS if solver != current]
    return others[min(seen, 2) - 1]
