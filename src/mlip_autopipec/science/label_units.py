"""Whether energies, forces and stresses of a set are of one kind: the work between neighbours.

Between two structures that are near each other E_b - E_a = -(F_a + F_b)/2 · dx + V sigma : strain.
The factors that make both sides equal are 1; another unit or sign shows as another number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import FloatArray

__all__ = ["Relation", "of_stress", "per_atom", "relation"]

# Neighbours (root mean square, Å) between which the work is that of the mean force; and a change of
# volume between which that is true without a stress.
NEAR_A, SAME_VOLUME = 0.4, 1e-3
# With fewer pairs, or an explained share below, nothing is said.
ENOUGH_PAIRS, EXPLAINED = 5, 0.9
# No more structures are compared with each other: it takes their square.
MOST = 150
# A factor within this of a known one is that one; 1 is wide, since trapezoids are coarse.
LIKE, FINE = 0.1, (0.7, 1.4)
# Work of strain below this share of all says nothing of stress.
STRAIN_SHARE = 0.05
#: (energy unit / force unit x Å) -> what is wrong.
FACTORS = {
    -1.0: "forces have the opposite sign (gradients)",
    1 / 13.6057: "energies seem to be in Ry",
    1 / 27.2114: "energies seem to be in hartree",
    13.6057: "forces seem to be in Ry/Å",
    27.2114: "forces seem to be in hartree/Å",
    25.7110: "forces seem to be in Ry/bohr",
    51.4221: "forces seem to be in hartree/bohr",
    23.0605: "energies seem to be in kcal/mol",
    96.4853: "energies seem to be in kJ/mol",
    0.529177: "forces seem to be in eV/bohr, or lengths in bohr",
    1.889726: "lengths seem to be in bohr",
}
STRESSES = {
    -1.0: "the stress has the opposite sign",
    1 / 160.2177: "the stress seems to be in GPa",
    -1 / 160.2177: "the stress seems to be in GPa with the opposite sign",
    1 / 1602.177: "the stress seems to be in kbar",
    -1 / 1602.177: "the stress seems to be in kbar with the opposite sign",
}


@dataclass(frozen=True, slots=True)
class Relation:
    """Factors of the work of forces and of strain (None: not told) over ``pairs`` neighbours."""

    force: float
    strain: float | None
    explained: float
    pairs: int
    atoms: float

    @property
    def complaint(self) -> str | None:
        """What is wrong with energies or forces, None for nothing."""
        if self.explained < EXPLAINED or FINE[0] < self.force < FINE[1]:
            return None
        known = {**FACTORS, 1 / self.atoms: "energies seem to be of an atom, not of the structure"}
        name = _nearest(self.force, known)
        what = name or "their units do not fit each other"
        return (
            f"energies and forces contradict each other: {what} (between {self.pairs} pairs of near"
            f" structures energies change by {self.force:.3g} of the work of the forces)"
        )


def _nearest(factor: float, known: dict[float, str]) -> str | None:
    return " or ".join(w for value, w in known.items() if abs(factor / value - 1) < LIKE) or None


def of_stress(found: Relation) -> str | None:
    """What is wrong with the stress, None for nothing or where the pairs do not tell."""
    if found.strain is None or found.explained < EXPLAINED:
        return None
    return _nearest(found.strain, STRESSES)


def relation(items: Sequence[LabelledStructure]) -> Relation | None:
    """Of structures with equal atoms in equal order; None where too few are near each other."""
    groups: dict[bytes, list[LabelledStructure]] = {}
    for item in items:
        key = item.atoms.numbers.tobytes() + bytes(item.atoms.pbc)
        groups.setdefault(key, []).append(item)
    rows: list[tuple[float, float, float, float, int]] = []
    for group in groups.values():
        rows += _works(group[:MOST])
    stressed = [row for row in rows if not np.isnan(row[2])]
    still = [row for row in rows if row[3] < SAME_VOLUME]
    chosen = stressed if len(stressed) >= ENOUGH_PAIRS else still
    if len(chosen) < ENOUGH_PAIRS:
        return None
    table = np.array(chosen)
    change, force, strain = table[:, 0], table[:, 1], np.nan_to_num(table[:, 2])
    with_strain = np.abs(strain).sum() > 0
    x = np.column_stack([force, strain]) if with_strain else force[:, None]
    factors, explained = _robust(x, change)
    share = _told(x, change, factors) if with_strain else 0.0
    return Relation(
        float(factors[0]),
        float(factors[1]) if share > STRAIN_SHARE else None,
        explained,
        len(chosen),
        float(np.median(table[:, 4])),
    )


def _works(group: Sequence[LabelledStructure]) -> list[tuple[float, float, float, float, int]]:
    """Of each structure and its nearest: energy change, work of forces, of strain (NaN: unknown),
    change of volume, atoms.
    """
    found = []
    periodic = bool(group[0].atoms.pbc.all())
    size = len(group[0].atoms)
    if size < 2 or (group[0].atoms.pbc.any() and not periodic):
        return []
    cells = [np.array(item.atoms.cell.array) if periodic else np.eye(3) for item in group]
    scaled = [
        item.atoms.positions @ np.linalg.inv(cell) for item, cell in zip(group, cells, strict=True)
    ]
    taken: set[tuple[int, int]] = set()
    for a in range(len(group)):
        best: tuple[float, int, FloatArray] | None = None
        for b in range(len(group)):
            if a == b or (min(a, b), max(a, b)) in taken:
                continue
            parts = scaled[b] - scaled[a]
            if periodic:
                parts = parts - np.round(parts)
            apart = parts @ ((cells[a] + cells[b]) / 2)
            far = float(np.sqrt((apart**2).sum(axis=1).mean()))
            far += float(np.abs(cells[b] - cells[a]).max())
            if 1e-4 < far < NEAR_A and (best is None or far < best[0]):
                best = (far, b, apart)
        if best is None:
            continue
        b, apart = best[1], best[2]
        taken.add((min(a, b), max(a, b)))
        one, other = group[a].label, group[b].label
        work = -0.5 * float(np.sum((np.asarray(one.forces) + np.asarray(other.forces)) * apart))
        strain_work, change = float("nan"), 0.0
        if periodic:
            volumes = [abs(float(np.linalg.det(cells[index]))) for index in (a, b)]
            change = abs(volumes[1] - volumes[0]) / volumes[0]
            change = max(change, float(np.abs(cells[b] - cells[a]).max()) / volumes[0] ** (1 / 3))
            if one.stress is not None and other.stress is not None:
                mean = np.linalg.inv((cells[a] + cells[b]) / 2)
                strain = mean @ (cells[b] - cells[a])
                stress = _tensor((np.asarray(one.stress) + np.asarray(other.stress)) / 2)
                strain_work = float(np.mean(volumes) * np.sum(stress * (strain + strain.T) / 2))
        found.append((other.energy_ev - one.energy_ev, work, strain_work, change, size))
    return found


def _tensor(six: FloatArray) -> FloatArray:
    xx, yy, zz, yz, xz, xy = six
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _robust(x: FloatArray, y: FloatArray) -> tuple[FloatArray, float]:
    """Factors by least absolute deviations (reweighted), and the share of |y| that they explain."""
    weights = np.ones(len(y))
    factors = np.zeros(x.shape[1])
    for _ in range(30):
        root = np.sqrt(weights)
        factors = np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0]
        weights = 1 / np.maximum(np.abs(y - x @ factors), 1e-4 * np.abs(y).max() + 1e-12)
    total = float(np.median(np.abs(y)))
    missed = float(np.median(np.abs(y - x @ factors)))
    return factors, 1 - (missed / total) ** 2 if total > 0 else 0.0


def _told(x: FloatArray, y: FloatArray, factors: FloatArray) -> float:
    """How much of the energy changes the work of strain is."""
    return float(np.median(np.abs(x[:, 1] * factors[1])) / max(np.median(np.abs(y)), 1e-12))


def per_atom(items: Sequence[LabelledStructure]) -> str | None:
    """Where cells of one composition and different sizes have one and the same energy."""
    kinds: dict[str, dict[int, list[float]]] = {}
    for item in items:
        size = len(item.atoms)
        if size > 1:
            kind = item.atoms.symbols.formula.reduce()[0].format("hill")
            kinds.setdefault(kind, {}).setdefault(size, []).append(item.label.energy_ev)
    for sizes in kinds.values():
        small, large = min(sizes), max(sizes)
        if large < 2 * small:
            continue
        low, high = float(np.median(sizes[small])), float(np.median(sizes[large]))
        if abs(low) > 0.5 and abs(high / low - 1) < 0.2:
            return (
                f"energies seem to be of an atom, not of the structure: {low:.4g} for {small}"
                f" atoms, {high:.4g} for {large}"
            )
    return None
