"""The trainers of this folder behind the Trainer port: `linear` (seconds; knows its errors),
`pacemaker` (minutes, non-linear).
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import Calculator

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.process import Prepared
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
from mlip_autopipec.engines.train.pacemaker.config import (
    FILES,
    POSTERIOR,
    TrainerName,
    find_program,
    require_package,
)
from mlip_autopipec.engines.train.pacemaker.fit_nonlinear import thread_environment
from mlip_autopipec.engines.train.pacemaker.inputs import job_text, settings_of
from mlip_autopipec.engines.train.pacemaker.posterior import force_errors, stored_posterior
from mlip_autopipec.engines.train.pacemaker.potential import load_calculator
from mlip_autopipec.engines.train.pacemaker.schema import LinearSettings, PacemakerSettings
from mlip_autopipec.science.baseline import BASELINE

__all__ = ["LinearAce", "Pacemaker"]

STDOUT, STDERR = "train.out", "stderr.txt"
WALLTIME_EXIT = 124
_ERROR_LINE = re.compile(r"(\w+\.)*\w*(Error|Exception)\b: \S")


class _AceTrainer:
    """What both trainers share: one command, one potential folder, one calculator."""

    name: TrainerName
    family = "ace"
    licence = "Academic Software Licence, non-commercial (python-ace)"
    schema: type[TrainerSettings]

    def files(self) -> Mapping[str, str]:
        return FILES

    def prepare(self, job: TrainJob, folder: Path) -> Prepared:
        """Files and command of a fit.

        Raises MissingProgramError without python-ace, InputError without data.
        """
        require_package("pyace")
        if not job.train:
            raise InputError(
                "no training structures", key="train", hint="label at least one structure first"
            )
        settings = settings_of(job, self.name)
        return Prepared(
            files={"job.json": job_text(job, settings)},
            command=(
                sys.executable,
                "-m",
                "mlip_autopipec.engines.train.pacemaker.run",
                "job.json",
            ),
            stdout=STDOUT,
            env=thread_environment(job.threads),
        )

    def parse(self, job: TrainJob, folder: Path, exit_code: int) -> Trained | Failure:
        """The potential in ``folder/potential`` or why there is none."""
        potential = folder / POTENTIAL_FOLDER
        if exit_code == WALLTIME_EXIT:
            return Failure("walltime", "the fit was stopped at its wall time", _last_lines(folder))
        if exit_code != 0:
            said = _error_line(folder)
            message = f"the fit ended with exit code {exit_code}"
            if said is None:
                return Failure("fit_failed", message, _last_lines(folder))
            return Failure("fit_failed", f"{message}: {said.text}", (said, *_last_lines(folder)))
        missing = [
            name
            for name in (*self.files(), METRICS, PREDICTIONS)
            # Fits from before there were baselines have no such file.
            if name != BASELINE and not (potential / name).is_file()
        ]
        if missing:
            return Failure(
                "no_potential", f"the fit left no {', '.join(missing)}", _last_lines(folder)
            )
        metrics: Json = read_json(potential / METRICS)
        numbers = [
            metrics["gamma_train_max"],
            *metrics["train"].values(),
            *metrics["test"].values(),
        ]
        if not all(math.isfinite(number) for number in numbers if number is not None):
            return Failure(
                "not_finite", "the potential gives energies or forces that are not numbers"
            )
        return Trained(potential, metrics)

    def calculator(self, potential: Path) -> Calculator:
        """Total DFT energy (eV), energies, forces, stress and ``results['gamma']``."""
        require_package("pyace")
        return load_calculator(fit_folder(potential))


class LinearAce(_AceTrainer):
    """Linear ACE by cross-validated ridge regression. Ignores ``warm_start``."""

    name: TrainerName = "linear"
    schema = LinearSettings

    def files(self) -> Mapping[str, str]:
        return {**FILES, POSTERIOR: "what the predicted force errors and resampled fits are from"}

    def force_errors(self, potential: Path, structures: Sequence[Atoms]) -> list[FloatArray]:
        """Calibrated standard error of a force component on each atom, (n_atoms,) eV/Å.

        Raises InputError for a potential from before it was kept.
        """
        require_package("pyace")
        return force_errors(fit_folder(potential), structures)

    def ensemble(self, potential: Path) -> list[Calculator]:
        """Calculators of the fits of resampled groups of labels."""
        require_package("pyace")
        own = fit_folder(potential)
        resampled = stored_posterior(own).resampled
        return [load_calculator(own, coefficients) for coefficients in resampled]


class Pacemaker(_AceTrainer):
    """Nonlinear ACE by the `pacemaker` program."""

    name: TrainerName = "pacemaker"
    licence = "Academic Software Licence, non-commercial (python-ace, tensorpotential)"
    schema = PacemakerSettings

    def prepare(self, job: TrainJob, folder: Path) -> Prepared:
        find_program("pacemaker")
        require_package("tensorpotential")
        require_package("tensorflow")
        return super().prepare(job, folder)


def _error_line(folder: Path) -> Evidence | None:
    """The line in which a program says what is wrong: the first error of a traceback, for later
    ones only tell that it ended.
    """
    for name in (STDERR, STDOUT):
        if (folder / name).is_file():
            text = (folder / name).read_text(errors="replace")
            for number, line in enumerate(text.splitlines(), 1):
                if _ERROR_LINE.match(line):
                    return Evidence(name, number, line[:300])
    return None


def _last_lines(folder: Path, count: int = 3) -> tuple[Evidence, ...]:
    """The last lines with content of standard error and output."""
    evidence: list[Evidence] = []
    for name in (STDERR, STDOUT):
        if (folder / name).is_file():
            lines = (folder / name).read_text(errors="replace").splitlines()
            shown = [(number, line) for number, line in enumerate(lines, 1) if line.strip()][
                -count:
            ]
            evidence += [Evidence(name, number, line[:300]) for number, line in shown]
    return tuple(evidence)
