"""Convergence of DFT settings: from labels at several cutoffs and k-point spacings to the cheapest
setting that holds.

Two structures of one material are labelled at each setting: a displaced one, whose forces are
judged, and a second one of another volume. Total energies converge slowly and alike; what a
potential learns are differences, so the error of an energy is that of the difference between the
two. A setting holds when it and every tighter one are within both limits of the tightest: agreement
by chance on the way does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from ase import Atoms

from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json

__all__ = [
    "ENERGY_LIMIT_MEV_PER_ATOM",
    "FORCE_LIMIT_MEV_PER_A",
    "Point",
    "Series",
    "cutoffs_to_try_ry",
    "judge",
    "probe_pair",
    "spacings_to_try_per_a",
]

# A tenth of the force error at which a campaign may stop.
FORCE_LIMIT_MEV_PER_A = 10.0
# A fifth of the energy error at which a campaign may stop; of differences, where most of it
# cancels.
ENERGY_LIMIT_MEV_PER_ATOM = 1.0

# Thermal: forces of about 1 eV/Å, against which the limits are set.
_DISPLACEMENT_A = 0.08
_COMPRESSION = 0.97
"""Factor on the volume of the second structure: its elastic energy is well above what is asked for.
"""


@dataclass(frozen=True, slots=True)
class Point:
    """One setting: largest force error (meV/Å), error of the energy difference (meV/atom), wall
    seconds of the two.
    """

    value: float
    force_error_mev_per_a: float
    energy_error_mev_per_atom: float
    wall_s: float

    def holds(self, force_limit: float, energy_limit: float) -> bool:
        return (
            self.force_error_mev_per_a <= force_limit
            and abs(self.energy_error_mev_per_atom) <= energy_limit
        )


@dataclass(frozen=True, slots=True)
class Series:
    """Points from the cheapest to the tightest, which is the reference; ``chosen``: the cheapest
    value that holds.
    """

    setting: str
    points: tuple[Point, ...]
    chosen: float
    reason: str

    def to_json(self) -> Json:
        return {**asdict(self), "points": [asdict(point) for point in self.points]}


def probe_pair(atoms: Atoms, seed: int) -> tuple[Atoms, Atoms]:
    """A displaced copy (0.08 Å in each direction, normal) and another, displaced less and
    compressed by 3 %.
    """
    rng = np.random.default_rng(seed)
    pair = []
    for width, volume in ((_DISPLACEMENT_A, 1.0), (_DISPLACEMENT_A / 2, _COMPRESSION)):
        copy = Atoms(
            numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc
        )
        periodic = int(np.sum(atoms.pbc))
        if periodic:
            scale = np.where(atoms.pbc, volume ** (1 / periodic), 1.0)
            copy.set_cell(atoms.cell.array * scale[:, None], scale_atoms=True)
        noise = rng.normal(0.0, width, atoms.positions.shape)
        copy.positions += noise - noise.mean(axis=0)
        pair.append(copy)
    return pair[0], pair[1]


def cutoffs_to_try_ry(start_ry: float, hardest_ry: float) -> list[float]:
    """Even numbers from a little below ``start_ry`` in steps of a tenth to well above
    ``hardest_ry``, the reference.
    """
    top = 2 * round(1.25 * max(start_ry, hardest_ry) / 2)
    tried = {2.0 * round(factor * start_ry / 2) for factor in (0.8, 0.9, 1.0, 1.1, 1.25)}
    return [*sorted(value for value in tried if value < top), float(top)]


def spacings_to_try_per_a(start_per_a: float) -> list[float]:
    """Spacings (1/Å) from one and a half times the start value to half of it, the reference; coarse
    first.
    """
    return [round(factor * start_per_a, 4) for factor in (1.5, 1.25, 1.0, 0.8, 0.5)]


def judge(
    setting: str,
    values: Sequence[float],
    labels: Sequence[tuple[Label, Label]],
    *,
    force_limit: float = FORCE_LIMIT_MEV_PER_A,
    energy_limit: float = ENERGY_LIMIT_MEV_PER_ATOM,
) -> Series | Failure:
    """The series of ``setting``: ``values`` and the labels of the probe pair at each, cheapest
    first, tightest last.

    A Failure of kind ``not_converged`` when the last setting before the reference does not hold:
    the reference itself cannot be trusted then. Raises ValueError for fewer than two settings or
    lists of different lengths.
    """
    if len(values) < 2 or len(values) != len(labels):
        raise ValueError("a series has two settings or more, with the labels of each")
    points = tuple(
        _point(value, pair, labels[-1]) for value, pair in zip(values, labels, strict=True)
    )
    held = [point.holds(force_limit, energy_limit) for point in points]
    if not held[-2]:
        worst = points[-2]
        return Failure(
            "not_converged",
            f"{setting} {worst.value:g} differs from {points[-1].value:g} by"
            f" {worst.force_error_mev_per_a:.1f} meV/Å and"
            f" {abs(worst.energy_error_mev_per_atom):.2f} meV/atom: the series ends too early",
        )
    first = len(held) - 1
    while first > 0 and held[first - 1]:
        first -= 1
    best = points[first]
    reason = (
        f"cheapest within {force_limit:g} meV/Å and {energy_limit:g} meV/atom of"
        f" {points[-1].value:g}: {best.force_error_mev_per_a:.1f} meV/Å,"
        f" {abs(best.energy_error_mev_per_atom):.2f} meV/atom"
    )
    return Series(setting, points, best.value, reason)


def _point(value: float, pair: tuple[Label, Label], reference: tuple[Label, Label]) -> Point:
    atoms = len(pair[0].forces)
    errors = [
        float(np.abs(label.forces - tight.forces).max())
        for label, tight in zip(pair, reference, strict=True)
    ]
    difference = (pair[0].energy_ev - pair[1].energy_ev) - (
        reference[0].energy_ev - reference[1].energy_ev
    )
    return Point(
        value, 1000 * max(errors), 1000 * difference / atoms, sum(label.wall_s for label in pair)
    )
