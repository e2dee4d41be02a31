"""The labelling engine ``quantum_espresso``: pw.x behind the port
:class:`mlip_autopipec.engines.ports.DftEngine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.quantum_espresso import (
    config,
    continuation,
    outputs,
    pseudos,
    watch,
)
from mlip_autopipec.engines.dft.quantum_espresso.cures import repair
from mlip_autopipec.engines.dft.quantum_espresso.inputs import PSEUDO_FOLDER, write_input

__all__ = ["QuantumEspresso"]


class QuantumEspresso:
    """Plane-wave DFT with Quantum ESPRESSO 6.7-7.2 (Giannozzi et al., J. Phys.: Condens.

    Matter 29, 465901, 2017).
    """

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        """``pw.in``, links to the pseudopotentials (hash-checked) and the command.

        Raises MissingProgramError (pw.x, mpirun or a pseudopotential is not there) or InputError
        (also when an installed pseudopotential is not the one whose checksum the method carries).
        """
        family = str(job.method["pseudo_family"])
        paths = {
            symbol: pseudos.locate(family, symbol)
            for symbol in sorted(set(job.atoms.get_chemical_symbols()))
        }
        pseudos.check_recorded(paths, job.method.get("pseudo_sha256", {}))
        valence = {symbol: pseudos.z_valence(path) for symbol, path in paths.items()}
        text = write_input(job, z_valence=valence, max_seconds=walltime_s)
        links = {
            f"{PSEUDO_FOLDER}/{job.method['pseudos'][symbol]}": str(path)
            for symbol, path in paths.items()
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
