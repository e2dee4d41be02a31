"""``harvest``: from what MD met to the few cells that are worth a DFT calculation.

Frames of ended visits are judged by the potential in force: those with an atom whose predicted
force error is above the limit are unknown, and a diverse few of them are labelled; others are
drawn by chance, to learn how wrong the potential is where it is used. Frames on which MD broke come
first. Where a potential predicts no errors, the extrapolation grade judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.base.values import FloatArray
from mlip_autopipec.campaign.payloads import HarvestPayload
from mlip_autopipec.campaign.results import HarvestResult, SkippedFrame
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import PredictsErrors
from mlip_autopipec.engines.potential_folder import calculator_of, maker_of
from mlip_autopipec.science import contacts
from mlip_autopipec.science.embedding import Cutout, Skipped, cut, find_crystal
from mlip_autopipec.science.embedding.core import evaluate
from mlip_autopipec.science.generation.context import in_a_box
from mlip_autopipec.science.selection import farthest_points
from mlip_autopipec.science.whole_molecule import put_together
from mlip_autopipec.tasks.visits import UNKNOWN, Judge, drawn, judged, read_visit

__all__ = ["run"]

BROKE = "broke"
ALREADY_KNOWN = "already known"
# Unknown frames of one visit that are compared with others: the worst of them.
MOST_OF_A_VISIT = 6


@dataclass(frozen=True, slots=True)
class _Context:
    plan: Plan
    calculator: Calculator
    references: list[Atoms]
    potential: str
    seed: int
    judge: Judge
    predicts_errors: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """A cell for DFT; ``worst``: its largest error in units of the limit."""

    candidate: Candidate
    cutout: Cutout
    worst: float
    broke: bool


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """What :class:`HarvestPayload` asks, answered by a :class:`HarvestResult`.

    Failure ``no_extrapolation_grade``: the potential neither predicts its errors nor grades its
    extrapolation, so nothing can be judged.
    """
    try:
        return Outcome(_harvested(spec, plan).to_json())
    except _UnjudgeableError:
        message = f"{Path(spec.payload['potential']).name} gives no gamma per atom"
        return Outcome(None, Failure("no_extrapolation_grade", message))


def _harvested(spec: TaskSpec, plan: Plan) -> HarvestResult:
    root, asked = Path(spec.root), HarvestPayload.from_json(spec.payload)
    potential = root / asked.potential
    calculator = calculator_of(potential)
    context = _Context(
        plan,
        calculator,
        _references(spec),
        Path(asked.potential).name,
        asked.seed,
        _judge(plan, potential, calculator),
        _predicting(plan, potential) is not None,
    )
    skipped: list[SkippedFrame] = []
    found: list[_Found] = []
    for file in asked.files:
        frame = Candidate.from_json(read_json(root / file))
        found += _cells(_broken(frame, file), None, file, context, skipped)
    visits = [read_visit(spec, name) for name in asked.visits]
    explored = []
    limit = _limit_ev_per_a(plan)
    for visit in visits:
        allowed = plan.convergence.margin_factor if visit.condition.role == "margin" else 1.0
        told, unknown = judged(visit, context.judge, limit, context.potential, allowed)
        explored.append(told)
        unknown.sort(key=lambda pair: -float(pair[1].max()))
        for item, errors in unknown[:MOST_OF_A_VISIT]:
            frame = item.candidate(UNKNOWN, float(errors.max()))
            found += _cells(frame, errors, item.file, context, skipped)
    by_chance = [
        candidate
        for number, name in enumerate(sorted(asked.on_policy))
        for candidate in drawn(
            [visit for visit in visits if visit.condition.name == name],
            asked.on_policy[name],
            np.random.default_rng([asked.seed, number]),
        )
    ]
    chance = [_whole_one(candidate, plan, skipped) for candidate in by_chance]
    kept = _thin(found, asked.count, plan.material.elements)
    skipped += [
        SkippedFrame("like others, or beyond the count", item.candidate.provenance.parent)
        for i, item in enumerate(found)
        if i not in kept
    ]
    chosen = [found[i] for i in kept]
    return HarvestResult(
        tuple(item.to_json() for item in _distinct([*chance, *(c.candidate for c in chosen)])),
        cutouts=sum(item.cutout.kind != "whole" for item in chosen),
        whole=sum(item.cutout.kind == "whole" for item in chosen),
        skipped=tuple(skipped),
        explored=tuple(explored),
    )


def _limit_ev_per_a(plan: Plan) -> float:
    """From this predicted error on an atom is unknown."""
    limits = plan.convergence
    return limits.unknown_factor * limits.force_rmse_mev_per_a / 1000.0


class _UnjudgeableError(Exception):
    """The potential neither predicts its errors nor grades its extrapolation."""


def _predicting(plan: Plan, potential: Path) -> PredictsErrors | None:
    """The potential's trainer, where it predicts errors."""
    trainer = registry.trainer(maker_of(potential, plan.training.trainer))
    return trainer if isinstance(trainer, PredictsErrors) else None


def _judge(plan: Plan, potential: Path, calculator: Calculator) -> Judge:
    """By predicted errors where the potential's trainer has them, else by the extrapolation
    grade.
    """
    limit = _limit_ev_per_a(plan)
    if (predicting := _predicting(plan, potential)) is not None:
        known = predicting

        def predicted(structures: Sequence[Atoms]) -> list[FloatArray]:
            if not structures:
                return []
            return [
                np.nan_to_num(values / limit, nan=np.inf)
                for values in known.force_errors(potential, structures)
            ]

        return predicted

    def graded(structures: Sequence[Atoms]) -> list[FloatArray]:
        return [_grade(atoms, calculator) / plan.exploration.gamma_select for atoms in structures]

    return graded


def _grade(atoms: Atoms, calculator: Calculator) -> FloatArray:
    gamma = evaluate(atoms, calculator).gamma
    if gamma is None:
        raise _UnjudgeableError
    grades: FloatArray = np.nan_to_num(np.asarray(gamma, dtype=float), nan=np.inf)
    return grades


def _broken(frame: Candidate, file: str) -> Candidate:
    """A frame on which MD broke, with why it is labelled."""
    parameters = {**frame.provenance.parameters, "picked": BROKE}
    return replace(frame, provenance=replace(frame.provenance, parameters=parameters, parent=file))


def _cells(
    frame: Candidate,
    errors: FloatArray | None,
    file: str,
    context: _Context,
    skipped: list[SkippedFrame],
) -> list[_Found]:
    """The cells for DFT that a frame gives; why it gives none is added to ``skipped``.

    ``errors``: of its atoms in units of the limit, None where they are to be found.
    """
    plan, broke = context.plan, errors is None
    labelled = _accepted(frame, plan, skipped)
    if labelled is None:
        return []
    frame = labelled
    if errors is None or len(errors) != len(frame.atoms):
        errors = context.judge([frame.atoms])[0]
    if broke:
        if frame.provenance.potential != context.potential and float(errors.max()) <= 1.0:
            skipped.append(SkippedFrame(ALREADY_KNOWN, file))
            return []
        # Its own potential broke on it: labelled whatever that one predicts.
        errors = np.where(errors == errors.max(), np.maximum(errors, 1.001), errors)
    found = []
    for answer in _embed(frame.atoms, errors, context):
        if isinstance(answer, Skipped):
            skipped.append(SkippedFrame(answer.reason, file))
        elif reason := contacts.refusal(answer.atoms, plan.surrogate.min_distance_factor):
            skipped.append(SkippedFrame(reason, file))
        else:
            candidate = _candidate(answer, frame, file, context)
            found.append(_Found(candidate, answer, float(errors.max()), broke))
    return found


def _whole_one(candidate: Candidate, plan: Plan, skipped: list[SkippedFrame]) -> Candidate | None:
    """A frame drawn by chance as it is labelled, or None with the reason in ``skipped``."""
    frame = _accepted(candidate, plan, skipped)
    if frame is not None and len(frame.atoms) > plan.embedding.max_dft_atoms:
        skipped.append(SkippedFrame("the cell is too large for DFT", frame.provenance.parent))
        return None
    return frame


def _accepted(candidate: Candidate, plan: Plan, skipped: list[SkippedFrame]) -> Candidate | None:
    """A frame as it is labelled, or None with the reason in ``skipped``."""
    frame, parent = _as_labelled(candidate, plan), candidate.provenance.parent
    if frame is None:
        skipped.append(SkippedFrame("the molecule fell apart", parent))
        return None
    if reason := contacts.refusal(frame.atoms, plan.surrogate.min_distance_factor):
        skipped.append(SkippedFrame(reason, parent))
        return None
    return frame


def _distinct(candidates: Sequence[Candidate | None]) -> list[Candidate]:
    """Each frame once: one that was drawn by chance stays what it is, however unknown it was."""
    found: dict[bytes, Candidate] = {}
    for candidate in candidates:
        if candidate is not None:
            found.setdefault(candidate.atoms.positions.tobytes(), candidate)
    return list(found.values())


def _as_labelled(frame: Candidate, plan: Plan) -> Candidate | None:
    """The frame itself; of a molecule the molecule alone in a box like that of all its labels, None
    when in pieces.
    """
    if plan.material.kind != "molecule":
        return frame
    whole = put_together(frame.atoms)
    return None if whole is None else replace(frame, atoms=in_a_box(whole))


def _embed(atoms: Atoms, errors: FloatArray, context: _Context) -> list[Cutout | Skipped]:
    """The unknown atoms' cells: the frame itself where DFT can take it whole."""
    settings, limit = context.plan.embedding, _limit_ev_per_a(context.plan)

    def force_errors(cell: Atoms) -> FloatArray:
        return context.judge([cell])[0] * limit

    reference = (
        _reference_of(atoms, context.references) if len(atoms) > settings.largest_atoms else None
    )
    return cut(
        atoms,
        errors,
        gamma_select=1.0,
        max_atoms=settings.largest_atoms,
        min_atoms=settings.min_cutout_atoms,
        core_radius_a=settings.core_radius_a,
        buffer_a=settings.buffer_a,
        environment_a=settings.environment_a,
        seam_force_ev_per_a=settings.seam_force_ev_per_a,
        calculator=context.calculator,
        primitive=reference,
        force_errors=force_errors if context.predicts_errors else None,
        max_force_error_ev_per_a=limit,
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
    parameters = {
        **frame.provenance.parameters,
        "error_of_limit": round(cutout.gamma, 4),
    }
    if not whole:
        parameters |= {
            "centre": cutout.parent_indices[cutout.centre],
            "kind": cutout.kind,
            "checks": cutout.checks,
            "core": list(cutout.core),
        }
    provenance = Provenance(
        strategy="md_frame" if whole else "cutout",
        group=frame.provenance.group,
        parameters=parameters,
        parent=file,
        seed=context.seed,
        potential=context.potential,
    )
    return Candidate(
        cutout.atoms,
        provenance,
        core=cutout.learned,
        gamma_max=frame.gamma_max,
    )


def _thin(found: Sequence[_Found], count: int, elements: Sequence[str]) -> list[int]:
    """At most ``count`` of them: what broke MD and the worst first, then those whose cores are
    least alike.
    """
    order = sorted(range(len(found)), key=lambda i: (not found[i].broke, -found[i].worst, i))
    if len(order) <= 1 or count < 1:
        return order[: max(count, 0)]
    from mlip_autopipec.science.fingerprints import atomic_fingerprints, distinct

    vectors = atomic_fingerprints([found[i].cutout.atoms for i in order], elements)
    prints = np.array(
        [
            rows[list(found[i].cutout.core)].mean(axis=0)
            for rows, i in zip(vectors, order, strict=True)
        ]
    )
    unlike = distinct(prints)
    order, prints = [order[i] for i in unlike], prints[unlike]
    first = max(1, sum(found[i].broke for i in order))
    taken = list(range(min(first, count)))
    rest = farthest_points(prints, count - len(taken), taken=taken)
    return [*(order[i] for i in taken), *(order[i] for i in rest)]
