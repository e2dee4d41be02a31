"""``validate`` for a molecule: relaxed geometry and vibrations by the potential beside those of
DFT.

DFT has been asked at the surrogate's minimum, one Newton step from there, and at displacements
along a few of the surrogate's normal modes around that second point. Frequencies of both come from
forces at these same geometries, so that their difference is the potential's error alone. The
geometries are each one's own: the potential is relaxed, DFT's minimum is one more Newton step from
its last labelled point.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.optimize import BFGS
from numpy.typing import NDArray

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.base.tasks import Failure, Outcome, TaskSpec
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines import registry
from mlip_autopipec.science.generation.normal_modes import Modes
from mlip_autopipec.science.properties import molecule

__all__ = ["run"]

FloatArray = NDArray[np.float64]

RELAXED_EV_PER_A = 0.002
STEPS = 300
#: A relaxation that ends this far from DFT's molecule found another one, or none.
SAME_MOLECULE_A = 0.5


@dataclass(frozen=True, slots=True)
class _Point:
    candidate: Candidate
    forces: FloatArray

    @property
    def atoms(self) -> Atoms:
        return self.candidate.atoms

    @property
    def parameters(self) -> Json:
        return self.candidate.provenance.parameters


def run(spec: TaskSpec, plan: Plan, folder: Path) -> Outcome:
    """Compare ``payload["potential"]`` with the labels ``molecule_labels``; ``modes``: the task
    that found the modes.

    ``geometry_rmsd_a`` and ``frequency_rmse_per_cm`` are None where there is nothing to compare,
    with the reason under ``molecule``. Failure ``validation_data``: DFT was never asked for the
    molecule at rest.
    """
    points = [_point(spec.input_folder(task_id)) for task_id in spec.payload["molecule_labels"]]
    at_rest = [point for point in points if "minimum_of" in point.parameters]
    if not at_rest:
        return Outcome(None, Failure("validation_data", "DFT did not label the molecule at rest"))
    nearest = min(at_rest, key=lambda point: float(np.abs(point.forces).max()))
    found = read_json(spec.input_folder(spec.payload["modes"]) / "outcome.json")["result"]
    modes = molecule.modes_from_json(found["modes"]) if "modes" in found else None
    calculator = registry.trainer(plan.training.trainer).calculator(
        Path(spec.root) / spec.payload["potential"]
    )

    step = (
        molecule.newton_step_a(nearest.atoms, nearest.forces, modes)
        if modes
        else np.zeros((len(nearest.atoms), 3))
    )
    dft = _moved(nearest.atoms, step)
    relaxed, trouble = _relaxed(dft, calculator)
    frequencies = _frequencies(points, modes, calculator) if modes else {}
    result: Json = {
        "geometry_rmsd_a": None if trouble else molecule.geometry_rmsd_a(dft, relaxed),
        "frequency_rmse_per_cm": _rmse(frequencies),
        "molecule": {
            "failure": trouble,
            "frequencies_per_cm": frequencies,
            **({} if trouble else _internal(dft, relaxed)),
            "dft_force_at_rest_ev_per_a": float(np.linalg.norm(nearest.forces, axis=1).max()),
            "last_dft_step_a": float(np.linalg.norm(step, axis=1).max()),
            "force_rmse_at_rest_mev_per_a": (
                1000 * _rms(_forces(nearest.atoms, calculator) - nearest.forces)
            ),
        },
    }
    write_json(folder / "validation.json", result)
    return Outcome(result)


def _point(folder: Path) -> _Point:
    candidate = Candidate.from_json(read_json(folder / "spec.json")["payload"]["candidate"])
    return _Point(candidate, Label.from_json(read_json(folder / "outcome.json")["result"]).forces)


def _moved(atoms: Atoms, step: FloatArray) -> Atoms:
    moved: Atoms = atoms.copy()
    moved.positions += step
    return moved


def _forces(atoms: Atoms, calculator: Calculator) -> FloatArray:
    copy = atoms.copy()
    copy.calc = calculator
    return np.asarray(copy.get_forces(), dtype=float)


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
        or molecule.geometry_rmsd_a(atoms, found) > SAME_MOLECULE_A
    ):
        return (
            found,
            (
                "relaxed by the potential, the molecule leaves its shape by more than"
                f" {SAME_MOLECULE_A} Å"
            ),
        )
    if not converged:
        return (
            found,
            f"the potential did not relax the molecule to {RELAXED_EV_PER_A} eV/Å in {STEPS} steps",
        )
    return found, None


def _frequencies(points: list[_Point], modes: Modes, calculator: Calculator) -> Json:
    """Wavenumbers (1/cm), rising, by ``dft`` and ``potential``, from the modes whose two labels
    both exist.
    """
    sides: dict[int, dict[int, _Point]] = {}
    for point in points:
        if "mode" in point.parameters:
            sides.setdefault(int(point.parameters["mode"]), {})[int(point.parameters["sign"])] = (
                point
            )
    both = {mode: pair for mode, pair in sorted(sides.items()) if len(pair) == 2}
    if not both:
        return {}

    def of(forces: dict[int, dict[int, FloatArray]]) -> list[float]:
        probes = [
            molecule.Probe(
                mode,
                float(pair[1].parameters["coordinate_a_amu12"]),
                forces[mode][1],
                forces[mode][-1],
            )
            for mode, pair in both.items()
        ]
        atoms = next(iter(both.values()))[1].atoms
        return [float(value) for value in molecule.wavenumbers_per_cm(atoms, modes, probes)]

    return {
        "dft": of(
            {
                mode: {sign: point.forces for sign, point in pair.items()}
                for mode, pair in both.items()
            }
        ),
        "potential": of(
            {
                mode: {sign: _forces(point.atoms, calculator) for sign, point in pair.items()}
                for mode, pair in both.items()
            }
        ),
        "surrogate": [float(modes.wavenumbers_per_cm[mode]) for mode in both],
    }


def _internal(dft: Atoms, potential: Atoms) -> Json:
    """Mean bond lengths (Å) by the two elements, and the largest differences of bonds (Å) and
    angles (degrees).
    """
    pairs = molecule.bonds(dft)
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
    turned = molecule.angles_deg(potential, pairs) - molecule.angles_deg(dft, pairs)
    return {
        "bonds_a": rows,
        "largest_bond_error_a": (
            float(np.abs(lengths["potential"] - lengths["dft"]).max()) if pairs else None
        ),
        "largest_angle_error_deg": float(np.abs(turned).max()) if len(turned) else None,
    }


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _rmse(frequencies: Json) -> float | None:
    if not frequencies:
        return None
    return _rms(np.array(frequencies["potential"]) - np.array(frequencies["dft"]))
