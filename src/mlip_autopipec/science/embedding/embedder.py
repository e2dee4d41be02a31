"""All cutouts of one parent: which pieces are tried, and what each has to pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.science.embedding.boxes import box_piece
from mlip_autopipec.science.embedding.core import (
    POSITION_TOLERANCE_A,
    Local,
    Surroundings,
    differences,
    evaluate,
    exact_radii,
    near_centre,
)
from mlip_autopipec.science.embedding.lattice import Crystal, find_crystal
from mlip_autopipec.science.embedding.model import Cutout, FloatArray, IntArray, Piece, Skipped
from mlip_autopipec.science.embedding.pieces import crystal_pieces, shortest_bond
from mlip_autopipec.science.embedding.screen import ForceErrors, Screen
from mlip_autopipec.science.embedding.seam import Seam, relax_seam

__all__ = ["Embedder", "Limits"]

# A vacancy, or a few atoms merged at the seam, make no cutout too small.
_FEWEST_FRACTION = 0.9
# Of the shortest distance in the parent: buffer atoms nearer to each other than that are pressed
# together.
_CLOSE_FACTOR = 0.9
# Of an atom's own force: in a melt, where forces are large, they need not agree better.
_FORCE_TOLERANCE = 0.1
# A force (eV/Å) that no structure worth a label has; the screen of candidates has the same.
_ABSURD_FORCE_EV_PER_A = 25.0


@dataclass(frozen=True)
class Limits:
    """What a cutout has to keep; see :func:`mlip_autopipec.science.embedding.cut`."""

    min_atoms: int
    max_atoms: int
    core_radius_a: float
    buffer_a: float
    environment_a: float
    seam_force_ev_per_a: float
    energy_tolerance_ev: float
    force_tolerance_ev_per_a: float
    max_force_error_ev_per_a: float


class Embedder:
    """What all cutouts of one parent share: its lattice sites, its surroundings, the potential's
    view of it.
    """

    def __init__(
        self,
        parent: Atoms,
        limits: Limits,
        *,
        calculator: Calculator | None,
        primitive: Atoms | None,
        force_errors: ForceErrors | None,
    ) -> None:
        self.parent, self.calculator, self.limits = parent, calculator, limits
        self.fewest_atoms = math.ceil(_FEWEST_FRACTION * limits.min_atoms)
        self.image_distance_a = 2 * (limits.core_radius_a + limits.buffer_a)
        bulk = bool(np.all(parent.pbc))
        self.crystal: Crystal | None = (
            find_crystal(parent, primitive) if primitive is not None and bulk else None
        )
        self.outside = Surroundings(parent, limits.environment_a + POSITION_TOLERANCE_A)
        self.local: Local | None = None if calculator is None else evaluate(parent, calculator)
        self.screen = self._screen(force_errors)

    def _screen(self, force_errors: ForceErrors | None) -> Screen:
        """A hot parent has large forces of its own, and places of which little is known: its buffer
        need not be calmer, nor better known.
        """
        force, error = self.limits.seam_force_ev_per_a, self.limits.max_force_error_ev_per_a
        if self.local is not None:
            force = max(force, float(np.linalg.norm(self.local.forces, axis=1).max()))
        if force_errors is not None:
            error = max(error, float(force_errors(self.parent).max()))
        return Screen(_CLOSE_FACTOR * shortest_bond(self.parent), force, error, force_errors)

    def embed(self, centre: int, gamma: float) -> Cutout | Skipped:
        """The first calm piece of the parent's own lattice, else the first that passes with a mask;
        else the same of boxes; else why the last piece of the lattice (without one: the last box)
        did not.
        """
        if not np.all(self.parent.pbc):
            return Skipped("the parent is not periodic in three directions", centre, gamma)
        reason = ""
        for pieces in (self._crystals, self._boxes):
            answers = []
            for piece in pieces(centre):
                answers.append(self._finish(piece, gamma))
                if isinstance(answers[-1], Cutout) and not answers[-1].masked:
                    return answers[-1]
            masked = [answer for answer in answers if isinstance(answer, Cutout)]
            if masked:
                return masked[0]
            reason = reason or str(answers[-1] if answers else "")
        return Skipped(reason, centre, gamma)

    def _crystals(self, centre: int) -> Iterator[Piece]:
        if self.crystal is not None:
            yield from crystal_pieces(
                self.parent,
                self.crystal,
                centre,
                min_atoms=self.limits.min_atoms,
                max_atoms=self.limits.max_atoms,
                image_distance_a=self.image_distance_a,
            )

    def _boxes(self, centre: int) -> Iterator[Piece]:
        found: list[Piece] = []
        for distance in (self.image_distance_a, 2 * self.image_distance_a):
            piece = box_piece(
                self.parent,
                centre,
                min_atoms=self.fewest_atoms,
                max_atoms=self.limits.max_atoms,
                image_distance_a=distance,
            )
            # Where the limit decides, both are the same box.
            if not found or not np.allclose(piece.atoms.cell, found[0].atoms.cell):
                found.append(piece)
                yield piece

    def _finish(self, piece: Piece, gamma: float) -> Cutout | str:
        limits = self.limits
        if len(piece.atoms) < self.fewest_atoms:
            return f"{len(piece.atoms)} atoms, fewer than {limits.min_atoms}, are no cutout"
        radii = self._radii(piece)
        if radii[piece.centre] < limits.environment_a:
            return (
                f"the centre sees the parent's neighbours only out to {radii[piece.centre]:.2f} Å "
                f"of {limits.environment_a:g} Å in the {len(piece.atoms)}-atom cell"
            )
        core = self._core(piece, radii)
        checks = {
            **piece.notes,
            "image_distance_a": piece.image_distance_a,
            "checked_by_potential": self.calculator is not None,
        }
        # Without a potential nobody can say that the buffer is calm.
        unphysical = np.setdiff1d(np.arange(len(piece.atoms)), core)
        if self.calculator is not None and self.local is not None:
            seam = self._seam(piece, core)
            if seam.force_after_ev_per_a > _ABSURD_FORCE_EV_PER_A:
                return (
                    f"seam force {seam.force_after_ev_per_a:.1f} eV/Å above"
                    f" {_ABSURD_FORCE_EV_PER_A:g} eV/Å after {seam.steps} steps"
                )
            piece = replace(piece, atoms=seam.atoms)
            core = core[np.isin(core, self._core(piece, self._radii(piece)))]
            if piece.centre not in core:
                return f"relaxing the seam reached the centre in the {len(piece.atoms)}-atom cell"
            local = evaluate(piece.atoms, self.calculator)
            energies, forces = differences(local, self.local.take(piece.parent))
            allowed = np.maximum(
                limits.force_tolerance_ev_per_a,
                _FORCE_TOLERANCE * np.linalg.norm(self.local.forces[piece.parent], axis=1),
            )
            same = (energies <= limits.energy_tolerance_ev) & (forces <= allowed)
            if not same[piece.centre]:
                return (
                    f"the centre differs from the parent by {1e3 * energies[piece.centre]:.0f} meV"
                    f" and {1e3 * forces[piece.centre]:.0f} meV/Å in the {len(piece.atoms)}-atom"
                    " cell"
                )
            checks |= {
                "seam_force_before_ev_per_a": seam.force_before_ev_per_a,
                "seam_force_ev_per_a": seam.force_after_ev_per_a,
                "seam_moved_a": seam.moved_a,
                "demoted": int((~same[core]).sum()),
            }
            # Atoms that the potential can tell apart from the parent's go to the buffer.
            core = core[same[core]]
            checks |= {
                "core_energy_difference_ev": float(energies[core].max()),
                "core_force_difference_ev_per_a": float(forces[core].max()),
            }
            buffer = np.setdiff1d(np.arange(len(piece.atoms)), core)
            unphysical = self.screen.beyond(piece.atoms, local.forces, buffer)
        return Cutout(
            piece.atoms,
            tuple(sorted(int(i) for i in core)),
            tuple(int(i) for i in piece.parent),
            piece.centre,
            piece.kind,
            gamma,
            checks,
            tuple(sorted(int(i) for i in unphysical)),
        )

    def _radii(self, piece: Piece) -> FloatArray:
        environment_a = self.limits.environment_a
        inside = Surroundings(piece.atoms, environment_a + POSITION_TOLERANCE_A)
        return exact_radii(piece, inside, self.outside, environment_a)

    def _core(self, piece: Piece, radii: FloatArray) -> IntArray:
        """Core and environment fit into half the distance of the images, else the centre is alone;
        and what fits has to be the parent's atom for atom.
        """
        fits = 0.5 * piece.image_distance_a - self.limits.environment_a
        near = near_centre(piece, max(0.0, min(self.limits.core_radius_a, fits)))
        core: IntArray = near[radii[near] >= self.limits.environment_a]
        return core

    def _seam(self, piece: Piece, core: IntArray) -> Seam:
        """Relax what no core atom sees within its environment."""
        assert self.calculator is not None
        everyone = np.arange(len(piece.atoms))
        seen = [
            piece.atoms.get_distances(int(i), everyone, mic=True) <= self.limits.environment_a
            for i in core
        ]
        fixed = np.flatnonzero(np.any(seen, axis=0))
        buffer = np.setdiff1d(everyone, core)
        return relax_seam(piece.atoms, fixed, buffer, self.calculator, self.screen.force_ev_per_a)
