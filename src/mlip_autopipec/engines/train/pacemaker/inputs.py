"""What a fit reads: ``job.json`` (all of it) and the input file of the `pacemaker` program."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.ports import METRICS, TrainJob
from mlip_autopipec.engines.potential_folder import fit_folder
from mlip_autopipec.engines.train.pacemaker.config import TrainerName, basis_spec
from mlip_autopipec.engines.train.pacemaker.data import fittable_functions
from mlip_autopipec.engines.train.pacemaker.schema import LinearSettings, PacemakerSettings
from mlip_autopipec.science.baseline import Zbl
from mlip_autopipec.science.lattices import fully_periodic

__all__ = [
    "FitSettings",
    "job_text",
    "pacemaker_input",
    "read_job",
    "read_prior",
    "settings_of",
    "usable_warm_start",
]


LADDER_STEPS = 3


@dataclass(frozen=True)
class FitSettings:
    """The settings of one fit, resolved. ``warm_start``: folder of a potential with the same basis,
    or None. ``max_iterations``: 0 for a linear fit. ``baseline``: what the labels of a job are less
    when they are read (none in jobs from before it).
    """

    trainer: TrainerName
    elements: tuple[str, ...]
    cutoff_a: float
    functions_per_element: dict[str, int]
    max_iterations: int
    kappa: float
    seed: int
    masked_energy_weight: float
    warm_start: str | None
    threads: int
    baseline: str = "none"

    @property
    def subtracted(self) -> Zbl | None:
        """What a fit does not see."""
        return Zbl.of(self.elements) if self.baseline == "zbl" else None

    @property
    def basis(self) -> Json:
        """What must be equal for one potential to be the start of another."""
        basis: Json = {
            "trainer": self.trainer,
            "elements": list(self.elements),
            "cutoff_a": self.cutoff_a,
            "functions_per_element": self.equal_functions or self.functions_per_element,
        }
        if self.baseline != "none":  # potentials from before it have no such key
            basis["baseline"] = self.baseline
        return basis

    @property
    def equal_functions(self) -> int | None:
        """Functions of every element where they are as many for each, else None."""
        numbers = set(self.functions_per_element.values())
        return numbers.pop() if len(numbers) == 1 else None


def settings_of(job: TrainJob, trainer: TrainerName) -> FitSettings:
    """Settings of a job. The basis of a linear fit is as asked, however few the labels (its ridge
    sees to that); that of a non-linear one no larger than they can carry. A warm start only where
    the basis is the same.
    """
    asked = job.settings
    assert isinstance(asked, LinearSettings)
    elements = tuple(sorted(job.elements))
    functions = dict.fromkeys(elements, asked.functions_per_element)
    if trainer == "pacemaker":
        # tensorpot wants as many radial functions of a pair seen from either of its elements
        found = fittable_functions(job.train, elements, asked.functions_per_element)
        functions = dict.fromkeys(elements, min(found.values()))
    settings = FitSettings(
        trainer=trainer,
        elements=elements,
        cutoff_a=float(asked.cutoff_a),
        functions_per_element=functions,
        max_iterations=0,
        kappa=asked.kappa,
        seed=job.seed,
        masked_energy_weight=job.masked_energy_weight,
        warm_start=None,
        threads=job.threads,
        baseline=asked.baseline,
    )
    if not isinstance(asked, PacemakerSettings):
        return settings
    folder = usable_warm_start(job.warm_start, settings.basis)
    # More labels carry more functions: such a fit has no start and needs all of its steps.
    steps = asked.max_iterations if folder is None else asked.warm_iterations
    return replace(settings, warm_start=folder, max_iterations=steps)


def usable_warm_start(folder: Path | None, basis: Json) -> str | None:
    """The folder as text when its potential has this basis (by its metrics.json), else None: the
    fit starts cold.
    """
    if folder is None:
        return None
    folder = fit_folder(folder)
    if not (folder / METRICS).is_file():
        return None
    return str(folder.resolve()) if read_json(folder / METRICS).get("basis") == basis else None


def job_text(job: TrainJob, settings: FitSettings) -> str:
    """``job.json``: settings, both sets, and what a surrogate says."""
    data = {
        "settings": asdict(settings),
        "train": [item.to_json() for item in job.train],
        "test": [item.to_json() for item in job.test],
        "prior": [item.to_json() for item in job.prior],
    }
    return json.dumps(data)


def read_job(path: Path) -> tuple[FitSettings, list[LabelledStructure], list[LabelledStructure]]:
    """Inverse of :func:`job_text`, but for slabs, wires and left-handed cells, which come as fully
    periodic, right-handed ones: python-ace knows no others.
    """
    data = read_json(path)
    settings = data["settings"]
    fit = FitSettings(**{**settings, "elements": tuple(settings["elements"])})
    train, test = (
        [_fittable(item, fit.cutoff_a) for item in data[part]] for part in ("train", "test")
    )
    return fit, train, test


def read_prior(path: Path) -> list[LabelledStructure]:
    """The surrogate's labels of a job, as :func:`read_job` gives those of DFT."""
    data = read_json(path)
    cutoff_a = data["settings"]["cutoff_a"]
    return [_fittable(item, cutoff_a) for item in data.get("prior", ())]


def _fittable(data: Json, cutoff_a: float) -> LabelledStructure:
    item = LabelledStructure.from_json(data)
    atoms = fully_periodic(item.atoms, cutoff_a)
    if item.atoms.pbc.all():
        return replace(item, atoms=atoms)
    # The stress of a cell with vacuum says nothing of the cell that it becomes here.
    return replace(item, atoms=atoms, label=replace(item.label, stress=None))


def pacemaker_input(settings: FitSettings, *, data: str, start: str | None) -> str:
    """``input.yaml`` (JSON is YAML). ``data``: gzipped pickle; ``start``: potential to start from.

    Without a start the basis grows in a ladder of three steps, ``max_iterations`` each: the short
    expansions are settled before the high orders, which fit what is left, come in.
    """
    fit: Json = {
        "loss": {"kappa": settings.kappa, "L1_coeffs": 1e-8, "L2_coeffs": 1e-8},
        "optimizer": "BFGS",
        "maxiter": settings.max_iterations,
    }
    potential: Json | str
    if start is None:
        most = max(settings.functions_per_element.values())
        potential = basis_spec(settings.elements, most, settings.cutoff_a, linear=False)
        total = sum(settings.functions_per_element.values())
        fit |= {"ladder_step": -(-total // LADDER_STEPS), "ladder_type": "power_order"}
    else:
        potential = start
    content: Json = {
        "seed": settings.seed,
        "data": {"filename": data},
        "potential": potential,
        "fit": fit,
        "backend": {"evaluator": "tensorpot", "batch_size": 60, "display_step": 50},
    }
    return json.dumps(content, indent=1) + "\n"
