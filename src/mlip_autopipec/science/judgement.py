"""How wrong a potential is on what it had not learned: root mean square errors with intervals.

Two sources of such predictions count alike. A label that MD asked for is predicted by the potential
that asked, before it is learned; and a trainer that cross-validates predicts every label by a fit
that left its group out. Structures drawn at random from the potential's own MD at a condition make
the error that a user will meet there (on-policy); all others tell of kinds of structures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.predictions import Predicted

__all__ = [
    "GAMMA_SELECT",
    "ON_POLICY",
    "JudgedErrors",
    "Unseen",
    "by_condition",
    "by_kind",
    "judged",
    "rms_interval",
    "unseen",
]

#: Why a structure was picked (``provenance.parameters["picked"]``): by chance out of MD.
ON_POLICY = "on_policy"
#: Extrapolation grade above which an atom is unknown, where nothing predicts its error: held-out
#: structures reach 2.8, a surface 8, a phase that was not taught 32 and more (silicon).
GAMMA_SELECT = 4.0
#: Of the intervals: 5 to 95 %.
COVERED = 0.90


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """The errors of one structure by a potential that had not learned it.

    ``condition``: where MD drew it by chance, else None. ``energy_error_ev_per_atom``: None for a
    masked cell. ``force_ms_ev2_per_a2``: mean square over ``components`` components on unmasked
    atoms.
    """

    name: str
    kind: str
    condition: str | None
    energy_error_ev_per_atom: float | None
    force_ms_ev2_per_a2: float
    components: int

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedErrors:
    """Errors on one kind of structure or at one condition, each with the ends of its 90 %
    interval.
    """

    name: str
    """The condition, or the kind of structure."""
    n: int
    """Structures that were compared."""
    energy_rmse_mev_per_atom: float | None = None
    """Of energies of whole cells; null without any."""
    energy_rmse_mev_per_atom_low: float | None = None
    """Lower end of the interval."""
    energy_rmse_mev_per_atom_high: float | None = None
    """Upper end of the interval."""
    force_rmse_mev_per_a: float | None = None
    """Of force components on unmasked atoms; null without any."""
    force_rmse_mev_per_a_low: float | None = None
    """Lower end of the interval."""
    force_rmse_mev_per_a_high: float | None = None
    """Upper end of the interval."""

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


def unseen(item: LabelledStructure, row: Predicted) -> Unseen:
    """The errors of a labelled structure by its predicted ``row``."""
    parameters = item.provenance.parameters
    drawn = parameters.get("picked") == ON_POLICY
    differences = np.subtract(row.forces_potential_ev_per_a, row.forces_dft_ev_per_a)
    return Unseen(
        name=item.name,
        kind=item.provenance.strategy,
        condition=str(parameters["condition"]) if drawn else None,
        energy_error_ev_per_atom=(
            None
            if row.masked
            else float(row.energy_potential_ev_per_atom - row.energy_dft_ev_per_atom)
        ),
        force_ms_ev2_per_a2=float(np.mean(differences**2)) if differences.size else 0.0,
        components=int(differences.size),
    )


def by_condition(rows: Iterable[Unseen]) -> tuple[JudgedErrors, ...]:
    """On-policy errors, one for each condition that something was drawn from, sorted."""
    return _grouped((row.condition, row) for row in rows if row.condition is not None)


def by_kind(rows: Iterable[Unseen]) -> tuple[JudgedErrors, ...]:
    """Errors of each kind of structure, sorted."""
    return _grouped((row.kind, row) for row in rows)


def _grouped(rows: Iterable[tuple[str, Unseen]]) -> tuple[JudgedErrors, ...]:
    found: dict[str, list[Unseen]] = {}
    for name, row in rows:
        found.setdefault(name, []).append(row)
    return tuple(judged(name, found[name]) for name in sorted(found))


def judged(name: str, rows: Sequence[Unseen]) -> JudgedErrors:
    """The errors of these structures together."""
    energies = [
        row.energy_error_ev_per_atom for row in rows if row.energy_error_ev_per_atom is not None
    ]
    forces = [row for row in rows if row.components]
    values: dict[str, float] = {}
    if energies:
        squares = np.square(energies)
        values |= _in_milli(
            "energy_rmse_mev_per_atom", rms_interval(squares, np.ones(len(energies)))
        )
    if forces:
        squares = np.array([row.force_ms_ev2_per_a2 for row in forces])
        components = np.array([row.components for row in forces], dtype=float)
        values |= _in_milli("force_rmse_mev_per_a", rms_interval(squares, components))
    return JudgedErrors(name=name, n=len(rows), **values)


def _in_milli(key: str, found: tuple[float, float, float]) -> dict[str, float]:
    names = (key, f"{key}_low", f"{key}_high")
    return {name: 1000.0 * value for name, value in zip(names, found, strict=True)}


def rms_interval(mean_squares: Any, components: Any) -> tuple[float, float, float]:
    """RMS over structures, and the ends of its 90 % interval.

    mean_squares (n,): mean square error of each structure over its ``components`` (n,) numbers. The
    sum of squares is taken as chi-squared with as many degrees of freedom as its scatter between
    structures says (Satterthwaite, Biometrics Bulletin 2, 110 (1946)): at least one for each
    structure, at most one for each number.
    """
    from scipy.stats import chi2

    squares, weights = np.asarray(mean_squares, float), np.asarray(components, float)
    share = weights / weights.sum()
    mean = float(share @ squares)
    n = len(squares)
    freedom = float(n)
    if n > 1 and mean > 0:
        scatter = float(share @ (squares - mean) ** 2) * n / (n - 1) * float(share @ share)
        by_scatter = 2 * mean**2 / scatter if scatter > 0 else np.inf
        freedom = float(np.clip(by_scatter, n, weights.sum()))
    tail = (1 - COVERED) / 2
    low, high = (mean * freedom / chi2.ppf(level, freedom) for level in (1 - tail, tail))
    return float(np.sqrt(mean)), float(np.sqrt(low)), float(np.sqrt(high))
