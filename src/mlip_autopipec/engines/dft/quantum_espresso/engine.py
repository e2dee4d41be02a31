"""The labelling engine ``quantum_espresso``: pw.x behind the port
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
from mlip_autopipec.engines.dft.quantum_espresso import (
    config,
    continuation,
    cost,
    doctor,
    hubbard,
    outputs,
    pseudos,
    watch,
)
from mlip_autopipec.engines.dft.quantum_espresso import method as methods
from mlip_autopipec.engines.dft.quantum_espresso.asked import Wishes
from mlip_autopipec.engines.dft.quantum_espresso.cures import repair
from mlip_autopipec.engines.dft.quantum_espresso.diagnose import diagnose
from mlip_autopipec.engines.dft.quantum_espresso.inputs import PSEUDO_FOLDER, write_input
from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft_port import (
    CellSize,
    DftMethod,
    DftWishes,
    Diagnosis,
    Knob,
    MethodChoice,
)
from mlip_autopipec.science.label_set import LabelSet

__all__ = ["QuantumEspresso"]


class QuantumEspresso:
    """Plane-wave DFT with Quantum ESPRESSO 6.7-7.2 (Giannozzi et al., J. Phys.: Condens.

    Matter 29, 465901, 2017).
    """

    title = "Quantum ESPRESSO"
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
        """pw.x, mpirun where ranks need it, and the pseudopotentials of the method's family."""
        config.command(cores, {})
        methods.check_family(cast(Method, method), elements)
        for symbol in elements:
            pseudos.locate(cast(Method, method).pseudo_family, symbol)

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
        """``pw.in``, links to the pseudopotentials (hash-checked) and the command.

        Raises MissingProgramError (pw.x, mpirun or a pseudopotential is not there) or InputError
        (also when an installed pseudopotential is not the one whose checksum the method carries).
        """
        method = Method.of_job(job)
        methods.check_family(method, set(job.atoms.get_chemical_symbols()))
        paths = {
            symbol: pseudos.locate(method.pseudo_family, symbol)
            for symbol in sorted(set(job.atoms.get_chemical_symbols()))
        }
        pseudos.check_recorded(paths, method.pseudo_sha256)
        valence = {symbol: pseudos.z_valence(path) for symbol, path in paths.items()}
        version = hubbard.program_version() if method.hubbard else None
        text = write_input(job, z_valence=valence, max_seconds=walltime_s, version=version)
        links = {
            f"{PSEUDO_FOLDER}/{method.pseudos[symbol]}": str(path) for symbol, path in paths.items()
        }
        return Prepared(
            files={config.INPUT: text},
            command=config.command(cores, job.numerics),
            stdout=config.OUTPUT,
            env=config.environment(cores, job.numerics),
            links=links,
        )

    def parse(self, folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
        """See :func:`outputs.parse_folder`; ``exit_code`` None: nobody saw the end, the files alone
        decide.
        """
        return outputs.parse_folder(folder, job, exit_code)

    def repair(self, job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
        """See :func:`repair.repair`."""
        return repair(job, failures)

    def resume(self, prepared: Prepared, earlier: Path, folder: Path) -> Prepared:
        """See :func:`continuation.resume`: go on where the attempt in ``earlier`` stopped
        itself.
        """
        return continuation.resume(prepared, earlier, folder)

    def watch(self, folder: Path) -> None:
        """See :func:`watch.stop_if_stuck`: ask a hopeless running attempt to stop."""
        watch.stop_if_stuck(folder)

    def scratch(self, folder: Path) -> Sequence[Path]:
        """Wave functions, densities and copies of pseudopotentials; XML and what was printed
        stay.
        """
        found = (path for place in ("out", "tmp") for path in (folder / place).rglob("*"))
        return [path for path in found if path.is_file() and path.suffix != ".xml"]

    def knobs(
        self, method: DftMethod, elements: Iterable[str], periodic: tuple[bool, bool, bool]
    ) -> Sequence[Knob]:
        """See :func:`method.knobs`."""
        return methods.knobs(cast(Method, method), elements, periodic)

    def least(self, method: DftMethod, rest: LabelSet) -> Mapping[str, tuple[float, str]]:
        """See :func:`method.least`."""
        return methods.least(cast(Method, method), rest)

    def hardness(self, method: DftMethod, symbol: str) -> float:
        """See :func:`method.hardness_ry`."""
        return methods.hardness_ry(cast(Method, method), symbol)

    def diagnose(self, path: Path) -> Diagnosis:
        """See :func:`diagnose.diagnose`."""
        return diagnose(path)
