"""A simulated DFT code with a method of its own: effective-medium theory behind a shell command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, cast

from ase.build import bulk
from ase.calculators.emt import EMT
from pydantic import ConfigDict, model_validator

from mlip_autopipec.base.checks import Check
from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import Prepared
from mlip_autopipec.base.section import Positive, complaint
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import FloatArray, Json, content_hash
from mlip_autopipec.engines.dft.checks import label_problem
from mlip_autopipec.engines.dft_port import CellSize, DftMethod, DftWishes, Knob, MethodChoice
from mlip_autopipec.science import dft_rules, label_set
from mlip_autopipec.science.label_set import LabelSet

__all__ = ["LEDGER", "METHOD", "SimulatedDft"]

LEDGER = "MLIP_TESTING_LEDGER"

METHOD: Json = {"cutoff_ry": 10.0, "kspacing_per_a": 0.6, "kmesh_shifted": True}


_OF_EARLIER_RUNS = frozenset(
    {
        "conv_thr_ry_per_atom",
        "degauss_ry",
        "functional",
        "occupations",
        "pseudo_family",
        "pseudo_sha256",
        "pseudos",
        "rho_cutoff_ry",
        "smearing",
        "spin_polarized",
        "starting_moments",
    }
)
"""Settings that version 0.1 asked of every engine; they stand in its run folders, and in the hashes
of their labels.
"""


class _Method(DftMethod):
    """Settings without any effect on the labels, but for their hash."""

    model_config = ConfigDict(extra="allow", frozen=True)

    worth_a_note: ClassVar[tuple[str, ...]] = ("kspacing_per_a",)

    cutoff_ry: Positive
    kspacing_per_a: Positive
    kmesh_shifted: bool

    @model_validator(mode="after")
    def _no_other(self) -> _Method:
        if unknown := set(self.model_extra or {}) - _OF_EARLIER_RUNS:
            raise complaint(f"unknown: {', '.join(sorted(unknown))}", "leave it out")
        return self

    def kmesh(
        self, cell: FloatArray, periodic: tuple[bool, bool, bool]
    ) -> tuple[int, int, int] | None:
        return dft_rules.kmesh(cell, periodic, self.kspacing_per_a, self.kmesh_shifted)


class _Wishes(DftWishes):
    cutoff_ry: Positive | None = None
    kspacing_per_a: Positive | None = None


class SimulatedDft:
    """A structure whose hash ends in 0 fails once, then is healed."""

    title = "simulated DFT"
    Method: type[DftMethod] = _Method
    Wishes: type[DftWishes] = _Wishes
    chosen = ("cutoff_ry", "kspacing_per_a")

    def method(self, needed: LabelSet, wishes: DftWishes) -> MethodChoice:
        """The densest mesh that is needed; all else as it always is."""
        asked = cast(_Wishes, wishes)
        spacing = label_set.kspacing_per_a(needed)
        shifted = label_set.kmesh_shifted(needed)
        method = _Method(
            cutoff_ry=asked.cutoff_ry or METHOD["cutoff_ry"],
            kspacing_per_a=asked.kspacing_per_a or spacing.value,
            kmesh_shifted=shifted.value,
        )
        reasons = {
            "cutoff_ry": "given" if asked.cutoff_ry else "as always",
            "kspacing_per_a": "given" if asked.kspacing_per_a else spacing.reason,
            "kmesh_shifted": shifted.reason,
        }
        return MethodChoice(method, reasons)

    def cpu_s(self, method: DftMethod, size: CellSize) -> float:
        return 0.01 * size.atoms

    def require(self, method: DftMethod, elements: Sequence[str], cores: int) -> None:
        """Nothing has to be installed."""

    def checks(self) -> Iterable[Check]:
        return ()

    def example(self) -> LabelJob:
        atoms = bulk("Cu", cubic=True)
        atoms.positions[-1, 0] += 0.11  # a hash that does not end in 0
        return LabelJob(atoms, {"engine": "mlip_autopipec.testing:SimulatedDft", **METHOD})

    def version(self, folder: Path) -> str:
        return ""

    def prepare(self, job: LabelJob, *, walltime_s: float, cores: int) -> Prepared:
        name = content_hash([job.to_json()["atoms"], job.to_json()["kmesh"]])
        ledger = os.environ.get(LEDGER, "/dev/null")
        failing = name.endswith("0") and "mixing_beta" not in job.numerics
        finish = f"echo done > done.txt && echo {name} >> {ledger}"
        script = "sleep 0.05; " + ("exit 3" if failing else finish)
        return Prepared({"job.json": json.dumps(job.to_json())}, ("sh", "-c", script))

    def parse(self, folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
        if not (folder / "done.txt").exists():
            return Failure(
                "scf_not_converged" if exit_code == 3 else "interrupted", f"exit code {exit_code}"
            )
        atoms = job.atoms.copy()
        atoms.calc = EMT()
        label = Label(
            atoms.get_potential_energy(),
            atoms.get_forces(),
            atoms.get_stress(),
            job.method_hash,
            10,
            wall_s=0.05,
        )
        return label_problem(label, job) or label

    def repair(self, job: LabelJob, failures: Sequence[Failure]) -> LabelJob | None:
        return job.with_numerics(mixing_beta=0.3) if len(failures) == 1 else None

    def scratch(self, folder: Path) -> Sequence[Path]:
        return ()

    def knobs(
        self, method: DftMethod, elements: Iterable[str], periodic: tuple[bool, bool, bool]
    ) -> Sequence[Knob]:
        found = cast(_Method, method)
        cutoffs = tuple(factor * found.cutoff_ry for factor in (0.8, 1.0, 1.2, 1.5))
        spacings = tuple(factor * found.kspacing_per_a for factor in (1.5, 1.0, 0.8, 0.5))
        return (
            Knob("cutoff_ry", cutoffs, "cutoff (Ry)", "Ry"),
            Knob("kspacing_per_a", spacings, "k-point spacing (1/Å)", "1/Å"),
        )

    def least(self, method: DftMethod, rest: LabelSet) -> Mapping[str, tuple[float, str]]:
        return {}

    def hardness(self, method: DftMethod, symbol: str) -> float:
        return 1.0
