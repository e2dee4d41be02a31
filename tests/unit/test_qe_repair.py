"""The cure table: only numerical knobs, bounded, and by kind."""

from __future__ import annotations

import pytest
from ase.build import bulk

from mlip_autopipec.engines.dft.quantum_espresso.failures import KINDS
from mlip_autopipec.engines.dft.quantum_espresso.inputs import NUMERICS
from mlip_autopipec.engines.dft.quantum_espresso.repair import LADDERS, TOTAL_LIMIT, repair
from mlip_autopipec.types import Failure, LabelJob

JOB = LabelJob(bulk("Si"), {"engine": "quantum_espresso", "cutoff_ry": 28.0}, {}, (2, 2, 2))


def failures(*kinds: str) -> list[Failure]:
    return [Failure(kind, "") for kind in kinds]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_ends_and_never_touches_the_physics(kind: str) -> None:
    job: LabelJob | None = JOB
    history: list[Failure] = []
    for _ in range(TOTAL_LIMIT + 1):
        history.append(Failure(kind, ""))
        job = repair(job, history) if job is not None else None
        if job is None:
            break
        assert job.method_hash == JOB.method_hash and job.kmesh == JOB.kmesh
        assert set(job.numerics) <= NUMERICS
    assert job is None


@pytest.mark.parametrize("kind", ["geometry", "input", "pseudopotential", "smearing_needed", "too_few_bands"])
def test_no_numerical_cure_means_quarantine(kind: str) -> None:
    assert repair(JOB, failures(kind)) is None


def test_scf_ladder_lowers_mixing_before_it_changes_the_solver() -> None:
    first = repair(JOB, failures("scf_not_converged"))
    assert first is not None and first.numerics["mixing_beta"] == 0.35 and "diagonalization" not in first.numerics
    second = repair(first, failures("scf_not_converged", "scf_not_converged"))
    assert second is not None and second.numerics["mixing_beta"] == 0.2
    last = repair(JOB, failures(*["scf_not_converged"] * 4))
    assert last is not None and last.numerics["diagonalization"] == "cg"
    assert repair(JOB, failures(*["scf_not_converged"] * 5)) is None


def test_a_cure_keeps_earlier_knobs() -> None:
    job = repair(JOB.with_numerics(mixing_beta=0.35), failures("scf_not_converged", "symmetry"))
    assert job is not None and job.numerics == {"mixing_beta": 0.35, "nosym": True}


def test_a_solver_that_failed_is_not_asked_again() -> None:
    job = repair(JOB.with_numerics(diagonalization="cg"), failures("diagonalization"))
    assert job is not None and job.numerics["diagonalization"] not in ("cg",)


def test_interruptions_repeat_the_same_job_three_times() -> None:
    for count in (1, 2, 3):
        assert repair(JOB, failures(*["interrupted"] * count)) == JOB
    assert repair(JOB, failures(*["interrupted"] * 4)) is None


def test_walltime_grows_and_the_total_is_bounded() -> None:
    job = repair(JOB, failures("out_of_walltime"))
    assert job is not None and job.numerics["walltime_factor"] == 2.0
    mixed = ["interrupted", "scf_not_converged", "diagonalization", "symmetry"] * 2
    assert repair(JOB, failures(*mixed[:TOTAL_LIMIT])) is None
    assert repair(JOB, []) is None
    assert set(LADDERS) - {"lost"} <= KINDS
