"""``harvest``: from frames on which MD extrapolated to the few small cells that are worth a DFT
calculation.

Every frame is judged again by the potential in force now: what an older potential did not know may
be known since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.campaign.payloads import HarvestPayload
from mlip_autopipec.campaign.results import HarvestResult, SkippedFrame
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines.potential_folder import calculator_of
from mlip_autopipec.science import contacts
from mlip_autopipec.science.embedding import Cutout, Skipped, cut, find_crystal
from mlip_autopipec.science.embedding.core import evaluate
from mlip_autopipec.science.generation.context import in_a_box
from mlip_autopipec.science.selection import farthest_points
from mlip_autopipec.science.whole_molecule import put_together

__all__ = ["run"]

ALREADY_KNOWN = "already known"


@dataclass(frozen=True, slots=True)
class _Context:
    plan: Plan
    calculator: Calculator
    references: list[Atoms]
    potential: str
    seed: int


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Cut, check and thin the frames that :class:`HarvestPayload` names to at most ``count``
    candidates; answered by a :class:`HarvestResult`.

    Failure ``no_extrapolation_grade``: the potential gives no gamma per atom, so nothing can be
    judged.
    """
    root, asked = Path(spec.root), HarvestPayload.from_json(spec.payload)
    context = _Context(
        plan,
        calculator_of(root / asked.potential),
        _references(spec),
        Path(asked.potential).name,
        asked.seed,
    )
    found: list[tuple[Candidate, Cutout]] = []
    skipped: list[SkippedFrame] = []
    for file in asked.files:
        frame = _as_labelled(Candidate.from_json(read_json(root / file)), plan)
        if frame is None:
            skipped.append(SkippedFrame("the molecule fell apart", file))
            continue
        gamma = evaluate(frame.atoms, context.calculator).gamma
        if gamma is None:
            return Outcome(
                None,
                Failure("no_extrapolation_grade", f"{context.potential} gives no gamma per atom"),
            )
        reason = _refusal(frame.atoms, gamma, plan)
        if reason:
            skipped.append(SkippedFrame(reason, file))
            continue
        answers = _embed(frame.atoms, gamma, context)
        skipped += [
            SkippedFrame(answer.reason, file) for answer in answers if isinstance(answer, Skipped)
        ]
        for answer in answers:
            if isinstance(answer, Skipped):
                continue
            reason = contacts.refusal(answer.atoms, plan.surrogate.min_distance_factor)
            if reason:
                skipped.append(SkippedFrame(reason, file))
            else:
                found.append((_candidate(answer, frame, file, context), answer))
    kept = _thin(found, asked.count, plan.material.elements)
    skipped += [
        SkippedFrame("like others, or beyond the count", candidate.provenance.parent)
        for i, (candidate, _) in enumerate(found)
        if i not in kept
    ]
    chosen = [found[i] for i in kept]
    result = HarvestResult(
        tuple(candidate.to_json() for candidate, _ in chosen),
        cutouts=sum(cutout.kind != "whole" for _, cutout in chosen),
        whole=sum(cutout.kind == "whole" for _, cutout in chosen),
        skipped=tuple(skipped),
    )
    return Outcome(result.to_json())


def _as_labelled(frame: Candidate, plan: Plan) -> Candidate | None:
    """The frame itself; of a molecule the molecule alone in a box like that of all its labels, None
    when in pieces.
    """
    if plan.material.kind != "molecule":
        return frame
    whole = put_together(frame.atoms)
    return None if whole is None else replace(frame, atoms=in_a_box(whole))


def _refusal(atoms: Atoms, gamma: np.ndarray[Any, Any], plan: Plan) -> str | None:
    if not np.isfinite(gamma).all():
        return "the extrapolation grade is not finite"
    if gamma.max() <= plan.exploration.gamma_select:
        return ALREADY_KNOWN
    return contacts.refusal(atoms, plan.surrogate.min_distance_factor)


def _embed(atoms: Atoms, gamma: np.ndarray[Any, Any], context: _Context) -> list[Cutout | Skipped]:
    settings = context.plan.embedding
    reference = (
        _reference_of(atoms, context.references) if len(atoms) > settings.largest_atoms else None
    )
    return cut(
        atoms,
        gamma,
        gamma_select=context.plan.exploration.gamma_select,
        max_atoms=settings.largest_atoms,
        min_atoms=settings.min_cutout_atoms,
        core_radius_a=settings.core_radius_a,
        buffer_a=settings.buffer_a,
        environment_a=settings.environment_a,
        seam_force_ev_per_a=settings.seam_force_ev_per_a,
        calculator=context.calculator,
        primitive=reference,
    )


def _reference_of(atoms: Atoms, references: Sequence[Atoms]) -> Atoms | None:
    """The first start crystal (lowest energy first) whose lattice the frame has; None for a liquid
    or glass.
    """
    return next(
        (reference for reference in references if find_crystal(atoms, reference) is not None), None
    )


def _references(spec: TaskSpec) -> list[Atoms]:
    """Relaxed start crystals (``start.json``) of the generate tasks: the needed ones, else any of
    the run folder.
    """
    files = [spec.input_folder(task) / "start.json" for task in spec.inputs]
    files = [file for file in files if file.is_file()]
    if not files:
        files = sorted((Path(spec.root) / "tasks").glob("generate-*/attempt-*/start.json"))
    cells: list[Atoms] = []
    for file in files:
        for data in read_json(file):
            atoms = Candidate.from_json(data).atoms
            if bool(np.all(atoms.pbc)) and not any(_same(atoms, other) for other in cells):
                cells.append(atoms)
    return cells


def _same(a: Atoms, b: Atoms) -> bool:
    return (
        len(a) == len(b)
        and np.array_equal(a.numbers, b.numbers)
        and np.allclose(a.cell.array, b.cell.array, atol=1e-3)
        and np.allclose(a.positions, b.positions, atol=1e-3)
    )


def _candidate(cutout: Cutout, frame: Candidate, file: str, context: _Context) -> Candidate:
    whole = cutout.kind == "whole"
    provenance = Provenance(
        strategy="md_frame" if whole else "cutout",
        group=frame.provenance.group,
        parameters={
            "gamma": cutout.gamma,
            "centre": cutout.parent_indices[cutout.centre],
            "kind": cutout.kind,
            "checks": cutout.checks,
            "core": list(cutout.core),
            "frame": frame.provenance.parameters,
        },
        parent=file,
        seed=context.seed,
        potential=context.potential,
    )
    return Candidate(cutout.atoms, provenance, core=cutout.learned, gamma_max=cutout.gamma)


def _thin(found: list[tuple[Candidate, Cutout]], count: int, elements: Sequence[str]) -> list[int]:
    """At most ``count`` of them: the largest grade first, then those whose cores are least
    alike.
    """
    order = sorted(range(len(found)), key=lambda i: (-found[i][1].gamma, i))
    if len(order) <= 1 or count < 1:
        return order[: max(count, 0)]
    from mlip_autopipec.science.fingerprints import atomic_fingerprints, distinct

    vectors = atomic_fingerprints([found[i][1].atoms for i in order], elements)
    prints = np.array(
        [rows[list(found[i][1].core)].mean(axis=0) for rows, i in zip(vectors, order, strict=True)]
    )
    unlike = distinct(prints)
    order, prints = [order[i] for i in unlike], prints[unlike]
    return [order[0], *(order[i] for i in farthest_points(prints, count - 1, taken=[0]))]
