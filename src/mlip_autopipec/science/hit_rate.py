"""How far the surrogate is from DFT, and what its screen let through and threw away.

Pure functions of labels, surrogate predictions and verdicts. Energies of two methods differ by a
constant for each element; the offsets are fitted by least squares and taken out before energies are
compared. Where surrogate and DFT forces are correlated by less than 0.7 the surrogate does not rank
this material, and the screen falls back to geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from numpy.typing import NDArray

from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.science.screening import Limits, composition

__all__ = [
    "LEAST_CORRELATION",
    "HitRate",
    "Judged",
    "Prediction",
    "element_offsets",
    "hit_rate",
    "predict",
]

FloatArray = NDArray[np.float64]
# Of surrogate and DFT forces: below, the surrogate does not rank this material, and the summary
# says so.
LEAST_CORRELATION = 0.7
# Forces of symmetric cells vanish on both sides; a correlation over a few numbers, or over noise,
# says nothing.
FEWEST_COMPONENTS, LEAST_SPREAD_EV_PER_A = 30, 0.02


@dataclass(frozen=True, slots=True)
class Prediction:
    """The surrogate's energy (eV) and forces (n, 3) eV/Å of one structure."""

    energy_ev: float
    forces: FloatArray


@dataclass(frozen=True, slots=True)
class Judged:
    """A structure that DFT was asked about.

    ``prediction`` is None where the surrogate failed or was not asked.
    """

    atoms: Atoms
    label: Label | Failure
    prediction: Prediction | None
    rejected: bool = False


@dataclass(frozen=True, slots=True)
class HitRate:
    """The surrogate's screen beside DFT: what it promised of the first labels, and what came.

    A hit is what the screen promised: DFT converged, with energy and forces within its limits.
    Errors are over accepted structures.
    """

    n_accepted: int
    """Labelled structures that had passed the screen."""
    n_hits: int
    """Of these: hits."""
    n_audited: int
    """Rejected structures, labelled on purpose."""
    n_false_rejections: int
    """Of these: what would have been hits."""
    energy_rmse_mev_per_atom: float | None
    """Of energies after the element offsets; None: there are no more labels than offsets."""
    force_rmse_mev_per_a: float | None
    """Of force components."""
    force_correlation: float | None
    """Of force components (Pearson); None: there are too few of them."""
    geometry_only: bool
    """From here on the surrogate should not judge."""
    reason: str
    """Which correlation decided."""

    def to_json(self) -> Json:
        return asdict(self)


def predict(structures: Sequence[Atoms], calculator: Calculator) -> list[Prediction | None]:
    """The surrogate's view of structures that were labelled; None where it fails."""
    found: list[Prediction | None] = []
    for structure in structures:
        atoms = structure.copy()
        atoms.calc = calculator
        try:
            forces = np.asarray(atoms.get_forces(apply_constraint=False), dtype=float)
            found.append(Prediction(float(atoms.get_potential_energy()), forces))
        except CalculationFailed:
            found.append(None)
    return found


def element_offsets(
    structures: Sequence[Atoms], differences_ev: Sequence[float]
) -> tuple[dict[str, float], int]:
    """Energy per atom of each element (eV) that best explains ``differences_ev``, and how many of
    them are independent.

    Least squares on energies per atom, the shortest solution where compositions do not tell
    elements apart.
    """
    elements = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    fractions = np.array(
        [[atoms.symbols.count(e) / len(atoms) for e in elements] for atoms in structures]
    )
    per_atom = np.array(
        [d / len(atoms) for d, atoms in zip(differences_ev, structures, strict=True)]
    )
    offsets, _, rank, _ = np.linalg.lstsq(fractions, per_atom, rcond=1e-8)
    return dict(zip(elements, map(float, offsets), strict=True)), int(rank)


def hit_rate(
    judged: Sequence[Judged], limits: Limits, *, least_correlation: float = LEAST_CORRELATION
) -> HitRate:
    """The report on the screen.

    Structures of any composition, one DFT method, ``limits`` those of the screen.
    """
    lowest = _lowest_dft(judged)
    accepted = [item for item in judged if not item.rejected]
    audited = [item for item in judged if item.rejected]
    energy_rmse = _energy_rmse(accepted)
    force_rmse, correlation = _forces(accepted)
    geometry_only = correlation is not None and correlation < least_correlation
    return HitRate(
        n_accepted=len(accepted),
        n_hits=sum(_is_good(item, lowest, limits) for item in accepted),
        n_audited=len(audited),
        n_false_rejections=sum(_is_good(item, lowest, limits) for item in audited),
        energy_rmse_mev_per_atom=None if energy_rmse is None else 1e3 * energy_rmse,
        force_rmse_mev_per_a=None if force_rmse is None else 1e3 * force_rmse,
        force_correlation=correlation,
        geometry_only=geometry_only,
        reason=_reason(correlation, geometry_only, least_correlation),
    )


def _reason(correlation: float | None, geometry_only: bool, least: float) -> str:
    if correlation is None:
        return "too few forces to compare surrogate and DFT: the surrogate goes on judging"
    if geometry_only:
        return (
            f"surrogate and DFT forces are correlated by {correlation:.2f} < {least:g}: geometry"
            " alone judges"
        )
    return (
        f"surrogate and DFT forces are correlated by {correlation:.2f}, at least {least:g}: the"
        " surrogate judges"
    )


def _lowest_dft(judged: Sequence[Judged]) -> dict[str, float]:
    lowest: dict[str, float] = {}
    for item in judged:
        if isinstance(item.label, Label):
            key = composition(item.atoms)
            lowest[key] = min(lowest.get(key, np.inf), item.label.energy_ev / len(item.atoms))
    return lowest


def _is_good(item: Judged, lowest: dict[str, float], limits: Limits) -> bool:
    """Would the screen have let it pass, had it known DFT's numbers?"""
    if not isinstance(item.label, Label):
        return False
    largest = float(np.linalg.norm(item.label.forces, axis=1).max())
    above = item.label.energy_ev / len(item.atoms) - lowest[composition(item.atoms)]
    return (
        largest <= limits.max_force_ev_per_a and above <= limits.max_energy_above_lowest_ev_per_atom
    )


def _both(judged: Sequence[Judged]) -> list[tuple[Atoms, Label, Prediction]]:
    return [
        (item.atoms, item.label, item.prediction)
        for item in judged
        if isinstance(item.label, Label) and item.prediction is not None
    ]


def _energy_rmse(judged: Sequence[Judged]) -> float | None:
    rows = _both(judged)
    if not rows:
        return None
    structures = [atoms for atoms, _, _ in rows]
    differences = [label.energy_ev - prediction.energy_ev for _, label, prediction in rows]
    offsets, rank = element_offsets(structures, differences)
    if len(rows) <= rank:
        return None
    left = [
        (difference - sum(offsets[symbol] for symbol in atoms.symbols)) / len(atoms)
        for atoms, difference in zip(structures, differences, strict=True)
    ]
    return float(np.sqrt(np.mean(np.square(left))))


def _forces(judged: Sequence[Judged]) -> tuple[float | None, float | None]:
    """RMSE (eV/Å) and Pearson correlation over all components."""
    rows = _both(judged)
    if not rows:
        return None, None
    dft = np.concatenate([np.ravel(label.forces) for _, label, _ in rows])
    surrogate = np.concatenate([np.ravel(prediction.forces) for _, _, prediction in rows])
    rmse = float(np.sqrt(np.mean((dft - surrogate) ** 2)))
    if len(dft) < FEWEST_COMPONENTS or dft.std() < LEAST_SPREAD_EV_PER_A:
        return rmse, None
    if surrogate.std() == 0:
        return rmse, 0.0
    return rmse, float(np.corrcoef(dft, surrogate)[0, 1])
