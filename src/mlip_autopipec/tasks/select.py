"""Task ``select``: the candidates that DFT labels, the first set and each later batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.base.values import FloatArray, content_hash
from mlip_autopipec.campaign.payloads import SelectPayload
from mlip_autopipec.campaign.results import SelectResult
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import CellSize
from mlip_autopipec.science.fingerprints import distinct, structure_fingerprints
from mlip_autopipec.science.selection import numbers_per_second, select
from mlip_autopipec.selecting.rows import structure_rows
from mlip_autopipec.tasks.finished import candidate_of

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """What :class:`SelectPayload` asks, answered by a :class:`SelectResult`: forced candidates,
    those of the method, random ones.

    Reads candidates.json of every needed task that is not in ``existing``. Nothing that is labelled
    already is picked again, and where something is, forced candidates are forced no more.
    Candidates that two batches proposed alike count once. Nothing is written into ``folder``.
    """
    asked = SelectPayload.from_json(spec.payload)
    labelled, refused = asked.existing or (), set(asked.refused)
    existing = [candidate_of(spec.input_folder(task)) for task in labelled]
    offered = [
        item
        for task in spec.task.needs
        if task not in labelled
        for item in read_json(spec.input_folder(task) / "candidates.json")
    ]
    if not offered:
        return Outcome(None, Failure("no_candidates", "the generating tasks left no candidates"))
    candidates = [
        Candidate.from_json(item) for item in offered if content_hash(item["atoms"]) not in refused
    ]
    structures = [item.atoms for item in (*existing, *candidates)]
    method, known = asked.method, len(existing)
    fingerprints = structure_fingerprints(structures, plan.material.elements)
    kept = [index - known for index in distinct(fingerprints) if index >= known]
    rows = (
        structure_rows(method, structures, plan.material.elements)
        if method == "d_optimal"
        else fingerprints
    )
    candidates = [candidates[index] for index in kept]
    picked = select(
        rows[known:][kept],
        asked.count,
        np.random.default_rng(asked.seed),
        forced=[] if existing else [index for index, item in enumerate(candidates) if item.forced],
        method=method,
        random_fraction=asked.random_fraction,
        existing=rows[:known] if existing else None,
        families=[item.provenance.strategy for item in candidates],
        worth=_worth(plan, candidates),
    )
    marked = [
        _marked(candidates[index], reason).to_json()
        for index, reason in zip(picked.all, picked.reasons, strict=True)
    ]
    answer = SelectResult(tuple(marked), len(candidates), Counter(picked.reasons))
    return Outcome(answer.to_json())


def _worth(plan: Plan, candidates: list[Candidate]) -> FloatArray:
    """(N,) numbers for a second of the DFT code."""
    engine = registry.dft_engine(plan.dft.engine)
    cpu_s = [engine.cpu_s(plan.dft.method, CellSize.of(item.atoms)) for item in candidates]
    return numbers_per_second([len(item.atoms) for item in candidates], cpu_s)


def _marked(candidate: Candidate, reason: str) -> Candidate:
    """The candidate with why it was picked: only random picks tell how well the rest of the pool is
    described.
    """
    parameters = {**candidate.provenance.parameters, "picked": reason}
    return replace(candidate, provenance=replace(candidate.provenance, parameters=parameters))
