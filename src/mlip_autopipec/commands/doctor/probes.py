"""Does the outside world work? One small real calculation per engine, each through its port.

``python -m mlip_autopipec.commands.doctor.probes NAME FOLDER [SETTINGS]`` does one probe in FOLDER
and prints one JSON line, so that a crash while importing a package takes this process down and not
the doctor. SETTINGS: JSON of what the probe takes beside its folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.build import molecule as molecule_of
from ase.calculators.lj import LennardJones
from ase.data import atomic_numbers, covalent_radii

from mlip_autopipec.base.errors import MlipError
from mlip_autopipec.base.files import write_json
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.commands.doctor.answers import Answer, Found
from mlip_autopipec.commands.doctor.one_job import probe
from mlip_autopipec.config.derive.surrogate import OFFLINE
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import MdJob, TrainJob
from mlip_autopipec.runtime.executors.local import LocalExecutor

__all__ = [
    "PROBES",
    "ProbeFailedError",
    "backend",
    "dft",
    "executor",
    "main",
    "md",
    "surrogate",
    "trainer",
]

_WALLTIME_S = 120.0
_POTENTIAL = "potential.txt"


class ProbeFailedError(MlipError):
    """The program ran, and what it said is wrong."""


def _require(condition: bool, complaint: str) -> None:
    if not condition:
        raise ProbeFailedError(complaint)


def dft(folder: Path, engine: str = registry.DEFAULT_DFT) -> Found:
    """The code's own example: the forces must cancel and pull its displaced atom back."""
    code = registry.dft_engine(engine)
    job = code.example()
    exit_code = run_prepared(
        code.prepare(job, walltime_s=_WALLTIME_S, cores=1), folder, _WALLTIME_S
    )
    label = code.parse(folder, job, exit_code)
    if isinstance(label, Failure):
        raise ProbeFailedError(f"{label.kind}: {label.message}")
    _require(
        label.forces[-1, 0] < -0.1, f"no force pulls a displaced atom back: {label.forces.tolist()}"
    )
    _require(
        float(np.abs(label.forces.sum(axis=0)).max()) < 0.02,
        f"the forces on {len(job.atoms)} atoms do not cancel",
    )
    detail = (
        f"{job.atoms.get_chemical_formula()}: {label.energy_ev / len(job.atoms):.2f} eV/atom,"
        f" {label.scf_steps} SCF steps"
    )
    return Found(detail, code.version(folder))


def _rattled(seed: int) -> Atoms:
    atoms = bulk("Si", a=5.47, cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def _labelled(seed: int) -> LabelledStructure:
    """A structure with made-up labels (Lennard-Jones): enough to fit to, never used for anything
    else.
    """
    atoms = _rattled(seed)
    atoms.calc = LennardJones(sigma=2.1, epsilon=0.5, rc=5.0, smooth=True)
    label = Label(
        energy_ev=float(atoms.get_potential_energy()),
        forces=atoms.get_forces(),
        stress=None,
        method_hash="probe",
        scf_steps=0,
        wall_s=0.0,
    )
    return LabelledStructure(
        f"probe-{seed}", _rattled(seed), label, Provenance("rattle", f"group-{seed}", seed=seed)
    )


def trainer(folder: Path) -> Found:
    """A tiny linear fit: gamma is at most about 1 where it was trained and large far from there."""
    engine = registry.trainer(registry.FAST_TRAINER)
    job = TrainJob(
        elements=("Si",),
        train=tuple(_labelled(seed) for seed in range(10)),
        test=tuple(_labelled(seed) for seed in (10, 11)),
        settings=engine.schema.model_validate(
            {"cutoff_a": 5.0, "functions_per_element": 20, "kappa": 0.3}
        ),
        seed=1,
    )
    code = run_prepared(engine.prepare(job, folder), folder, _WALLTIME_S)
    trained = engine.parse(job, folder, code)
    if isinstance(trained, Failure):
        raise ProbeFailedError(f"{trained.kind}: {trained.message}")
    (folder / _POTENTIAL).write_text(str(trained.folder))
    calculator = engine.calculator(trained.folder)
    gamma = []
    for atoms in (_rattled(0), bulk("Si", "fcc", a=3.2, cubic=True)):
        atoms.calc = calculator
        _require(bool(np.isfinite(atoms.get_potential_energy())), "the energy is not a number")
        gamma.append(float(np.max(calculator.results["gamma"])))
    _require(0 < gamma[0] < 2, f"gamma of a training structure is {gamma[0]:.3g}")
    _require(gamma[1] > 5, f"gamma of a structure far from the training set is {gamma[1]:.3g}")
    return Found(
        f"linear fit; gamma {gamma[0]:.2f} on the training set, {gamma[1]:.0f} far from it"
    )


def md(folder: Path) -> Found:
    """Ten steps of MD with the potential that :func:`trainer` left in the same parent folder."""
    note = folder.parent / "trainer" / _POTENTIAL
    _require(note.is_file(), "no potential to run with: the trainer's probe did not finish")
    pointer = folder / "current.json"
    made_by = {"folder": note.read_text(), "trainer": registry.FAST_TRAINER}
    write_json(pointer, {"name": "probe", **made_by})
    job = MdJob(
        start=_rattled(0).repeat((2, 2, 2)),
        elements=("Si",),
        ensemble="nvt",
        temperature_k=100.0,
        pressure_gpa=0.0,
        timestep_fs=1.0,
        run_ps=0.01,
        equilibration_ps=0.0,
        sample_every_ps=0.005,
        gamma_break=1e8,
        gamma_every=5,
        wait_s=1.0,
        seed=1,
        pointer=pointer,
    )
    result = registry.md_engine(registry.DEFAULT_MD).run(job, folder)
    if isinstance(result, Failure):
        raise ProbeFailedError(f"{result.kind}: {result.message}")
    _require(result.steps >= 10, f"only {result.steps} of 10 steps were made")
    _require(result.gamma_max > 0, "gamma is 0 along the run")
    return Found(
        f"{result.steps} steps of {len(job.start)} atoms, gamma up to {result.gamma_max:.2f}"
    )


def surrogate(
    folder: Path,
    engine: str = OFFLINE,
    model: str | None = None,
    elements: Sequence[str] = ("Si",),
    molecule: bool = False,
) -> Found:
    """The surrogate pulls a displaced atom back, and a stretched silicon crystal costs energy.

    Looked at is silicon, or the first of ``elements`` where it lacks that; for ``molecule`` water.
    """
    found = registry.surrogate(engine, model)
    crystal = "Si" if found.supports(["Si"]) else elements[0]
    atoms = _water() if molecule else _cell(crystal)
    step = np.array([0.1, 0.0, 0.0])
    if molecule:  # hydrogen along its bond
        step = 0.1 * (atoms.positions[1] - atoms.positions[0]) / atoms.get_distance(0, 1)
    atoms.positions[1] += step
    atoms.calc = found.calculator()
    energy = float(atoms.get_potential_energy()) / len(atoms)
    force = float(atoms.get_forces()[1] @ step) / 0.1
    _require(force < -0.1, f"no force pulls a displaced atom back: {force:.3f} eV/Å")
    formula = atoms.get_chemical_formula()
    if formula.startswith("Si"):
        atoms.set_cell(1.1 * atoms.cell, scale_atoms=True)
        rise = float(atoms.get_potential_energy()) / len(atoms) - energy
        _require(
            0.1 < rise < 1.0,
            f"a stretched crystal lies {rise:.2f} eV/atom higher, expected about 0.3",
        )
    return Found(f"{formula}: {energy:.2f} eV/atom", model or "")


def _water() -> Atoms:
    atoms: Atoms = molecule_of("H2O")
    atoms.center(vacuum=4.0)
    return atoms


def _cell(symbol: str) -> Atoms:
    """Silicon, or any other element in a close-packed crystal whose atoms are two covalent radii
    apart.
    """
    if symbol == "Si":
        return bulk("Si", a=5.47, cubic=True)
    return bulk(
        symbol, "fcc", a=2 * np.sqrt(2) * covalent_radii[atomic_numbers[symbol]], cubic=True
    )


def backend(folder: Path) -> Found:
    """Pacemaker's TensorFlow backend can be imported beside everything else."""
    import tensorflow
    import tensorpotential.compat.pace  # noqa: F401

    total = float(tensorflow.reduce_sum(tensorflow.constant([1.0, 2.0])))
    _require(total == 3.0, f"TensorFlow adds 1 and 2 to {total}")
    return Found(f"TensorFlow {tensorflow.__version__}")


def executor(folder: Path) -> Found:
    """A job of one second through the processes of this machine."""
    answer = probe(LocalExecutor(), folder, timeout_s=_WALLTIME_S)
    return Found(f"a job of one second came back after {answer.wait_s} s")


PROBES: dict[str, Callable[..., Found]] = {
    "dft": dft,
    "surrogate": surrogate,
    "trainer": trainer,
    "md": md,
    "backend": backend,
    "executor": executor,
}


def main(name: str, parent: Path, settings: Json | None = None) -> int:
    """Run one probe in ``parent/name`` and print an :class:`Answer` as the last line."""
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = PROBES[name](folder, **(settings or {}))
        answer = Answer(True, found.detail, found.version)
    except MlipError as error:
        answer = Answer(False, str(error), mend=getattr(error, "install", ""))
    except Exception as error:
        answer = Answer(False, f"{type(error).__name__}: {error}")
    print("\n" + json.dumps(asdict(answer)), flush=True)
    return 0 if answer.ok else 1


if __name__ == "__main__":
    sys.exit(
        main(
            sys.argv[1],
            Path(sys.argv[2]).resolve(),
            json.loads(sys.argv[3]) if len(sys.argv) > 3 else None,
        )
    )
