"""Task ``select``: the candidates that DFT labels first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mlip_autopipec.config.plan import Plan
from mlip_autopipec.files import read_json
from mlip_autopipec.runtime.layout import SPEC
from mlip_autopipec.science.fingerprints import distinct, structure_fingerprints
from mlip_autopipec.science.selection import select
from mlip_autopipec.types import Candidate, Failure, Outcome, TaskSpec

__all__ = ["run"]


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Payload {"count", "method", "random_fraction", "seed"[, "existing"]}; reads candidates.json of every needed task.

    ``existing``: ids of labelled structures (among ``needs``) from which the new ones are to lie far; nothing that is
    labelled already is picked again, and forced candidates are forced no more.
    Result {"candidates": [Candidate JSON: forced, farthest points, random ones], "of": N, "picked": {reason: n}}.
    Candidates that two batches proposed alike count once. Nothing is written into ``folder``.
    """
    labelled = list(spec.payload.get("existing", []))
    existing = [
        Candidate.from_json(read_json(spec.input_folder(task) / SPEC)["payload"]["candidate"]) for task in labelled
    ]
    candidates = [
        Candidate.from_json(item)
        for task in spec.task.needs
        if task not in labelled
        for item in read_json(spec.input_folder(task) / "candidates.json")
    ]
    if not candidates:
        return Outcome(None, Failure("no_candidates", "the generating tasks left no candidates"))
    every = structure_fingerprints([item.atoms for item in (*existing, *candidates)], plan.material.elements)
    known = len(existing)
    kept = [index - known for index in distinct(every) if index >= known]
    candidates, fingerprints = [candidates[index] for index in kept], every[known:][kept]
    picked = select(
        fingerprints,
        int(spec.payload["count"]),
        np.random.default_rng(int(spec.payload["seed"])),
        forced=[] if existing else [index for index, item in enumerate(candidates) if item.forced],
        method=spec.payload["method"],
        random_fraction=float(spec.payload["random_fraction"]),
        existing=every[:known] if existing else None,
        families=[item.provenance.strategy for item in candidates],
    )
    picks = (("forced", picked.forced), ("farthest", picked.farthest), ("random", picked.random))
    return Outcome(
        {
            "candidates": [_marked(candidates[index], how).to_json() for how, rows in picks for index in rows],
            "of": len(candidates),
            "picked": {
                "forced": len(picked.forced),
                "farthest": len(picked.farthest),
                "random": len(picked.random),
            },
        }
    )


def _marked(candidate: Candidate, how: str) -> Candidate:
    """The candidate with how it was picked: only random picks tell how well the rest of the pool is described."""
    parameters = {**candidate.provenance.parameters, "picked": how}
    return replace(candidate, provenance=replace(candidate.provenance, parameters=parameters))
