"""Task ``select``: the candidates that DFT labels, the first set and each later batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlip_autopipec.config.plan import Plan
from mlip_autopipec.files import read_json
from mlip_autopipec.runtime.layout import SPEC
from mlip_autopipec.runtime.selecting.describe import structure_rows
from mlip_autopipec.science.dataset import HELD_OUT, PICKED
from mlip_autopipec.science.fingerprints import distinct, structure_fingerprints
from mlip_autopipec.science.generation import DISORDERED
from mlip_autopipec.science.selection import hold_out, select
from mlip_autopipec.types import Candidate, Failure, Outcome, TaskSpec, content_hash

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Payload {"count", "method", "random_fraction", "seed"[, "held_out", "existing", "refused"]}.

    Reads candidates.json of every needed task that is not in ``existing``.
    ``held_out``: so many of ``count`` are there to judge the fits; they come first, and nothing of their groups is
    picked for anything else, now or later.
    ``existing``: ids of labelled structures (among ``needs``) to which the new ones are to add something; nothing that
    is labelled already is picked again, and forced candidates are forced no more. ``refused``: hashes of atoms that DFT
    could not label.
    Result {"candidates": [Candidate JSON: those held out, forced ones, those of the method, random ones], "of": N,
    "picked": {reason: n}}.
    Candidates that two batches proposed alike count once. Nothing is written into ``folder``.
    """
    labelled, refused = list(spec.payload.get("existing", [])), set(spec.payload.get("refused", []))
    existing = [
        Candidate.from_json(read_json(spec.input_folder(task) / SPEC)["payload"]["candidate"]) for task in labelled
    ]
    offered = [
        item
        for task in spec.task.needs
        if task not in labelled
        for item in read_json(spec.input_folder(task) / "candidates.json")
    ]
    if not offered:
        return Outcome(None, Failure("no_candidates", "the generating tasks left no candidates"))
    candidates = [Candidate.from_json(item) for item in offered if content_hash(item["atoms"]) not in refused]
    structures = [item.atoms for item in (*existing, *candidates)]
    method, known = spec.payload["method"], len(existing)
    fingerprints = structure_fingerprints(structures, plan.material.elements)
    kept = [index - known for index in distinct(fingerprints) if index >= known]
    rows = structure_rows(method, structures, plan.material.elements) if method == "d_optimal" else fingerprints
    aside = _held_out([candidates[index] for index in kept], spec)
    judging = {item.provenance.group for item in (*existing, *aside) if _judges(item)}
    taught = [index for index in kept if candidates[index].provenance.group not in judging]
    learned = [index for index, item in enumerate(existing) if not _judges(item)]
    picked = select(
        rows[known:][taught],
        int(spec.payload["count"]) - len(aside),
        np.random.default_rng(int(spec.payload["seed"])),
        forced=[] if existing else [at for at, index in enumerate(taught) if candidates[index].forced],
        method=method,
        random_fraction=float(spec.payload["random_fraction"]),
        existing=rows[learned] if existing else None,
        families=[candidates[index].provenance.strategy for index in taught],
    )
    teaching = [_marked(candidates[taught[at]], reason) for at, reason in zip(picked.all, picked.reasons, strict=True)]
    chosen = [*aside, *teaching]
    reasons = Counter(item.provenance.parameters[PICKED] for item in chosen)
    return Outcome({"candidates": [item.to_json() for item in chosen], "of": len(kept), "picked": dict(reasons)})


def _held_out(offered: list[Candidate], spec: TaskSpec) -> list[Candidate]:
    """Those that are to judge the fits, marked so."""
    rows = hold_out(
        [item.provenance.group for item in offered],
        [item.provenance.strategy for item in offered],
        int(spec.payload.get("held_out", 0)),
        np.random.default_rng(int(spec.payload["seed"])),
        pinned=[row for row, item in enumerate(offered) if item.forced or item.provenance.strategy in DISORDERED],
    )
    return [_marked(offered[row], HELD_OUT) for row in rows]


def _judges(candidate: Candidate) -> bool:
    return bool(candidate.provenance.parameters.get(PICKED) == HELD_OUT)


def _marked(candidate: Candidate, reason: str) -> Candidate:
    """The candidate with why it was picked: only random picks tell how well the rest of the pool is described."""
    parameters = {**candidate.provenance.parameters, PICKED: reason}
    return replace(candidate, provenance=replace(candidate.provenance, parameters=parameters))
