"""The trainer ``ace`` behind the Trainer port."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.process import TIMED_OUT, Prepared
from mlip_autopipec.base.tasks import Evidence, Failure
from mlip_autopipec.base.values import FloatArray, Json
from mlip_autopipec.engines.ports import (
    METRICS,
    POTENTIAL_FOLDER,
    PREDICTIONS,
    Trained,
    TrainerSettings,
    TrainJob,
)
from mlip_autopipec.engines.potential_folder import fit_folder
from mlip_autopipec.engines.train.ace_jax.jaxed import environment, require_package
from mlip_autopipec.engines.train.ace_jax.job import job_text
from mlip_autopipec.engines.train.ace_jax.posterior import Posterior, force_errors
from mlip_autopipec.engines.train.ace_jax.potential import FILES, AceJaxCalculator
from mlip_autopipec.engines.train.ace_jax.schema import AceJaxSettings

__all__ = ["AceJax"]

STDOUT, STDERR = "train.out", "stderr.txt"


class AceJax:
    """Linear ACE on the basis of ace-jax. Ignores ``warm_start``: a fit has one solution."""

    name = "ace"
    family = "mlip_autopipec.engines.train.ace_jax.lammps:AceJaxEvaluator"
    licence = "MIT (ace-jax)"
    schema: type[TrainerSettings] = AceJaxSettings

    def files(self) -> Mapping[str, str]:
        return FILES

    def prepare(self, job: TrainJob, folder: Path) -> Prepared:
        """Files and command of a fit.

        Raises MissingProgramError without ace-jax, InputError without data.
        """
        require_package()
        if not job.train:
            raise InputError(
                "no training structures", key="train", hint="label at least one structure first"
            )
        if all(item.core is not None for item in job.train) and job.masked_energy_weight <= 0:
            raise InputError(
                "every structure is masked", key="train", hint="label at least one whole cell"
            )
        return Prepared(
            files={"job.json": job_text(job)},
            command=(sys.executable, "-m", "mlip_autopipec.engines.train.ace_jax.run", "job.json"),
            stdout=STDOUT,
            env=environment(job.threads),
        )

    def parse(self, job: TrainJob, folder: Path, exit_code: int) -> Trained | Failure:
        """The potential in ``folder/potential`` or why there is none."""
        potential, evidence = folder / POTENTIAL_FOLDER, _last_lines(folder)
        if exit_code == TIMED_OUT:
            return Failure("walltime", "the fit was stopped at its wall time", evidence)
        if exit_code != 0:
            said = f": {evidence[-1].text}" if evidence else ""
            return Failure(
                "fit_failed", f"the fit ended with exit code {exit_code}{said}", evidence
            )
        missing = [n for n in (*FILES, METRICS, PREDICTIONS) if not (potential / n).is_file()]
        if missing:
            return Failure("no_potential", f"the fit left no {', '.join(missing)}", evidence)
        metrics: Json = read_json(potential / METRICS)
        numbers = [*metrics["train"].values(), *metrics["test"].values()]
        if not all(math.isfinite(number) for number in numbers if number is not None):
            return Failure(
                "not_finite", "the potential gives energies or forces that are not numbers"
            )
        return Trained(potential, metrics)

    def calculator(self, potential: Path) -> Calculator:
        """Total DFT energy (eV), forces, stress and ``results['gamma']``."""
        require_package()
        return AceJaxCalculator(fit_folder(potential))

    def force_errors(self, potential: Path, structures: Sequence[Atoms]) -> list[FloatArray]:
        """Calibrated standard error of a force component on each atom, (n_atoms,) eV/Å.

        Raises InputError for a potential from before it was kept.
        """
        require_package()
        return force_errors(fit_folder(potential), structures)

    def ensemble(self, potential: Path) -> list[Calculator]:
        """Calculators of the fits of resampled labels.

        Raises InputError for a potential from before they were kept.
        """
        require_package()
        own = fit_folder(potential)
        resampled = Posterior.load(own).resampled
        return [AceJaxCalculator(own, coefficients) for coefficients in resampled]


def _last_lines(folder: Path, count: int = 3) -> tuple[Evidence, ...]:
    """The last lines of standard error: of a traceback, the error."""
    path = folder / STDERR
    if not path.is_file():
        return ()
    lines = path.read_text(errors="replace").splitlines()
    shown = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    return tuple(Evidence(STDERR, number, line[:300]) for number, line in shown[-count:])
