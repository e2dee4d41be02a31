"""Low-index surfaces: stoichiometric slabs of the start crystals with at least 10 Å of vacuum."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import surface
from ase.geometry import minkowski_reduce

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science import symmetry
from mlip_autopipec.science.generation.context import Context, rattled
from mlip_autopipec.science.generation.relaxing import loosely_relaxed
from mlip_autopipec.science.lattices import bare, standard_cell

__all__ = ["generate", "slabs"]

# Surfaces of lowest energy are among these for the usual crystals.
LOW_INDICES = ((1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 0, 1), (1, 0, 1), (2, 1, 0))
# Slabs: thick enough for two surfaces and something between, thin enough for DFT.
MIN_THICKNESS_A, MAX_THICKNESS_A = 4.0, 12.0
# Cuts of one plane that are kept.
TERMINATIONS = 2
# Beyond the cutoff of the potential and the decay of the density.
VACUUM_A = 10.0


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 32,
    copies: int = 2,
    relax_steps: int = 10,
    sigma_min_a: float = 0.02,
    sigma_max_a: float = 0.12,
    **_: object,
) -> list[Candidate]:
    """Slabs of each start and index, periodic in the plane alone, as cut, then relaxed loosely and
    rattled.

    The first copy of each slab is as cut but for the smallest rattle, further ones are relaxed for
    a few steps first: a potential must know the forces of the unrelaxed surface too. A slab and its
    copies are one group.
    """
    limit = min(max_atoms, context.max_atoms)
    cut = [
        (slab, f"{start.provenance.group}", index, number)
        for start in context.starts
        if start.atoms.pbc.all()
        for number, (index, slab) in enumerate(slabs(start.atoms, limit))
    ]
    # Every start's first surface, then every start's second one.
    cut.sort(key=lambda entry: entry[3])
    made: list[Candidate] = []
    index = 0
    while cut and len(made) < count:
        slab, name, miller, _number = cut[index % len(cut)]
        relaxed = slab
        for copy in range(min(copies, count - len(made))):
            if copy == 1:
                relaxed = loosely_relaxed(slab, context.calculator, relax_steps)
            sigma = (
                float(rng.uniform(sigma_min_a, sigma_max_a))
                if copy or index >= len(cut)
                else sigma_min_a
            )
            parameters = {
                "miller": "".join(str(m) for m in miller),
                "rattle_a": round(sigma, 6),
                "relaxed": copy > 0 and context.calculator is not None and relax_steps > 0,
                "atoms": len(slab),
            }
            provenance = Provenance(
                "surface", f"surface:{context.seed}:{index}", parameters, name, context.seed
            )
            made.append(Candidate(rattled(relaxed, sigma, rng), provenance))
        index += 1
    return made


def slabs(atoms: Atoms, max_atoms: int) -> list[tuple[tuple[int, int, int], Atoms]]:
    """Distinct low-index slabs of at most ``max_atoms`` atoms, as thick (up to 12 Å) as that
    allows.

    Made of whole primitive cells, so that they keep the crystal's composition, and cut at the
    widest gaps between atomic planes. Only slabs without a dipole whatever the ions' charges are
    kept: every species has the same mean height. (A polar surface would rebuild in ways that no
    small cell shows.)
    """
    unit, primitive = standard_cell(atoms, primitive=False), standard_cell(atoms, primitive=True)
    found: list[tuple[tuple[int, int, int], Atoms]] = []
    for miller in _distinct_planes(unit):
        # The same plane in the primitive cell's reciprocal vectors, as the smallest integers.
        plane = np.round(
            12 * primitive.cell.array @ np.linalg.inv(unit.cell.array) @ miller
        ).astype(int)
        plane //= np.gcd.reduce(plane)
        layer = _oriented(primitive, plane, 1)
        thickness = abs(layer.cell.volume) / np.linalg.norm(np.cross(*layer.cell.array[:2]))
        layers = min(max_atoms // len(primitive), max(1, int(MAX_THICKNESS_A / thickness)))
        if layers < 1 or layers * thickness < MIN_THICKNESS_A:
            continue
        bulk = _oriented(primitive, plane, layers + 1)
        cuts = [_cut(bulk, layers * thickness, height) for height in _gaps(layer, thickness)]
        found += [(miller, slab) for slab in cuts if _without_dipole(slab)][:TERMINATIONS]
    return found


def _distinct_planes(unit: Atoms) -> list[tuple[int, int, int]]:
    """LOW_INDICES without those that the crystal's symmetry turns into an earlier one."""
    found = symmetry.operations(unit, 0.01)
    rotations = np.eye(3, dtype=int)[None] if found is None else found[0]
    kept: list[tuple[int, int, int]] = []
    for miller in LOW_INDICES:
        # Planes transform with the transposed rotations of the cell's vectors.
        images = {
            tuple(sign * int(n) for n in np.array(miller) @ r)
            for r in rotations
            for sign in (1, -1)
        }
        if not images & set(kept):
            kept.append(miller)
    return kept


def _oriented(primitive: Atoms, plane: Any, layers: int) -> Atoms:
    """``layers`` lattice planes of the crystal along z; the first two vectors are short and in the
    xy plane.

    The third vector is the normal: the planes above are shifted against those below, so it is no
    lattice vector.
    """
    stacked = surface(primitive, tuple(int(n) for n in plane), layers, periodic=True)
    reduced = minkowski_reduce(stacked.cell.array, pbc=(True, True, False))[0]
    turned = Atoms(numbers=stacked.numbers, positions=stacked.positions, cell=reduced, pbc=True)
    turned.set_cell(turned.cell.standard_form()[0], scale_atoms=True)
    return turned


def _gaps(layer: Atoms, thickness: float) -> list[float]:
    """Heights (Å) in the middle of the gaps between atomic planes of one period, widest first."""
    heights = np.sort(layer.positions[:, 2] % thickness)
    gaps = np.diff(np.r_[heights, heights[0] + thickness])
    order = [index for index in np.argsort(-np.round(gaps, 3), kind="stable") if gaps[index] > 0.3]
    return [float(heights[index] + gaps[index] / 2) for index in order]


def _cut(bulk: Atoms, height: float, start: float) -> Atoms:
    """The slab from ``start`` to ``start + height`` (Å), 10 Å of vacuum, periodic in the plane
    alone.
    """
    heights = bulk.positions[:, 2]
    slab = bulk[(heights >= start) & (heights < start + height)]
    a, b = bulk.cell.array[:2]
    slab.set_cell(
        np.array([a, b, [0.0, 0.0, float(np.ptp(slab.positions[:, 2])) + VACUUM_A]]),
        scale_atoms=False,
    )
    slab.pbc = (True, True, False)
    slab.center(axis=2)
    slab.wrap()
    return bare(slab)


def _without_dipole(slab: Atoms, tolerance_a: float = 0.02) -> bool:
    heights = [
        slab.positions[slab.numbers == number, 2].mean() for number in sorted(set(slab.numbers))
    ]
    return bool(np.ptp(heights) < tolerance_a)
