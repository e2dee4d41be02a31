"""Simulated engines for tests of the loop, and a small plan that uses them.

The simulated engines are quick and deterministic, but honest about failure: a label exists only
when its command has ended, and each finished command leaves a line in the file named by
``MLIP_TESTING_LEDGER``, so that a test can count how often every calculation was really done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.io.lammpsdata import write_lammps_data

from mlip_autopipec.base.files import append_line, read_json, write_json
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.structures import Candidate, Provenance, atoms_to_json
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.engines.ports import (
    SAMPLES,
    SNAPSHOT,
    MdExample,
    MdJob,
    MdResult,
    Trained,
    TrainerSettings,
    TrainJob,
)
from mlip_autopipec.engines.unknown_elements import refuse_unknown
from mlip_autopipec.testing.simulated_dft import METHOD, SimulatedDft

__all__ = [
    "GradedEmt",
    "SimulatedDft",
    "SimulatedMd",
    "SimulatedSurrogate",
    "SimulatedTrainer",
    "simulated_plan",
]


class GradedEmt(Calculator):
    """Effective-medium theory with a made-up extrapolation grade, which grows with the forces and
    falls with the number of ``labels`` that the potential was fitted to.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "energies", "forces", "stress"]  # type: ignore[misc]

    def __init__(self, labels: int = 0) -> None:
        super().__init__()
        self.labels = labels

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        inner = self.atoms.copy()
        inner.calc = EMT()
        self.results = {
            "energy": inner.get_potential_energy(),
            "forces": inner.get_forces(),
            "stress": inner.get_stress(),
            "energies": inner.get_potential_energies(),
            "gamma": 1.0
            + 50.0 * np.exp(-self.labels / 6) * np.linalg.norm(inner.get_forces(), axis=1),
        }


class SimulatedSettings(TrainerSettings):
    """``rattle_a``: tells two settings apart; the "fit" does not look at it."""

    rattle_a: float = 0.0


class SimulatedTrainer:
    """A "fit" that knows effective-medium theory already, so that its errors are nought.

    A warm start counts on from the fits of the potential that it starts from.
    """

    family = "simulated"
    schema: type[TrainerSettings] = SimulatedSettings

    def files(self) -> Mapping[str, str]:
        return {"fit.json": "the simulated potential"}

    def prepare(self, job: TrainJob, folder: Path) -> Prepared:
        before = None if job.warm_start is None else job.warm_start / "fit.json"
        # Potentials of version 0.1 lack the file.
        earlier = read_json(before)["fits"] if before is not None and before.exists() else 0
        fit = {"labels": len(job.train) + len(job.test), "fits": earlier + 1}
        return Prepared(
            {"fit.json": json.dumps(fit)}, ("sh", "-c", "sleep 0.1; cp fit.json fitted.json")
        )

    def parse(self, job: TrainJob, folder: Path, exit_code: int) -> Trained | Failure:
        if exit_code != 0:
            return Failure("training", f"exit code {exit_code}")
        if not (folder / "fitted.json").is_file():
            return Failure("training", "the fit left nothing")
        potential = folder / "potential"
        potential.mkdir(exist_ok=True)
        errors = {"energy_rmse_mev_per_atom": 0.0, "force_rmse_mev_per_a": 0.0}
        metrics: Json = {
            "trainer": f"{type(self).__module__}:{type(self).__qualname__}",
            "train": {"n_structures": len(job.train), **errors},
            "test": {"n_structures": len(job.test), **errors},
            "gamma_train_max": 1.0,
        }
        (potential / "fit.json").write_bytes((folder / "fitted.json").read_bytes())
        write_json(potential / "metrics.json", metrics)
        write_json(potential / "predictions.json", {"train": [], "test": []})
        return Trained(potential, metrics)

    def calculator(self, potential: Path) -> Calculator:
        fit = potential / "fit.json"  # potentials of version 0.1 lack it
        return GradedEmt(int(read_json(fit)["labels"]) if fit.is_file() else 0)


class _Emt(EMT):
    """Effective-medium theory that answers an unknown element as a surrogate has to."""

    elements = frozenset({"Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt"})

    def calculate(self, atoms: Atoms | None = None, *args: Any, **kwargs: Any) -> None:
        if atoms is not None:
            refuse_unknown(atoms.get_chemical_symbols(), self.elements, "EMT")
        super().calculate(atoms, *args, **kwargs)


class SimulatedSurrogate:
    """Effective-medium theory as the pretrained potential."""

    def calculator(self) -> Calculator:
        return _Emt()

    def supports(self, symbols: Sequence[str]) -> bool:
        return set(symbols) <= _Emt.elements

    def require(self) -> None:
        """Nothing has to be installed."""


# MD steps between two looks.
STEPS = 100


class SimulatedMd:
    """MD that knows more with each potential: breaks with the first three, then makes its run.

    Grades follow from the number with which the name of a potential begins.
    """

    def require(self, family: str) -> None:
        """It looks at no potential."""

    def write_examples(self, asked: MdExample) -> None:
        """The start cell alone."""
        write_lammps_data(
            asked.out / "structure.data",
            asked.start,
            specorder=list(asked.elements),
            masses=True,
            units="metal",
        )

    def run(self, job: MdJob, folder: Path) -> MdResult | Failure:
        rng = np.random.default_rng(job.seed)
        stream = folder / "stream.jsonl"
        done: Json = {
            **dict.fromkeys(("steps", "swaps", "breaks", "candidates", "samples"), 0),
            "gamma_max": 0.0,
        }
        pointer = read_json(job.pointer)
        if (folder / SNAPSHOT).is_file():
            done["steps"] = int(read_json(folder / SNAPSHOT)["steps"])
            append_line(stream, _line("resume", done))
        ps_each = STEPS * job.timestep_fs / 1000
        since, broke, served_until = done["steps"], False, time.monotonic() + job.wait_s
        while True:
            made = (done["steps"] - since) * job.timestep_fs / 1000 - job.equilibration_ps
            made = min(max(0.0, made), job.run_ps)
            if made >= job.run_ps - 1e-9 and (
                not job.serve or done["swaps"] or time.monotonic() >= served_until
            ):
                break
            newer = read_json(job.pointer)
            if newer["name"] != pointer["name"]:
                append_line(stream, _line("swap", done, old=pointer["name"], new=newer["name"]))
                pointer, since, made = newer, done["steps"], 0.0
                done |= {"swaps": done["swaps"] + 1, "samples": 0, "gamma_max": 0.0}
                if broke:
                    append_line(stream, _line("resume", done))
                    broke = False
            gamma = 4.0 * job.gamma_break / (1.0 + 1.2 * int(pointer["name"].split("-")[0]))
            done["gamma_max"] = max(done["gamma_max"], gamma)
            done["steps"] += STEPS
            progress = {"ps": done["steps"] * job.timestep_fs / 1000, "clean_ps": made}
            progress |= {"gamma_max": gamma, "potential": pointer["name"]}
            if gamma > job.gamma_break:
                done |= {"breaks": done["breaks"] + 1, "candidates": done["candidates"] + 1}
                done["samples"] = 0
                append_line(stream, self._candidate(job, folder, done, gamma, pointer["name"], rng))
                append_line(stream, _line("break", done, gamma=gamma, potential=pointer["name"]))
                append_line(stream, _line("progress", done, **progress, state="waiting"))
                broke, made = True, 0.0
                write_json(folder / SNAPSHOT, {"steps": done["steps"]}, flush=False)
                if not _wait(job, pointer["name"]):
                    break
                continue
            if ps_each + made > (done["samples"] + 1) * job.sample_every_ps and made < job.run_ps:
                done["samples"] += 1
                self._sample(job, folder, done, gamma, pointer["name"], rng)
            append_line(stream, _line("progress", done, **progress, state="running"))
            write_json(folder / SNAPSHOT, {"steps": done["steps"]}, flush=False)
            time.sleep(0.02)
        return MdResult(
            **done,
            ps=done["steps"] * job.timestep_fs / 1000,
            clean_ps=made,
            clean=made >= job.run_ps - 1e-9,
            potential=pointer["name"],
            temperature_mean_k=job.temperature_k,
        )

    def _sample(
        self,
        job: MdJob,
        folder: Path,
        done: Json,
        gamma: float,
        potential: str,
        rng: np.random.Generator,
    ) -> None:
        atoms = _moved(job, rng)
        line = {
            "atoms": atoms_to_json(atoms),
            "step": done["steps"],
            "ps": done["steps"] * job.timestep_fs / 1000,
            "potential": potential,
            "gamma_max": gamma,
            "group": _group(job),
        }
        append_line(folder / SAMPLES, line)

    def _candidate(
        self,
        job: MdJob,
        folder: Path,
        done: Json,
        gamma: float,
        potential: str,
        rng: np.random.Generator,
    ) -> Json:
        atoms = _moved(job, rng)
        provenance = Provenance("md", _group(job), seed=job.seed, potential=potential)
        candidate = Candidate(atoms, provenance, gamma_max=gamma)
        name = f"candidate-{done['candidates']:03d}.json"
        write_json(folder / name, {**candidate.to_json(), "gamma": [gamma] * len(atoms)})
        return _line("candidate", done, file=name, gamma=gamma, potential=potential)


def _group(job: MdJob) -> str:
    """The name of a trajectory."""
    return f"md-{job.temperature_k:g}-{job.seed}"


def _moved(job: MdJob, rng: np.random.Generator) -> Atoms:
    """The start cell, every atom some 0.05 Å off."""
    atoms: Atoms = job.start.copy()
    atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
    return atoms


def _line(kind: str, done: Json, **values: Any) -> Json:
    return {"type": kind, "step": done["steps"], **values}


def _wait(job: MdJob, name: str) -> bool:
    """Sleep until another potential is in force; False when none came in time."""
    end = time.monotonic() + job.wait_s
    while time.monotonic() < end:
        if read_json(job.pointer)["name"] != name:
            return True
        time.sleep(0.05)
    return False


def simulated_plan(
    name: str = "copper", *, initial: int = 8, cores: int = 2, **changes: Any
) -> Plan:
    """A plan for copper in which every engine is simulated. ``changes`` replace top-level
    sections.
    """
    here = "mlip_autopipec.testing"
    sections: Json = {
        "name": name,
        "goal": "general",
        "seed": 0,
        "material": {"formula": "Cu", "fractions": {"Cu": 1.0}},
        "dft": {"engine": f"{here}:SimulatedDft", "method": METHOD},
        "generation": {
            "batches": [
                [{"name": "prototypes", "count": 4}, {"name": "strain", "count": 6}],
                [{"name": "rattle", "count": 10}],
            ]
        },
        "surrogate": {"engine": f"{here}:SimulatedSurrogate"},
        "selection": {"initial_count": initial, "batch_count": 3},
        "training": {
            "fast_trainer": f"{here}:SimulatedTrainer",
            "trainer": f"{here}:SimulatedTrainer",
            "min_new_labels": 3,
            "settings": {},
        },
        "exploration": {
            "engine": f"{here}:SimulatedMd",
            "conditions": [
                {"name": "300K", "ensemble": "nvt", "temperature_k": 300},
                {"name": "900K", "ensemble": "npt", "temperature_k": 900},
            ],
            "md_atoms": 32,
            "timestep_fs": 2.0,
            "run_ps": 2.0,
            "equilibration_ps": 0.2,
            "gamma_select": 3.0,
            "gamma_break": 10.0,
            "wait_s": 300.0,
        },
        "embedding": {
            "max_dft_atoms": 40,
            "core_radius_a": 2.0,
            "buffer_a": 2.0,
            "environment_a": 3.0,
        },
        "validation": {"eos_strains": [-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06]},
        "convergence": {
            "on_policy_labels": 3,
            "energy_rmse_mev_per_atom": 50.0,
            "force_rmse_mev_per_a": 100.0,
        },
        "budget": {"dft_calls": 80, "wall_minutes": 60},
        "executor": {"cores": cores},
    }
    return Plan.model_validate({**sections, **changes})
