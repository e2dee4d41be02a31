"""Failure classes of CP2K: how each is recognised and what is tried against it, in one table.

A cure turns numerical knobs and nothing else, one step after the other, counted by how often that
class was met; where the steps end, the structure is given up (``TOTAL_LIMIT`` attempts in all).
Classes without steps need another structure or other physics.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.tasks import Evidence, Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.dft.cp2k.programs import OUTPUT, STDERR

__all__ = ["TABLE", "TOTAL_LIMIT", "FailureClass", "classify", "fail", "repair"]

#: Attempts in all, the first one included.
TOTAL_LIMIT = 8
_TIMED_OUT, _KILLED = 124, (137, 143)
_FIGURE_COLUMNS = 9


@dataclass(frozen=True, slots=True)
class FailureClass:
    """One class: its sign in the output (``pattern``), words for a person, and the cures in turn.

    ``advice``: what a person can do where no cure is left.
    """

    kind: str
    pattern: str | None
    message: str
    cures: tuple[Json, ...]
    advice: str


#: The order is that of the rules: the first pattern that matches decides.
TABLE: tuple[FailureClass, ...] = (
    FailureClass(
        "out_of_walltime",
        r"exceeded requested execution time|due to time limit",
        "the time limit was reached",
        ({"walltime_factor": 2.0}, {"walltime_factor": 4.0}),
        "give the label more time (walltime_s) or cores",
    ),
    FailureClass(
        "geometry",
        r"GEOMETRY wrong or EMAX_SPLINE too small|atoms? .* (too close|same position)",
        "atoms sit on top of each other",
        (),
        "the structure is left out",
    ),
    FailureClass(
        "data",
        r"(requested )?(basis set|atomic potential) <.*(was|not)",
        "a basis set or pseudopotential is missing in CP2K's data",
        (),
        "install cp2k-data, or set CP2K_DATA_DIR to the folder of the data files",
    ),
    FailureClass(
        "out_of_memory",
        r"cannot allocate memory|error allocating|out of memory",
        "out of memory",
        ({}, {"mixing_history": 4}),
        "use more memory, fewer processes, or smaller cells",
    ),
    FailureClass(
        "disk",
        r"No space left on device|disk quota exceeded",
        "the disk is full",
        ({}, {}),
        "free some space",
    ),
    FailureClass(
        "input",
        r"found an unknown (keyword|section)|unknown subsection|invalid (input|value|keyword)",
        "the input is refused",
        (),
        "another release of CP2K? 2023.1 is known to work",
    ),
    FailureClass(
        "diagonalization",
        r"Cholesky decomposition failed|(cp_fm_|pz?|pd)?(syevd|heevd|potrf).*(fail|error)|"
        r"diagonali[sz]ation failed|linear dependenc",
        "the diagonalisation broke down",
        ({"mixing_alpha": 0.2}, {"mixing": "KERKER_MIXING", "mixing_alpha": 0.1}),
        "a basis set with fewer diffuse functions",
    ),
    FailureClass(
        "scf_not_converged",
        r"SCF run NOT converged",
        "the SCF cycle did not converge",
        (
            {"mixing_alpha": 0.2, "scf_steps": 200},
            {"mixing_alpha": 0.1, "mixing_history": 16, "scf_steps": 300},
            {"mixing": "KERKER_MIXING", "mixing_alpha": 0.2, "scf_steps": 400},
        ),
        "a higher electronic temperature, or spin",
    ),
    FailureClass(
        "grid_too_coarse",
        None,
        "atoms feel where the grid is",
        (),
        "a larger grid_cutoff_ry, or finer_xc_grid: another method, so a campaign's decision",
    ),
    FailureClass(
        "interrupted",
        r"CANCELLED AT|signal (9|15)\b|^\s*(killed|terminated)\s*$",
        "stopped from outside",
        ({}, {}, {}),
        "run it again",
    ),
    FailureClass("lost", None, "nobody reported an end", ({}, {}, {}), "run it again"),
    FailureClass(
        "unknown",
        None,
        "no known message",
        ({}, {"mixing_alpha": 0.2}),
        "read the last lines of the output",
    ),
)
_BY_KIND = {entry.kind: entry for entry in TABLE}


def repair(job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
    """The next job after ``failures`` (oldest first), or None: give up. The method is never
    touched.
    """
    if not failures or len(failures) >= TOTAL_LIMIT:
        return None
    kind = failures[-1].kind
    cures = _BY_KIND[kind].cures if kind in _BY_KIND else ()
    seen = sum(failure.kind == kind for failure in failures)
    return job.with_numerics(**cures[seen - 1]) if seen <= len(cures) else None


def classify(folder: Path, exit_code: int | None) -> Failure:
    """The failure that the files of an attempt show, with the lines that prove it."""
    output, errors = (_lines(folder, name) for name in (OUTPUT, STDERR))
    aborted = _abort(output)
    ended = any("PROGRAM ENDED AT" in line.text for line in output)
    searched = (*aborted, *output, *(() if ended else errors))
    joined = " ".join(line.text for line in aborted)
    for entry in TABLE:
        if entry.pattern is None:
            continue
        pattern = re.compile(entry.pattern, re.IGNORECASE)
        if joined and pattern.search(joined):
            return Failure(entry.kind, f"{entry.message}: {joined}", aborted)
        if found := next((line for line in searched if pattern.search(line.text)), None):
            return Failure(entry.kind, f"{entry.message}: {found.text.strip(' *')}", (found,))
    tail = tuple(line for line in (*output, *errors) if line.text.strip())[-3:]
    if exit_code == _TIMED_OUT:
        return Failure("out_of_walltime", "killed at the wall time", tail)
    if joined:
        return Failure("unknown", joined, aborted)
    if exit_code in (None, 0, *_KILLED) and not ended:
        how = "the output ends early" if output else "no output was written"
        return Failure("interrupted", how, tail)
    return Failure("unknown", f"exit code {exit_code} without a known message", tail)


def fail(kind: str, message: str, folder: Path, pattern: str) -> Failure:
    """A failure of ``kind`` with the lines of the output that match ``pattern`` as evidence."""
    shown = [line for line in _lines(folder, OUTPUT) if re.search(pattern, line.text)]
    return Failure(kind, message, tuple(shown[-5:]))


def _lines(folder: Path, name: str) -> tuple[Evidence, ...]:
    path = folder / name
    texts = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return tuple(Evidence(name, number, text.rstrip()) for number, text in enumerate(texts, 1))


def _abort(lines: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """The words in the box that CP2K draws when it gives up, right of the little figure."""
    start = next((i for i, line in enumerate(lines) if "[ABORT]" in line.text), None)
    if start is None:
        return ()
    box = itertools.takewhile(lambda line: not line.text.startswith(" ****"), lines[start + 1 :])
    shown = [(line, line.text[_FIGURE_COLUMNS:].strip(" *")) for line in box]
    return tuple(Evidence(line.file, line.line, words) for line, words in shown if words)
