"""The labelling engine ``cp2k``: Quickstep behind the port
:class:`mlip_autopipec.engines.dft_port.DftEngine`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from mlip_autopipec.base.checks import Check
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.cp2k import cost, doctor, failures, outputs, programs
from mlip_autopipec.engines.dft.cp2k import method as methods
from mlip_autopipec.engines.dft.cp2k.inputs import write_input
from mlip_autopipec.engines.dft.cp2k.method import Method, Wishes
from mlip_autopipec.engines.dft_port import CellSize, DftMethod, DftWishes, Knob, MethodChoice
from mlip_autopipec.science.label_set import LabelSet

__all__ = ["Cp2k"]


class Cp2k:
    """Density functional theory in Gaussians and plane waves with CP2K 2023.1 (T. D. Kühne et al.,
    J. Chem. Phys. 152, 194103, 2020).
    """

    title = "CP2K"
    Method: type[DftMethod] = Method
    Wishes: type[DftWishes] = Wishes
    chosen = methods.CHOSEN

    def method(self, needed: LabelSet, wishes: DftWishes) -> MethodChoice:
        """See :func:`method.derive`."""
        return methods.derive(needed, cast(Wishes, wishes))

    def cpu_s(self, method: DftMethod, size: CellSize) -> float:
        """See :func:`cost.cpu_s`."""
        return cost.cpu_s(cast(Method, method), size)

    def require(self, method: DftMethod, elements: Sequence[str], cores: int) -> None:
        """CP2K, mpirun where ranks need it, and the method's basis sets and pseudopotentials."""
        programs.command(cores, {})
        methods.check_recorded(cast(Method, method), elements)

    def checks(self) -> Iterable[Check]:
        """See :func:`doctor.checks`."""
        return doctor.checks()

    def example(self) -> LabelJob:
        """See :func:`doctor.example`."""
        return doctor.example()

    def version(self, folder: Path) -> str:
        """See :func:`doctor.version_in`."""
        return doctor.version_in(folder)

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        """``cp2k.inp`` and the command; basis sets and pseudopotentials are read from CP2K's data.

        Raises MissingProgramError, or InputError (also when the installed data are not those whose
        checksums the method carries).
        """
        text = write_input(job, max_seconds=walltime_s)
        symbols = sorted(set(job.atoms.get_chemical_symbols()))
        methods.check_recorded(Method.of_job(job), symbols)
        return Prepared(
            files={programs.INPUT: text},
            command=programs.command(cores, job.numerics),
            stdout=programs.OUTPUT,
            env=programs.environment(cores, job.numerics),
        )

    def parse(self, folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
        """See :func:`outputs.parse_folder`."""
        return outputs.parse_folder(folder, job, exit_code)

    def repair(self, job: LabelJob, failures_so_far: Sequence[Failure]) -> LabelJob | None:
        """See :func:`failures.repair`."""
        return failures.repair(job, failures_so_far)

    def scratch(self, folder: Path) -> Sequence[Path]:
        """Nothing: no wave functions are written, and the printed output is the record."""
        return ()

    def knobs(
        self, method: DftMethod, elements: Iterable[str], periodic: tuple[bool, bool, bool]
    ) -> Sequence[Knob]:
        """See :func:`method.knobs`."""
        return methods.knobs(cast(Method, method), periodic)

    def least(self, method: DftMethod, rest: LabelSet) -> Mapping[str, tuple[float, str]]:
        """See :func:`method.least`."""
        return methods.least(cast(Method, method), rest)

    def hardness(self, method: DftMethod, symbol: str) -> float:
        """See :func:`method.hardness`."""
        return methods.hardness(cast(Method, method), symbol)
