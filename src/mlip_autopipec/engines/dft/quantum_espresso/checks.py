"""What a run with ``JOB DONE`` must still fulfil before it counts as good. Pure functions over
printed output.

pw.x ends with JOB DONE (and exit code 0) for atoms on top of each other, and with JOB DONE for
cycles, relaxations and time limits that did not make it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.quantum_espresso.texts import Line

__all__ = [
    "MAX_FORCE_RY_PER_BOHR",
    "force_problem",
    "ionic_problem",
    "missing_result",
    "not_a_number",
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
_NO_NUMBER = re.compile(
    r"(total energy\s+=|Total force\s*=|estimated scf accuracy\s+<)\s+[-+]?(NaN|Inf|\*{3})",
    re.IGNORECASE,
)
_FORCE_CRITERION = re.compile(r"force <\s*([\d.]+[ED][-+]\d+)", re.IGNORECASE)
_ENERGY_CRITERION = re.compile(r"energy <\s*([\d.]+[ED][-+]\d+)", re.IGNORECASE)
_CELL_CRITERION = re.compile(r"cell <\s*([\d.]+[ED][-+]\d+)\s*kbar", re.IGNORECASE)
_FINAL_SCF = "inal scf calculation at the relaxed structure"
_STRESS = re.compile(r"total\s+stress\s+\(Ry/bohr\*\*3\)")


def success_lines(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The last total energy, convergence and JOB DONE lines."""
    signs = (
        (r"^!+\s+total energy", "total energy"),
        (r"convergence has been achieved|bfgs converged|End of band structure", "on"),
        (r"JOB DONE|^\s*PWSCF\s+:.*CPU", "O"),
    )
    found = (
        next(
            (line for line in reversed(lines) if hint in line.text and re.search(sign, line.text)),
            None,
        )
        for sign, hint in signs
    )
    return tuple(line for line in found if line is not None)


def missing_result(lines: Sequence[Line]) -> Failure | None:
    """``unknown`` when neither a converged energy nor bands were printed: a dry run, or another
    part of the output.
    """
    if any(
        (line.text.startswith("!") and re.match(r"!+\s+total energy", line.text))
        or "End of band structure calculation" in line.text
        for line in lines
    ):
        return None
    tail = tuple(line.evidence() for line in lines if "JOB DONE" in line.text)[-1:]
    return Failure(
        "unknown", "JOB DONE, but neither a converged total energy nor bands were printed", tail
    )


def not_a_number(lines: Sequence[Line]) -> Failure | None:
    """``geometry`` when an energy or force is no number."""
    for line in lines:
        text = line.text
        if (" = " in text or "  <" in text) and _NO_NUMBER.search(text):
            cure = (
                "mixing does not help: look at the structure (atoms too close, a wrong unit of"
                " length), then at the pseudopotentials and at the build (GPU, compiler)"
            )
            return Failure("geometry", f"not a number: {text.strip()}", (line.evidence(),), cure)
    return None


def force_problem(lines: Sequence[Line]) -> Failure | None:
    """``geometry`` when the last forces are absurd, run into each other, or a number is NaN."""
    if nonsense := not_a_number(lines):
        return nonsense
    for line in _last_forces(lines):
        forces = _force(line)
        if forces is None:
            return Failure(
                "geometry", "forces so large that their columns run together", (line.evidence(),)
            )
        largest = max(abs(value) for value in forces)
        if largest > MAX_FORCE_RY_PER_BOHR:
            message = f"a force of {largest:.1f} Ry/bohr: atoms sit almost on top of each other"
            return Failure("geometry", message, (line.evidence(),))
    return None


def _force(line: Line) -> list[float] | None:
    """The three components (Ry/bohr) of a row, None where they are no three numbers."""
    field = _FORCE.match(line.text)
    words = field[1].split() if field else []
    if len(words) != 3 or any("*" in word or "nan" in word.lower() for word in words):
        return None
    try:
        return [float(word) for word in words]
    except ValueError:
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
        if ("history" in line.text or "failed" in line.text) and _BFGS_FAILED.search(line.text):
            if _within_criteria(lines):
                return _final_scf_problem(lines)
            message = f"BFGS gave up: {line.text.strip()}"
            return Failure("ionic_not_converged", message, (line.evidence(),))
    done = any("onverge" in line.text and _IONIC_DONE.search(line.text) for line in lines) or any(
        "End of damped dynamics" in line.text for line in lines
    )
    if calculation in ("relax", "vc-relax") and not done:
        tail = tuple(line.evidence() for line in lines if "JOB DONE" in line.text)[-1:]
        return Failure(
            "ionic_not_converged", f"{calculation} without a sign that it converged", tail
        )
    return _final_scf_problem(lines)


def _within_criteria(lines: Sequence[Line]) -> bool:
    """BFGS found no way down, but what it printed last obeys its criteria: it is at the minimum as
    far as these forces can tell.
    """
    final = next((i for i, line in enumerate(lines) if _FINAL_SCF in line.text), None)
    criteria = next((line.text for line in reversed(lines) if "(criteria:" in line.text), "")
    lines = lines[:final]
    force, cell = _FORCE_CRITERION.search(criteria), _CELL_CRITERION.search(criteria)
    energy = _ENERGY_CRITERION.search(criteria)
    forces = [_force(line) for line in _last_forces(lines)]
    if force is None or not forces:
        return False
    if any(row is None or max(map(abs, row)) > _number(force[1]) for row in forces):
        return False
    energies = [
        _number(found[1])
        for line in lines
        if line.text.startswith("!") and (found := re.search(r"=\s+(\S+) Ry", line.text))
    ]
    if energy and len(energies) > 1 and abs(energies[-1] - energies[-2]) > _number(energy[1]):
        return False
    stress, _ = _stress(lines)
    # Of a target pressure the output says nothing: only a cell without stress is seen as relaxed.
    return cell is None or bool(stress and max(map(abs, stress)) <= _number(cell[1]))


def _number(word: str) -> float:
    try:
        return float(word.upper().replace("D", "E"))
    except ValueError:
        return float("inf")


def _final_scf_problem(lines: Sequence[Line]) -> Failure | None:
    """A vc-relax ends with an SCF on the plane waves of the final cell; its stress must hold the
    criterion too.

    The target pressure is zero unless the converged step shows another; components that never
    obeyed the criterion (``cell_dofree``) are left out.
    """
    final = next((i for i, line in enumerate(lines) if _FINAL_SCF in line.text), None)
    limits = [
        found
        for line in lines
        if "criteria" in line.text and (found := _CELL_CRITERION.search(line.text))
    ]
    if final is None or not limits:
        return None
    limit_kbar = _number(limits[-1][1])
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
        f"the relaxation itself converged, but its plane waves were those of the first cell: the"
        f" final SCF, with those of the last cell, leaves {worst:.2f} kbar (criterion"
        f" {limit_kbar:g} kbar)"
    )
    cure = "repeat vc-relax from the final cell until both agree, or raise ecutwfc"
    return Failure("ionic_not_converged", message, (row.evidence(),), cure)


def _stress(lines: Sequence[Line]) -> tuple[list[float], Line | None]:
    """The last stress tensor (9 numbers, kbar) and its heading."""
    start = next(
        (
            index
            for index in range(len(lines) - 1, -1, -1)
            if "stress" in lines[index].text and _STRESS.search(lines[index].text)
        ),
        None,
    )
    if start is None:
        return [], None
    try:
        values = [
            float(word) for line in lines[start + 1 : start + 4] for word in line.text.split()[3:6]
        ]
    except ValueError:
        return [], None
    return (values, lines[start]) if len(values) == 9 else ([], None)
