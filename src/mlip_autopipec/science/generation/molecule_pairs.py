"""Two molecules near each other, turned at random: the forces between molecules, which one alone
does not have.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data.vdw_alvarez import vdw_radii
from scipy.spatial.transform import Rotation

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science.generation.context import Context, FloatArray, in_a_box, rattled
from mlip_autopipec.science.lattices import bare

__all__ = ["generate"]

# Nearest contact in sums of van der Waals radii (Alvarez, Dalton Trans. 42, 8617, 2013): 0.65 is a
# hydrogen bond.
CONTACTS = (0.62, 1.4)
# For elements without a tabulated van der Waals radius: the middle of the table.
UNKNOWN_RADIUS_A = 2.0


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    contact_min: float = CONTACTS[0],
    contact_max: float = CONTACTS[1],
    sigma_a: float = 0.03,
    **_: object,
) -> list[Candidate]:
    """Pairs of the non-periodic starts (each with itself and with the others in turn) in a box,
    slightly rattled.

    The nearest contact between the two is drawn between ``contact_min`` and ``contact_max`` sums of
    van der Waals radii. Pairs of more than the context's ``max_atoms`` atoms are left out. Each
    draw is a group of its own.
    """
    molecules = [start for start in context.starts if not start.atoms.pbc.any()]
    pairs = [
        (one, two)
        for number, one in enumerate(molecules)
        for two in molecules[number:]
        if len(one.atoms) + len(two.atoms) <= context.max_atoms
    ]
    made: list[Candidate] = []
    for index in range(count if pairs else 0):
        one, two = pairs[index % len(pairs)]
        contact = float(rng.uniform(contact_min, contact_max))
        joined = _joined(
            rattled(one.atoms, sigma_a, rng), rattled(two.atoms, sigma_a, rng), contact, rng
        )
        parameters = {
            "contact_vdw": round(contact, 4),
            "atoms": len(joined),
            "molecules": [one.provenance.group, two.provenance.group],
        }
        provenance = Provenance(
            "molecule_pair",
            f"molecule_pair:{context.seed}:{index}",
            parameters,
            one.provenance.group,
            context.seed,
        )
        made.append(Candidate(in_a_box(joined), provenance))
    return made


def _joined(one: Atoms, two: Atoms, contact: float, rng: np.random.Generator) -> Atoms:
    """The second molecule moved toward the first along a random line until their nearest contact is
    ``contact``.
    """
    first, second = _turned(one, rng), _turned(two, rng)
    sums = _radii(first)[:, None] + _radii(second)[None]
    line = rng.normal(size=3)
    line /= np.linalg.norm(line)

    def nearest(distance: float) -> float:
        gaps = second.positions[None] + distance * line - first.positions[:, None]
        return float((np.linalg.norm(gaps, axis=2) / sums).min())

    far = 2.0 * contact * float(sums.max()) + np.ptp(first.positions) + np.ptp(second.positions)
    # From outside inward, so that the molecules do not end inside each other; then the last step is
    # halved.
    step = 0.1
    while nearest(far - step) > contact:
        far -= step
    low, high = far - step, far
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if nearest(middle) > contact else (middle, high)
    second.positions += high * line
    joined = bare(first)
    joined.extend(second)
    return joined


def _turned(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """The bare molecule without its box, centre at the origin, in a random orientation."""
    quaternion = rng.normal(size=4)
    turn = Rotation.from_quat(quaternion / np.linalg.norm(quaternion))
    positions = turn.apply(atoms.positions - atoms.positions.mean(axis=0))
    return Atoms(numbers=atoms.numbers, positions=np.atleast_2d(positions))


def _radii(atoms: Atoms) -> FloatArray:
    radii = np.array([vdw_radii[z] for z in atoms.numbers], dtype=float)
    return np.where(np.isfinite(radii), radii, UNKNOWN_RADIUS_A)
