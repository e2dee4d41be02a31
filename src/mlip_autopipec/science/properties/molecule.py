"""A molecule: relaxed geometry and vibrations by the potential beside those of DFT.

DFT is asked at the surrogate's minimum, one Newton step from there, and at displacements along a
few of the surrogate's normal modes around that second point. Frequencies of both come from forces
at these same geometries, so that their difference is the potential's error alone. The geometries
are each one's own: the potential is relaxed, DFT's minimum is one more Newton step from its last
labelled point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import BFGS
from numpy.typing import NDArray
from pydantic import Field

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.section import Positive, Section
from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.science import molecule_at_rest
from mlip_autopipec.science.generation.normal_modes import Modes, normal_modes
from mlip_autopipec.science.properties.port import (
    Answer,
    Comparison,
    Found,
    Known,
    PropertyValue,
    Question,
    Shown,
    Subject,
    Table,
    evaluated,
)

__all__ = ["MoleculeAtRest"]

FloatArray = NDArray[np.float64]

AT_REST, VIBRATION = "molecule_at_rest", "vibration"
# Vibrations that are compared, two calculations each.
MODES = 3
# The potential's own minimum: far below its error.
RELAXED_EV_PER_A = 0.002
# Of that relaxation.
STEPS = 300
#: A relaxation that ends this far from DFT's molecule found another one, or none.
SAME_MOLECULE_A = 0.5


class MoleculeAtRest(Section):
    """The property: ``modes`` vibrations, which need two calculations each, beside two of the
    molecule at rest.
    """

    modes: Annotated[int, Field(ge=1)]
    geometry_tolerance_a: Positive = 0.02
    frequency_tolerance_per_cm: Positive = 50.0

    @property
    def calls(self) -> int:
        return 2 + 2 * self.modes

    @classmethod
    def planned(cls, subject: Subject) -> tuple[Self, Mapping[str, str]]:
        if subject.kind != "molecule" or subject.atoms is None:
            raise InputError(
                "this material is no molecule", key="properties", hint="leave 'molecule' out"
            )
        modes = min(MODES, 1 if subject.atoms == 2 else 3 * subject.atoms - 6)
        found = cls(modes=modes)
        return found, {
            "modes": (f"the stiffest, the softest and between: {found.calls} calculations in all"),
            "geometry_tolerance_a": "RMSD of the relaxed geometries, potential against our own DFT",
            "frequency_tolerance_per_cm": "1/cm, RMS, potential against our own DFT",
        }

    def prepare(self, start: Atoms, calculator: Calculator) -> Json:
        """The surrogate's vibrations."""
        return molecule_at_rest.modes_to_json(normal_modes(start, calculator))

    def structures(self, known: Known) -> list[Question]:
        """The surrogate's minimum; then that of DFT and what lies beside it."""
        if not known.answers:
            provenance = Provenance(AT_REST, "validation", {"minimum_of": known.surrogate})
            return [Question(Candidate(known.start, provenance), first=True)]
        label, modes = known.answers[0].label, _modes(known)
        if len(known.answers) > 1 or label is None or modes is None:
            return []
        relaxed = molecule_at_rest.at_minimum(known.start, label.forces, modes)
        found = [Candidate(relaxed, Provenance(AT_REST, "validation", {"minimum_of": "dft"}))]
        for mode in molecule_at_rest.compared_modes(modes, self.modes):
            plus, minus, coordinate = molecule_at_rest.displaced(relaxed, modes, mode)
            for sign, atoms in ((1, plus), (-1, minus)):
                parameters: Json = {"mode": mode, "sign": sign, "coordinate_a_amu12": coordinate}
                found.append(Candidate(atoms, Provenance(VIBRATION, "validation", parameters)))
        return [Question(candidate) for candidate in found]

    def from_labels(self, known: Known) -> Found | Failure:
        """DFT's minimum and vibrations. There is no value of DFT alone: what is compared are
        errors.
        """
        nearest = _nearest(known)
        if nearest is None:
            return Failure("validation_data", "DFT did not label the molecule at rest")
        answer, label = nearest
        step = _last_step(known, answer, label)
        return Found(
            details={
                "frequencies_per_cm": _frequencies(known),
                "surrogate_frequencies_per_cm": _surrogate_frequencies(known),
                "force_at_rest_ev_per_a": float(np.linalg.norm(label.forces, axis=1).max()),
                "last_step_a": float(np.linalg.norm(step, axis=1).max()),
            }
        )

    def from_calculator(self, known: Known, calculator: Calculator) -> Found | Failure:
        """Errors of the relaxed geometry (None with the reason where it is another molecule) and of
        the frequencies.
        """
        nearest = _nearest(known)
        if nearest is None:
            return Failure("validation_data", "DFT did not label the molecule at rest")
        answer, label = nearest
        dft = answer.atoms.copy()
        dft.positions += _last_step(known, answer, label)
        relaxed, trouble = _relaxed(dft, calculator)
        ours = evaluated(known, calculator)
        frequencies = _frequencies(ours)
        there = next(found for item, found in ours.labelled if item.candidate is answer.candidate)
        values = {
            "geometry_rmsd_a": (
                None if trouble else molecule_at_rest.geometry_rmsd_a(dft, relaxed)
            ),
            "frequency_rmse_per_cm": (
                _rms(np.array(frequencies) - np.array(_frequencies(known))) if frequencies else None
            ),
        }
        details: Json = {
            "frequencies_per_cm": frequencies,
            **({} if trouble else _internal(dft, relaxed)),
            "force_rmse_at_rest_mev_per_a": (1000 * _rms(there.forces - label.forces)),
        }
        return Found(values, details, trouble)

    def values(self, found: Comparison) -> tuple[PropertyValue, ...]:
        geometry, frequencies = (
            found.value(key)[0] for key in ("geometry_rmsd_a", "frequency_rmse_per_cm")
        )
        return (
            PropertyValue(
                "geometry_rmsd_a", "geometry", "Å", self.geometry_tolerance_a, geometry,
                kind="alone", measure="RMSD", digits=4,
            ),
            PropertyValue(
                "frequency_rmse_per_cm", "frequencies", "1/cm", self.frequency_tolerance_per_cm,
                frequencies, kind="alone", measure="RMS", digits=1,
            ),
        )  # fmt: skip

    def shown(self, found: Comparison) -> Shown:
        """Bonds and vibrations at rest, by the potential and by DFT."""
        dft = found.dft.details if found.dft else {}
        ours = found.potential.details if found.potential else {}
        rows = [
            (f"{row['bond']}, mean of {row['count']}", *_pair(row["potential"], row["dft"], "Å", 4))
            for row in ours.get("bonds_a") or []
        ]
        pairs = zip(
            ours.get("frequencies_per_cm") or [], dft.get("frequencies_per_cm") or [], strict=False
        )
        rows += [
            (f"vibration {number}", *_pair(potential, reference, "1/cm", 0))
            for number, (potential, reference) in enumerate(pairs, start=1)
        ]
        title = "Bonds, each at its own minimum; vibrations, along the same modes"
        heads = ("", "potential", "DFT", "off by")
        return Shown(
            "The molecule at rest",
            table=Table(title, heads, tuple(rows)) if rows else None,
            notes=_notes(found, rows=bool(rows)),
        )


def _modes(known: Known) -> Modes | None:
    return None if known.prepared is None else molecule_at_rest.modes_from_json(known.prepared)


def _nearest(known: Known) -> tuple[Answer, Label] | None:
    """Where DFT was asked for the molecule at rest and its forces were smallest."""
    at_rest = [pair for pair in known.labelled if "minimum_of" in pair[0].parameters]
    return min(at_rest, key=lambda pair: float(np.abs(pair[1].forces).max()), default=None)


def _last_step(known: Known, answer: Answer, label: Label) -> FloatArray:
    """The Newton step (n, 3) in Å from there to the minimum; nothing without modes."""
    modes = _modes(known)
    if modes is None:
        return np.zeros((len(answer.atoms), 3))
    return molecule_at_rest.newton_step_a(answer.atoms, label.forces, modes)


def _both_sides(known: Known) -> dict[int, dict[int, tuple[Answer, Label]]]:
    """Mode -> sign -> answer, of the modes whose two labels both exist."""
    sides: dict[int, dict[int, tuple[Answer, Label]]] = {}
    for answer, label in known.labelled:
        if "mode" in answer.parameters:
            mode, sign = int(answer.parameters["mode"]), int(answer.parameters["sign"])
            sides.setdefault(mode, {})[sign] = (answer, label)
    return {mode: pair for mode, pair in sorted(sides.items()) if len(pair) == 2}


def _frequencies(known: Known) -> list[float]:
    """Wavenumbers (1/cm), rising, by the forces of the answers."""
    both, modes = _both_sides(known), _modes(known)
    if not both or modes is None:
        return []
    probes = [
        molecule_at_rest.Probe(
            mode,
            float(pair[1][0].parameters["coordinate_a_amu12"]),
            pair[1][1].forces,
            pair[-1][1].forces,
        )
        for mode, pair in both.items()
    ]
    atoms = next(iter(both.values()))[1][0].atoms
    return [float(value) for value in molecule_at_rest.wavenumbers_per_cm(atoms, modes, probes)]


def _surrogate_frequencies(known: Known) -> list[float]:
    modes = _modes(known)
    return [] if modes is None else [float(modes.wavenumbers_per_cm[m]) for m in _both_sides(known)]


def _relaxed(atoms: Atoms, calculator: Calculator) -> tuple[Atoms, str | None]:
    """The potential's own minimum next to ``atoms``, and why it is none (None where it is one)."""
    moving = atoms.copy()
    moving.calc = calculator
    optimizer = BFGS(moving, logfile=None, maxstep=0.05)
    converged = optimizer.run(fmax=RELAXED_EV_PER_A, steps=STEPS)
    found = Atoms(
        numbers=moving.numbers, positions=moving.positions, cell=moving.cell, pbc=moving.pbc
    )
    if (
        not np.isfinite(found.positions).all()
        or molecule_at_rest.geometry_rmsd_a(atoms, found) > SAME_MOLECULE_A
    ):
        return (
            found,
            "relaxed by the potential, the molecule leaves its shape by more than"
            f" {SAME_MOLECULE_A} Å",
        )
    if not converged:
        return (
            found,
            f"the potential did not relax the molecule to {RELAXED_EV_PER_A} eV/Å in {STEPS} steps",
        )
    return found, None


def _internal(dft: Atoms, potential: Atoms) -> Json:
    """Mean bond lengths (Å) by the two elements, and the largest differences of bonds (Å) and
    angles (degrees).
    """
    pairs = molecule_at_rest.bonds(dft)
    lengths = {
        name: np.array([atoms.get_distance(i, j) for i, j in pairs])
        for name, atoms in (("dft", dft), ("potential", potential))
    }
    names = ["-".join(sorted((dft.symbols[i], dft.symbols[j]))) for i, j in pairs]
    rows = []
    for name in sorted(set(names)):
        chosen = [place for place, other in enumerate(names) if other == name]
        means = {source: float(values[chosen].mean()) for source, values in lengths.items()}
        rows.append({"bond": name, "count": len(chosen), **means})
    turned = molecule_at_rest.angles_deg(potential, pairs) - molecule_at_rest.angles_deg(dft, pairs)
    return {
        "bonds_a": rows,
        "largest_bond_error_a": (
            float(np.abs(lengths["potential"] - lengths["dft"]).max()) if pairs else None
        ),
        "largest_angle_error_deg": float(np.abs(turned).max()) if len(turned) else None,
    }


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _pair(potential: float, dft: float, unit: str, digits: int) -> tuple[str, str, str]:
    off = f"{100 * (potential - dft) / dft:+.2f} %" if dft else "not known"
    return f"{potential:.{digits}f} {unit}", f"{dft:.{digits}f} {unit}", off


def _notes(found: Comparison, *, rows: bool) -> tuple[str, ...]:
    """Why something is missing, and how far the geometries are apart."""
    if found.potential is None or found.dft is None:
        return ("no potential was validated.",)
    ours, notes = found.potential.details, list(found.missing)
    if not notes and not rows:
        notes.append("no potential was validated.")
    if ours.get("bonds_a"):
        bond, angle = ours["largest_bond_error_a"], ours["largest_angle_error_deg"]
        notes.append(
            f"Largest difference of a bond {_number(bond)} Å, of an angle {_number(angle)}°. Where"
            f" DFT was asked last, its largest force was"
            f" {_number(found.dft.details['force_at_rest_ev_per_a'])} eV/Å."
        )
    return tuple(notes)


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3g}"
