"""What is known of the errors of a potential on structures that it had not learned.

The task of a fit stores them with the metrics of the potential
(:mod:`mlip_autopipec.tasks.train`).
"""

from __future__ import annotations

from mlip_autopipec.base.labels import PotentialRef
from mlip_autopipec.science.judgement import JudgedErrors
from mlip_autopipec.science.stopping import Limits

__all__ = ["CONDITIONS", "KINDS", "conditions_of", "errors_at", "kinds_of", "within"]

#: Key of the metrics: errors at conditions, on structures drawn there by chance.
CONDITIONS = "conditions"
#: Key of the metrics: errors by kind of structure.
KINDS = "kinds"


def conditions_of(potential: PotentialRef | None) -> tuple[JudgedErrors, ...]:
    """Errors of a potential at each condition that something was drawn from."""
    return _stored(potential, CONDITIONS)


def kinds_of(potential: PotentialRef | None) -> tuple[JudgedErrors, ...]:
    """Errors of a potential on each kind of structure."""
    return _stored(potential, KINDS)


def _stored(potential: PotentialRef | None, key: str) -> tuple[JudgedErrors, ...]:
    rows = potential.metrics.get(key, ()) if potential else ()
    return tuple(JudgedErrors.from_json(row) for row in rows)


def errors_at(potential: PotentialRef | None, condition: str) -> JudgedErrors | None:
    """Errors of a potential at a condition; None where nothing was drawn there."""
    return next((row for row in conditions_of(potential) if row.name == condition), None)


def within(errors: JudgedErrors | None, limits: Limits) -> bool:
    """Whether enough is known of them, and their whole interval is within the targets."""
    if errors is None or errors.n < limits.on_policy_labels:
        return False
    force, energy = errors.force_rmse_mev_per_a_high, errors.energy_rmse_mev_per_atom_high
    if force is None or energy is None:
        return False
    return force <= limits.force_rmse_mev_per_a and energy <= limits.energy_rmse_mev_per_atom
