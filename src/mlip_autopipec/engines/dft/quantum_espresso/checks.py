"""What a run with ``JOB DONE`` must still fulfil before it counts as good. Pure functions over
printed output.

pw.x ends with JOB DONE (and exit code 0) for atoms on top of each other, and with JOB DONE for
cycles, relaxations and time limits that did not make it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.quantum_espresso.records import Line

__all__ = [
    "MAX_FORCE_RY_PER_BOHR",
    "force_problem",
    "ionic_problem",
    "missing_result",
    "success_lines",
]

#: About 100 eV/Å: no structure that anybody wants; atoms sit on top of each other.
MAX_FORCE_RY_PER_BOHR = 4.0

_FORCE = re.compile(r"^\s*atom\s+\d+\s+type\s+\d+\s+force =(.*)$")
_STEPS_USED_UP = "The maximum number of steps has been reached"
_BFGS_FAILED = re.compile(
    r"history already reset at previous step|bfgs failed after", re.IGNORECASE
)
_IONIC_DONE = re.compile(
    r"bfgs converged in|Damped Dynamics: convergence achieved|End of damped dynamics|FCP"
    r" Optimi.ation : converged|"
    r"Wentzcovitch Damped Dynamics: convergence achieved|FIRE: convergence achieved",
    re.IGNORECASE,
)
_CELL_CRITERION = re.compile(r"cell <\s*([\d.]+E[-+]\d+)\s*kbar", re.IGNORECASE)
_FINAL_SCF = re.compile(r"Final scf calculation at the relaxed structure", re.IGNORECASE)
_STRESS = re.compile(r"total\s+stress\s+\(Ry/bohr\*\*3\)")


def success_lines(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The last total energy, convergence and JOB DONE lines."""
    signs = (
        r"^!+\s+total energy",
        r"convergence has been achieved|bfgs converged|End of band structure",
        r"JOB DONE",
    )
    found = (
        next((line for line in reversed(lines) if re.search(sign, line.text)), None)
        for sign in signs
    )
    return tuple(line for line in found if line is not None)


def missing_result(lines: Sequence[Line]) -> Failure | None:
    """``unknown`` when neither a converged energy nor bands were printed: a dry run, or another
    part of the output.
    """
    if any(
        re.search(r"^!+\s+total energy|End of band structure calculation", line.text)
        for line in lines
    ):
        return None
    tail = tuple(line.evidence() for line in lines if "JOB DONE" in line.text)[-1:]
    return Failure(
        "unknown", "JOB DONE, but neither a converged total energy nor bands were printed", tail
    )


def force_problem(lines: Sequence[Line]) -> Failure | None:
    """``geometry`` when the last forces are absurd, run into each other, or a number is NaN."""
    for line in lines:
        if re.search(
            r"^!?\s+total energy\s+=\s+(NaN|\*)|Total force =\s+(NaN|\*)", line.text, re.IGNORECASE
        ):
            return Failure("geometry", f"not a number: {line.text.strip()}", (line.evidence(),))
    for line in _last_forces(lines):
        field = _FORCE.match(line.text)
        words = field[1].split() if field else []
        if len(words) != 3 or any("*" in word or "nan" in word.lower() for word in words):
            return Failure(
                "geometry", "forces so large that their columns run together", (line.evidence(),)
            )
        largest = max(abs(float(word)) for word in words)
        if largest > MAX_FORCE_RY_PER_BOHR:
            message = f"a force of {largest:.1f} Ry/bohr: atoms sit almost on top of each other"
            return Failure("geometry", message, (line.evidence(),))
    return None


def _last_forces(lines: Sequence[Line]) -> list[Line]:
    """Rows of the last block of total forces (contributions, printed with high verbosity, come
    after it).
    """
    start = max(
        (i for i, line in enumerate(lines) if "Forces acting on atoms" in line.text), default=None
    )
    if start is None:
        return []
    rows: list[Line] = []
    for line in lines[start + 1 :]:
        if _FORCE.match(line.text):
            rows.append(line)
        elif rows:
            break
    return rows


def ionic_problem(lines: Sequence[Line], calculation: str | None) -> Failure | None:
    """``ionic_not_converged`` for a relaxation that ran out of steps, gave up, or whose final SCF
    disagrees.

    ``calculation``: the keyword of the input where known. Molecular dynamics always ends at its
    number of steps.
    """
    dynamics = calculation in ("md", "vc-md") or any(
        "End of molecular dynamics" in line.text for line in lines
    )
    if dynamics:
        return None
    for line in lines:
        if _STEPS_USED_UP in line.text:
            return Failure(
                "ionic_not_converged",
                "the relaxation used up its steps (nstep)",
                (line.evidence(),),
            )
        if _BFGS_FAILED.search(line.text):
            message = f"BFGS gave up: {line.text.strip()}"
            return Failure("ionic_not_converged", message, (line.evidence(),))
    done = any(_IONIC_DONE.search(line.text) for line in lines)
    if calculation in ("relax", "vc-relax") and not done:
        tail = tuple(line.evidence() for line in lines if "JOB DONE" in line.text)[-1:]
        return Failure(
            "ionic_not_converged", f"{calculation} without a sign that it converged", tail
        )
    return _final_scf_problem(lines)


def _final_scf_problem(lines: Sequence[Line]) -> Failure | None:
    """A vc-relax ends with an SCF on the plane waves of the final cell; its stress must hold the
    criterion too.

    The target pressure is zero unless the converged step shows another; components that never
    obeyed the criterion (``cell_dofree``) are left out.
    """
    final = next((i for i, line in enumerate(lines) if _FINAL_SCF.search(line.text)), None)
    limits = [found for line in lines if (found := _CELL_CRITERION.search(line.text))]
    if final is None or not limits:
        return None
    limit_kbar = float(limits[-1][1])
    before, _ = _stress(lines[:final])
    after, row = _stress(lines[final:])
    if not before or not after or row is None:
        return None
    pressure = (before[0] + before[4] + before[8]) / 3
    target = 0.0 if abs(pressure) <= limit_kbar else pressure
    wanted = [target if index in (0, 4, 8) else 0.0 for index in range(9)]
    obeyed = [index for index in range(9) if abs(before[index] - wanted[index]) <= limit_kbar]
    worst = max((abs(after[index] - wanted[index]) for index in obeyed), default=0.0)
    if worst <= limit_kbar:
        return None
    message = (
        f"the relaxation converged, but the final SCF leaves {worst:.2f} kbar (criterion"
        f" {limit_kbar:g} kbar)"
    )
    return Failure("ionic_not_converged", message, (row.evidence(),))


def _stress(lines: Sequence[Line]) -> tuple[list[float], Line | None]:
    """The last stress tensor (9 numbers, kbar) and its heading."""
    start = max((i for i, line in enumerate(lines) if _STRESS.search(line.text)), default=None)
    if start is None:
        return [], None
    try:
        values = [
            float(word) for line in lines[start + 1 : start + 4] for word in line.text.split()[3:6]
        ]
    except ValueError:
        return [], None
    return (values, lines[start]) if len(values) == 9 else ([], None)
