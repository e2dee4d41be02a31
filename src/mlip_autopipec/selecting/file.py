"""``mlip-auto select``: the structures of a file that are worth a label, without a campaign."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import ase.io
import numpy as np

from mlip_autopipec.base.errors import InputError, nearest
from mlip_autopipec.base.files import atomic_write, data_folder
from mlip_autopipec.base.progress import Progress
from mlip_autopipec.science.reading import Frames, Given
from mlip_autopipec.science.selection import METHODS, Method, nearest_distances, select
from mlip_autopipec.selecting.rows import Counter, Scan, describer, fill, scan
from mlip_autopipec.selecting.table import RowTable

__all__ = ["CHOICES", "Selection", "select_file"]

Choice = Literal["auto", "fps", "environments", "clusters", "d_optimal", "random"]
CHOICES: tuple[str, ...] = get_args(Choice)

# Few labels: clusters, which know the common before the extreme. Later: farthest points, with a
# third at random.
RANDOM_SHARE = 1 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Structures picked from a file, in the order of picking.

    ``of``: structures in the file, ``distinct`` of them different and not labelled; ``existing``:
    different labelled ones; ``indices`` in the file, from 0; ``min_distances``: to what was picked
    before and to the labelled ones, in fingerprints (None for the first of all).
    """

    file: str
    of: int
    distinct: int
    method: str
    seed: int
    existing: int
    indices: tuple[int, ...]
    reasons: tuple[str, ...]
    min_distances: tuple[float | None, ...]
    out: str


def select_file(
    file: Path,
    count: int,
    *,
    method: str = "auto",
    seed: int = 1,
    existing: Path | None = None,
    out: Path = Path("selected.extxyz"),
    random_fraction: float | None = None,
    potential: Path | None = None,
    cache: Path | None = None,
    given: Given | None = None,
    progress: Progress | None = None,
) -> Selection:
    """Pick ``count`` structures of ``file`` and write them, in the order of picking, as extended
    XYZ.

    ``method``: one of CHOICES. ``auto`` is ``clusters`` without ``existing`` (labelled structures,
    in any format) and ``fps`` with a third at random with them. ``random_fraction``: that share, 0
    for a method that is named.
    ``given``: what the user says of both files. ``potential``: whose ACE basis ``d_optimal`` uses
    (AceProjections). ``cache``: folder of the fingerprints. Exact copies count once. Structures in
    ``out`` carry ``source_index`` (from 0) and ``picked`` (the reason).
    Raises InputError for a file, method or count that cannot be used, MissingProgramError without
    dscribe or pyace.
    """
    progress = progress or Progress()
    chosen, share = _recipe(method, existing, random_fraction)
    if potential is not None and chosen != "d_optimal":
        raise InputError("only d_optimal uses a potential", key="--potential", value=str(potential))
    for read in (file, existing):
        if read is not None and out.resolve() == read.resolve():
            raise InputError("this file is read, not written", key="--out", value=str(out))
    frames = Frames(file, given)
    if not 1 <= count <= len(frames):
        raise InputError(
            "a number from 1 to that of the structures",
            key="-n",
            value=count,
            hint=f"{len(frames)} here",
        )
    known = Frames(existing, given) if existing is not None else None
    seen, seen_known = (
        scan(frames, progress),
        scan(known, progress) if known is not None else Scan([], frozenset()),
    )
    labelled = set(seen_known.keys)
    candidates = [index for index in seen.first_of_each if seen.keys[index] not in labelled]
    elements = sorted(seen.elements | seen_known.elements)

    per_atom = chosen == "environments"
    describe = describer(chosen, elements, potential)
    table = RowTable(
        (cache or data_folder() / "fingerprints"),
        {**describe.parameters, "atoms": per_atom},
        describe.columns,
    )
    if known is not None:
        fill(
            table,
            known,
            seen_known.keys,
            seen_known.first_of_each,
            describe,
            progress,
            per_atom=per_atom,
        )
    rng = np.random.default_rng(seed)
    if chosen == "random":
        nothing = np.zeros((len(candidates), 1))
        picked = select(nothing, count, rng, method="random")
    else:
        fill(table, frames, seen.keys, candidates, describe, progress, per_atom=per_atom)
        rows, starts = table.rows([seen.keys[index] for index in candidates])
        known_rows = (
            table.rows(list(dict.fromkeys(seen_known.keys)))[0] if known is not None else None
        )
        picked = select(
            rows,
            count,
            rng,
            method=chosen,
            random_fraction=share,
            existing=known_rows,
            starts=starts if per_atom else None,
            progress=Counter(progress, "picking", count),
        )
    indices = [candidates[index] for index in picked.all]
    fill(table, frames, seen.keys, indices, describe, progress, per_atom=per_atom)
    own, own_starts = table.rows([seen.keys[index] for index in indices])
    against = table.rows(list(dict.fromkeys(seen_known.keys)))[0] if known is not None else None
    distances = nearest_distances(own, range(len(indices)), against, own_starts)
    _write(frames, indices, picked.reasons, out)
    if progress.stream.isatty():
        progress.line("")
    return Selection(
        file=str(file),
        of=len(frames),
        distinct=len(candidates),
        method=chosen,
        seed=seed,
        existing=len(labelled),
        indices=tuple(indices),
        reasons=tuple(picked.reasons),
        min_distances=tuple(
            round(float(value), 6) if math.isfinite(value) else None for value in distances
        ),
        out=str(out),
    )


def _recipe(
    method: str, existing: Path | None, random_fraction: float | None
) -> tuple[Method, float]:
    """The method proper and the share that is drawn at random."""
    if method not in CHOICES:
        raise InputError(
            "unknown method", key="--method", value=method, hint=nearest(method, CHOICES)
        )
    if method == "auto":
        chosen: Method = "clusters" if existing is None else "fps"
        share = 0.0 if existing is None else RANDOM_SHARE
    else:
        chosen, share = next(name for name in METHODS if name == method), 0.0
    return chosen, share if random_fraction is None else random_fraction


def _write(frames: Frames, indices: list[int], reasons: tuple[str, ...], out: Path) -> None:
    picked = []
    for index, reason in zip(indices, reasons, strict=True):
        atoms = frames[index]
        atoms.info.update(source_index=index, picked=reason)
        picked.append(atoms)
    text = io.StringIO()
    ase.io.write(text, picked, format="extxyz")
    atomic_write(out, text.getvalue())
