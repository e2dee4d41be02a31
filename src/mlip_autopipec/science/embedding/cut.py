"""Periodic embedding with force masking: from an extrapolating MD frame to cells small enough for
DFT.

Follows Hodapp & Shapeev, Mach. Learn.: Sci. Technol. 1, 045005 (2020) and Mismetti & Hodapp (2023):
a periodic piece around the atoms with a large extrapolation grade, whose core sees what it saw in
the large cell.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.science.cutout_rules import MIN_CUTOUT_ATOMS
from mlip_autopipec.science.embedding.embedder import Embedder, Limits
from mlip_autopipec.science.embedding.model import Cutout, FloatArray, Skipped
from mlip_autopipec.science.embedding.screen import ForceErrors

__all__ = ["ENERGY_TOLERANCE_EV", "FORCE_TOLERANCE_EV_PER_A", "TOO_SMALL", "cut"]

#: Of an atom's energy between cutout and parent, by the current potential.
ENERGY_TOLERANCE_EV = 0.02
#: Of the length of an atom's force vector.
FORCE_TOLERANCE_EV_PER_A = 0.1
TOO_SMALL = "labelled in small whole cells instead"


def cut(
    parent: Atoms,
    gamma: FloatArray,
    *,
    gamma_select: float,
    max_atoms: int,
    core_radius_a: float,
    buffer_a: float,
    environment_a: float,
    seam_force_ev_per_a: float = 2.0,
    calculator: Calculator | None = None,
    primitive: Atoms | None = None,
    max_cutouts: int = 4,
    min_atoms: int = MIN_CUTOUT_ATOMS,
    force_errors: ForceErrors | None = None,
    max_force_error_ev_per_a: float = 0.0,
    energy_tolerance_ev: float = ENERGY_TOLERANCE_EV,
    force_tolerance_ev_per_a: float = FORCE_TOLERANCE_EV_PER_A,
) -> list[Cutout | Skipped]:
    """Cells of ``min_atoms`` to ``max_atoms`` around the atoms of ``parent`` with ``gamma`` (n,)
    above ``gamma_select``: an extrapolation grade, or a predicted error and its target.

    A parent that is small enough comes back whole and unmasked. Otherwise one cutout per cluster of
    unknown atoms, largest grade first, ``max_cutouts`` at most; none where ``max_atoms`` is below
    ``min_atoms``. Core atoms lie within ``core_radius_a`` of the centre, core and environment
    together within half the distance of the images, and have the parent's neighbours atom for atom
    out to ``environment_a``; the faces are ``core_radius_a + buffer_a`` from the centre where
    ``max_atoms`` allows.

    ``calculator``: the current potential, for the seam and the check: core atoms keep the parent's
    energy within ``energy_tolerance_ev`` and its force within ``force_tolerance_ev_per_a``. Buffer
    atoms beyond the screen (distances, forces, and ``force_errors`` above the parent's own largest
    and ``max_force_error_ev_per_a``) are named unphysical. Without a calculator all of this is left
    out, the checks say so, and the whole buffer counts as unphysical. ``primitive``: any cell of
    the crystal the parent is a supercell of; without it, when the parent is no crystal any more, or
    when no piece of the crystal passes, a box along the parent's axes is cut.
    """
    grades = np.asarray(gamma, dtype=float).reshape(-1)
    if len(grades) != len(parent):
        raise ValueError(f"{len(grades)} grades for {len(parent)} atoms")
    if not (grades > gamma_select).any():
        return []
    parent = _periodic(parent)
    if len(parent) <= max_atoms:
        return [_whole(parent, grades)]
    waiting = [
        int(i) for i in np.lexsort((np.arange(len(grades)), -grades)) if grades[i] > gamma_select
    ]
    if max_atoms < min_atoms:
        reason = f"{TOO_SMALL}: a cutout needs {min_atoms} atoms, DFT affords {max_atoms}"
        return [Skipped(reason, waiting[0], float(grades[waiting[0]]))]
    limits = Limits(
        min_atoms,
        max_atoms,
        core_radius_a,
        buffer_a,
        environment_a,
        seam_force_ev_per_a,
        energy_tolerance_ev,
        force_tolerance_ev_per_a,
        max_force_error_ev_per_a,
    )
    embedder = Embedder(
        parent, limits, calculator=calculator, primitive=primitive, force_errors=force_errors
    )
    found: list[Cutout | Skipped] = []
    while waiting and len(found) < max_cutouts:
        centre = waiting.pop(0)
        answer = embedder.embed(centre, float(grades[centre]))
        found.append(answer)
        if isinstance(answer, Cutout):
            served = {answer.parent_indices[i] for i in answer.core}
            near = (
                parent.get_distances(centre, waiting, mic=True) <= core_radius_a if waiting else []
            )
            waiting = [
                i for i, close in zip(waiting, near, strict=True) if not close and i not in served
            ]
    return found


def _periodic(parent: Atoms) -> Atoms:
    """Numbers, positions, cell and moments alone: no calculator, no constraints."""
    clean = Atoms(
        numbers=parent.numbers, positions=parent.positions, cell=parent.cell, pbc=parent.pbc
    )
    if parent.has("initial_magmoms"):
        clean.set_initial_magnetic_moments(parent.get_initial_magnetic_moments())
    return clean


def _whole(parent: Atoms, gamma: FloatArray) -> Cutout:
    everyone = tuple(range(len(parent)))
    return Cutout(parent, everyone, everyone, int(gamma.argmax()), "whole", float(gamma.max()))
