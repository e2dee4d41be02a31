"""The cure table: failure kind and history -> the next job, with numerical knobs changed and nothing else.

``None`` means quarantine: the structure is kept with its history and never blocks the loop. Each ladder is a list of
changes tried one after the other, counted by how often that kind has been seen; the cures were tried on provoked
failures (bcc iron that oscillates at beta 0.7 converges at 0.35, not with more steps or a longer history).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlip_autopipec.types import Failure, Json, LabelJob

__all__ = ["LADDERS", "TOTAL_LIMIT", "repair"]

#: Attempts in all, the first one included.
TOTAL_LIMIT = 8

LADDERS: Mapping[str, tuple[Json, ...]] = {
    "scf_not_converged": (
        {"mixing_beta": 0.35, "electron_maxstep": 200},
        {"mixing_beta": 0.2, "mixing_ndim": 12, "electron_maxstep": 300},
        {"mixing_beta": 0.3, "mixing_ndim": 8, "mixing_mode": "local-TF", "electron_maxstep": 300},
        {"mixing_beta": 0.1, "mixing_mode": "plain", "diagonalization": "cg", "electron_maxstep": 400},
    ),
    "charge_wrong": ({"mixing_beta": 0.3}, {"mixing_beta": 0.3, "diagonalization": "cg"}),
    # ppcg comes last: it is the least tested of the three solvers in 6.7.
    "diagonalization": (
        {"diagonalization": "cg", "ndiag": 1},
        {"diagonalization": "david", "ndiag": 1, "mixing_beta": 0.3},
        {"diagonalization": "ppcg", "ndiag": 1},
    ),
    "symmetry": ({"nosym": True}, {"nosym": True, "noinv": True}),
    "interrupted": ({}, {}, {}),
    "out_of_walltime": ({"walltime_factor": 2.0}, {"walltime_factor": 4.0}),
    "out_of_memory": ({}, {"mixing_ndim": 4}, {"mixing_ndim": 4, "diagonalization": "cg"}),
    "disk": ({},),
    "restart_corrupt": ({}, {}),
    "parallelization": ({"ndiag": 1},),
    "lost": ({}, {}, {}),
    "unknown": ({}, {"nosym": True, "mixing_beta": 0.3}),
}
"""Kinds that are not listed (geometry, input, pseudopotential, smearing_needed, bands) have no numerical cure."""


def repair(job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
    """The next job after ``failures`` (oldest first), or None for quarantine. Pure; the method is never touched."""
    if not failures or len(failures) >= TOTAL_LIMIT:
        return None
    kind = failures[-1].kind
    ladder = LADDERS.get(kind, ())
    seen = sum(failure.kind == kind for failure in failures)
    if seen > len(ladder):
        return None
    changes = dict(ladder[seen - 1])
    if kind == "diagonalization" and changes["diagonalization"] == job.numerics.get("diagonalization", "david"):
        changes["diagonalization"] = "ppcg"
    return job.with_numerics(**changes)
