"""Periodic embedding with force masking: from an extrapolating MD frame to cells small enough for
DFT.

Follows Hodapp & Shapeev, Mach. Learn.: Sci. Technol. 1, 045005 (2020) and Mismetti & Hodapp (2023):
a periodic piece around the atoms with a large extrapolation grade, whose core sees what it saw in
the large cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.science.embedding.core import (
    POSITION_TOLERANCE_A,
    Local,
    Surroundings,
    agreement,
    evaluate,
    exact_radii,
    near_centre,
)
from mlip_autopipec.science.embedding.lattice import Crystal, find_crystal
from mlip_autopipec.science.embedding.model import Cutout, FloatArray, IntArray, Piece, Skipped
from mlip_autopipec.science.embedding.pieces import box_piece, crystal_pieces
from mlip_autopipec.science.embedding.seam import Seam, relax_seam

__all__ = ["cut"]

# Largest relative difference of local energy or gamma at which an atom of the cutout is still the
# parent's.
_TOLERANCE = 0.05


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
) -> list[Cutout | Skipped]:
    """Cells of at most ``max_atoms`` around the atoms of ``parent`` with ``gamma`` (n,) above
    ``gamma_select``.

    A parent that is small enough comes back whole and unmasked. Otherwise one cutout per cluster of
    extrapolating atoms, largest grade first, ``max_cutouts`` at most. Core atoms lie within
    ``core_radius_a`` of the centre and have the parent's neighbours atom for atom out to
    ``environment_a``; the faces are ``core_radius_a + buffer_a`` from the centre where
    ``max_atoms`` allows. ``calculator``: the current potential, for the seam and the check (without
    it both are left out, and the checks say so). ``primitive``: any cell of the crystal the parent
    is a supercell of; without it, or when the parent is no crystal any more, a box along the
    parent's axes is cut.
    """
    grades = np.asarray(gamma, dtype=float).reshape(-1)
    if len(grades) != len(parent):
        raise ValueError(f"{len(grades)} grades for {len(parent)} atoms")
    if not (grades > gamma_select).any():
        return []
    parent = _periodic(parent)
    if len(parent) <= max_atoms:
        return [_whole(parent, grades)]
    limits = _Limits(max_atoms, core_radius_a, buffer_a, environment_a, seam_force_ev_per_a)
    embedder = _Embedder(parent, limits, calculator=calculator, primitive=primitive)
    found: list[Cutout | Skipped] = []
    waiting = [
        int(i) for i in np.lexsort((np.arange(len(grades)), -grades)) if grades[i] > gamma_select
    ]
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


@dataclass(frozen=True)
class _Limits:
    """The numbers of the plan's embedding section."""

    max_atoms: int
    core_radius_a: float
    buffer_a: float
    environment_a: float
    seam_force_ev_per_a: float


class _Embedder:
    """What all cutouts of one parent share: its lattice sites, its surroundings, the potential's
    view of it.
    """

    def __init__(
        self,
        parent: Atoms,
        limits: _Limits,
        *,
        calculator: Calculator | None,
        primitive: Atoms | None,
    ) -> None:
        self.parent, self.calculator = parent, calculator
        self.max_atoms, self.core_radius_a = limits.max_atoms, limits.core_radius_a
        self.environment_a = limits.environment_a
        self.image_distance_a = 2 * (limits.core_radius_a + limits.buffer_a)
        bulk = bool(np.all(parent.pbc))
        self.crystal: Crystal | None = (
            find_crystal(parent, primitive) if primitive is not None and bulk else None
        )
        self.primitive = primitive
        self.outside = Surroundings(parent, limits.environment_a + POSITION_TOLERANCE_A)
        self.local: Local | None = None if calculator is None else evaluate(parent, calculator)
        # A hot parent has large forces of its own: the seam need not be calmer than the parent is.
        own = 0.0 if self.local is None else float(np.linalg.norm(self.local.forces, axis=1).max())
        self.seam_force_ev_per_a = max(limits.seam_force_ev_per_a, own)

    def embed(self, centre: int, gamma: float) -> Cutout | Skipped:
        """The first piece that passes all checks, from small to large; else why the last one did
        not.
        """
        reason = "no cell within the atom limit"
        if not np.all(self.parent.pbc):
            return Skipped("the parent is not periodic in three directions", centre, gamma)
        for piece in self._pieces(centre):
            answer = self._finish(piece, gamma)
            if isinstance(answer, Cutout):
                return answer
            reason = answer
        return Skipped(reason, centre, gamma)

    def _pieces(self, centre: int) -> Iterator[Piece]:
        if self.crystal is not None:
            yield from crystal_pieces(
                self.parent,
                self.crystal,
                centre,
                max_atoms=self.max_atoms,
                image_distance_a=self.image_distance_a,
            )
            return
        for distance in (self.image_distance_a, 2 * self.image_distance_a):
            yield box_piece(
                self.parent, centre, max_atoms=self.max_atoms, image_distance_a=distance
            )

    def _finish(self, piece: Piece, gamma: float) -> Cutout | str:
        radii = self._radii(piece)
        if radii[piece.centre] < self.environment_a:
            return (
                f"the centre sees the parent's neighbours only out to {radii[piece.centre]:.2f} Å "
                f"of {self.environment_a:g} Å in the {len(piece.atoms)}-atom cell"
            )
        core = self._core(piece, radii)
        checks = {
            **piece.notes,
            "image_distance_a": piece.image_distance_a,
            "checked_by_potential": self.calculator is not None,
        }
        if self.calculator is not None and self.local is not None:
            seam = self._seam(piece, core)
            if seam.force_after_ev_per_a > self.seam_force_ev_per_a:
                return (
                    f"seam force {seam.force_after_ev_per_a:.2f} eV/Å above"
                    f" {self.seam_force_ev_per_a:.2f} eV/Å after {seam.steps} steps"
                )
            piece = replace(piece, atoms=seam.atoms)
            core = core[np.isin(core, self._core(piece, self._radii(piece)))]
            if piece.centre not in core:
                return f"relaxing the seam reached the centre in the {len(piece.atoms)}-atom cell"
            differences = agreement(
                evaluate(piece.atoms, self.calculator), self.local.take(piece.parent)
            )
            checks |= {
                "seam_force_before_ev_per_a": seam.force_before_ev_per_a,
                "seam_force_ev_per_a": seam.force_after_ev_per_a,
                "seam_moved_a": seam.moved_a,
                "centre_difference": float(differences[piece.centre]),
            }
            if differences[piece.centre] > _TOLERANCE:
                return (
                    "local energy or gamma of the centre differs by"
                    f" {100 * differences[piece.centre]:.0f} % from the parent in the"
                    f" {len(piece.atoms)}-atom cell"
                )
            # Atoms that the potential can tell apart from the parent's go to the buffer.
            checks["demoted"] = int((differences[core] > _TOLERANCE).sum())
            core = core[differences[core] <= _TOLERANCE]
            checks["core_difference"] = float(differences[core].max())
        return Cutout(
            piece.atoms,
            tuple(sorted(int(i) for i in core)),
            tuple(int(i) for i in piece.parent),
            piece.centre,
            piece.kind,
            gamma,
            checks,
        )

    def _radii(self, piece: Piece) -> FloatArray:
        inside = Surroundings(piece.atoms, self.environment_a + POSITION_TOLERANCE_A)
        return exact_radii(piece, inside, self.outside, self.environment_a)

    def _core(self, piece: Piece, radii: FloatArray) -> IntArray:
        near = near_centre(piece, self.core_radius_a)
        core: IntArray = near[radii[near] >= self.environment_a]
        return core

    def _seam(self, piece: Piece, core: IntArray) -> Seam:
        """Relax what no core atom sees within its environment."""
        assert self.calculator is not None
        everyone = np.arange(len(piece.atoms))
        seen = [
            piece.atoms.get_distances(int(i), everyone, mic=True) <= self.environment_a
            for i in core
        ]
        fixed = np.flatnonzero(np.any(seen, axis=0))
        buffer = np.setdiff1d(everyone, core)
        return relax_seam(piece.atoms, fixed, buffer, self.calculator, self.seam_force_ev_per_a)
