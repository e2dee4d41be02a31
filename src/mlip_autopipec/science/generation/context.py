"""What every strategy is given, and the moves on cells that several of them share."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.science.contacts import BUILT_LIMIT, closest_contact
from mlip_autopipec.science.lattices import bare, heights_a, standard_cell

__all__ = [
    "BUILT_LIMIT",
    "Context",
    "Needs",
    "contact_limit",
    "deformed",
    "half_and_full_cells",
    "in_a_box",
    "lindemann_a",
    "needs_surrogate",
    "random_strain",
    "rattled",
    "supercell",
]

FloatArray = NDArray[np.float64]

# Empty space between a molecule and the faces of its box (Å). Forces on ethanol in such a box,
# images corrected for, against one with 6 Å and no correction: 1.9 meV/Å (0.3 meV/atom) apart, at a
# third of the cost.
BOX_MARGIN_A = 4.0
# Without the correction, as in the campaign of a crystal.
WIDE_MARGIN_A = 6.0


def _silent(fraction: float) -> None:
    """No progress is wanted."""


@dataclass(frozen=True, slots=True)
class Context:
    """The material and what is known of it.

    ``fractions``: element -> fraction. ``starts``: relaxed start structures, lowest energy first.
    ``calculator``: the surrogate, or None where it does not know an element. ``max_atoms``: largest
    cell that DFT may be asked for.
    ``progress``: told the finished fraction of a long strategy now and then. ``distant``: a few
    relaxed crystals far above the lowest, for the strategy ``prototypes`` alone.
    """

    fractions: dict[str, float]
    starts: tuple[Candidate, ...]
    calculator: Calculator | None
    temperatures_k: tuple[float, ...]
    max_atoms: int
    seed: int = 0
    progress: Callable[[float], None] = _silent
    distant: tuple[Candidate, ...] = ()

    @property
    def elements(self) -> tuple[str, ...]:
        return tuple(sorted(self.fractions))


def supercell(atoms: Atoms, max_atoms: int) -> Atoms:
    """The largest compact supercell of at most ``max_atoms`` atoms.

    Multiples of the conventional cell are preferred where they come within a quarter of the wanted
    size: their reciprocal axes are short, so DFT needs fewer k-points than for the skewed primitive
    multiples. The structure itself is returned when nothing fits or it is not periodic.
    """
    if not atoms.pbc.all():
        return bare(atoms)
    best: tuple[tuple[float, ...], Atoms, tuple[int, int, int]] | None = None
    for primitive in (False, True):
        unit = standard_cell(atoms, primitive=primitive)
        limit = max_atoms // len(unit)
        for a, b, c in itertools.product(range(1, limit + 1), repeat=3):
            n = (a, b, c)
            size = a * b * c * len(unit)
            if size > max_atoms:
                continue
            heights = heights_a(unit.cell.array * np.array(n)[:, None])
            near = size >= 0.75 * max_atoms
            # Sorted: near the wanted size, conventional, largest, most compact, then the last axis
            # the long one.
            key = (
                near,
                near and not primitive,
                size,
                round(float(heights.min() / heights.max()), 6),
                *n[::-1],
            )
            if best is None or key > best[0]:
                best = (key, unit, n)
    if best is None:
        return bare(atoms)
    cell: Atoms = best[1].repeat(best[2])
    return cell


@dataclass(frozen=True, slots=True)
class Needs:
    """What a strategy asks of the surrogate.

    ``calculator``: it is impossible where the surrogate lacks an element. ``evaluations``: for one
    candidate. ``in_runs``: frames of MD, of which many are made in several runs on several cores.
    """

    calculator: bool = False
    evaluations: int = 1
    in_runs: bool = False


S = TypeVar("S", bound=Callable[..., list[Candidate]])


def needs_surrogate(*, evaluations: int, in_runs: bool = False) -> Callable[[S], S]:
    """Mark a strategy that cannot do without the surrogate's forces; see :class:`Needs`."""

    def mark(strategy: S) -> S:
        setattr(strategy, "needs", Needs(True, evaluations, in_runs))  # noqa: B010
        return strategy

    return mark


def half_and_full_cells(context: Context, max_atoms: int) -> list[tuple[Atoms, str | None]]:
    """Of each start a supercell of half and one of the full size that is allowed, with the start's
    group.
    """
    largest = min(max_atoms, context.max_atoms)
    return [
        (supercell(start.atoms, size), start.provenance.group)
        for start in context.starts
        for size in (max(1, largest // 2), largest)
    ]


def in_a_box(atoms: Atoms, margin_a: float = BOX_MARGIN_A) -> Atoms:
    """The molecule in the middle of a rectangular cell, ``margin_a`` from every side, without
    periodicity or spins.

    It is turned into its principal axes (longest first), so that the box is as small as it can be.
    """
    arms = atoms.positions - atoms.positions.mean(axis=0)
    axes = np.linalg.svd(arms)[2]
    axes[2] *= np.linalg.det(axes)  # a rotation: no mirror image
    boxed = Atoms(numbers=atoms.numbers, positions=arms @ axes.T)
    boxed.center(vacuum=margin_a)
    return boxed


def deformed(atoms: Atoms, strain: FloatArray) -> Atoms:
    """The crystal under the symmetric ``strain`` (3, 3): cell and positions go by 1 + strain.

    A molecule's bonds go the same way; a cell that it may have is its box and stays.
    """
    changed = bare(atoms)
    if not atoms.pbc.any():
        centre = atoms.positions.mean(axis=0)
        changed.positions = centre + (atoms.positions - centre) @ (np.eye(3) + strain)
        return changed
    changed.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return changed


def random_strain(
    rng: np.random.Generator, volume_range: tuple[float, float], max_deviatoric: float
) -> FloatArray:
    """A symmetric strain (3, 3): relative volume change drawn in ``volume_range``, then a traceless
    part.

    The largest component of the traceless part is drawn uniformly up to ``max_deviatoric``.
    """
    shear = rng.normal(size=(3, 3))
    shear = shear + shear.T
    shear -= np.eye(3) * np.trace(shear) / 3
    shear *= rng.uniform(0, max_deviatoric) / np.abs(shear).max()
    volumetric = (1 + rng.uniform(*volume_range)) ** (1 / 3) - 1
    return np.asarray(shear + np.eye(3) * volumetric)


def lindemann_a(atoms: Atoms) -> float:
    """Standard deviation per coordinate (Å) at which a crystal is about to melt: 0.06 of its
    shortest distance.

    Lindemann's criterion (0.1 of the distance for the whole displacement, Gilvarry, Phys. Rev. 102,
    308, 1956): larger displacements of independent atoms are no thermal motion of anything, and
    their forces outweigh all others.
    """
    periodic = atoms.repeat([2 if flag else 1 for flag in atoms.pbc])
    distances = periodic.get_all_distances(mic=bool(atoms.pbc.any()))
    pairs = distances[distances > 1e-3]
    return 0.06 * float(pairs.min()) if pairs.size else 0.25


def contact_limit(atoms: Atoms) -> float:
    """How near (sums of covalent radii) atoms may come: 0.75, in a molecule also 0.9 of what a
    triple bond has.
    """
    return min(BUILT_LIMIT, closest_contact(atoms) * (1.0 if atoms.pbc.any() else 0.9))


def rattled(atoms: Atoms, sigma_a: float, rng: np.random.Generator, tries: int = 20) -> Atoms:
    """Normal displacements of standard deviation ``sigma_a`` (Å) per coordinate, centre of mass
    kept.

    A draw with a pair nearer than :func:`contact_limit` is drawn again, each time a tenth smaller.
    """
    limit = contact_limit(atoms)
    for attempt in range(tries):
        step = rng.normal(size=(len(atoms), 3)) * sigma_a * 0.9**attempt
        step -= step.mean(axis=0)
        moved = bare(atoms)
        moved.positions += step
        if closest_contact(moved) >= limit:
            return moved
    return bare(atoms)
