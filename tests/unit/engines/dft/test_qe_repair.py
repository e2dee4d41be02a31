"""The cure table: only numerical knobs, bounded, and by kind."""

from __future__ import annotations

import pytest
from ase.build import bulk

from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.quantum_espresso.cures import LADDERS, SOLVERS, TOTAL_LIMIT, repair
from mlip_autopipec.engines.dft.quantum_espresso.failures import KINDS
from mlip_autopipec.engines.dft.quantum_espresso.inputs import NUMERICS

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


@pytest.mark.parametrize("kind", sorted(KINDS - set(LADDERS)))
def test_no_numerical_cure_means_quarantine(kind: str) -> None:
    assert repair(JOB, failures(kind)) is None


def test_scf_ladder_lowers_mixing_before_it_changes_the_solver() -> None:
    first = repair(JOB, failures("scf_not_converged"))
    assert (
        first is not None
        and first.numerics["mixing_beta"] == 0.35
        and "diagonalization" not in first.numerics
    )
    second = repair(first, failures("scf_not_converged", "scf_not_converged"))
    assert second is not None and second.numerics["mixing_beta"] == 0.2
    last = repair(JOB, failures(*["scf_not_converged"] * 4))
    assert last is not None and last.numerics["diagonalization"] == "cg"
    assert repair(JOB, failures(*["scf_not_converged"] * 5)) is None


def test_a_cure_keeps_earlier_knobs() -> None:
    job = repair(JOB.with_numerics(mixing_beta=0.35), failures("scf_not_converged", "symmetry"))
    assert job is not None and job.numerics == {"mixing_beta": 0.35, "nosym": True}


def test_solvers_take_turns_and_the_one_that_failed_is_not_asked_again() -> None:
    for start, order in (
        ("david", ["cg", "paro"]),
        ("cg", ["david", "paro"]),
        ("ppcg", ["david", "paro"]),
    ):
        job: LabelJob | None = JOB.with_numerics(diagonalization=start)
        history: list[Failure] = []
        for solver in order:
            history.append(Failure("diagonalization", ""))
            assert job is not None
            job = repair(job, history)
            assert (
                job is not None
                and job.numerics["diagonalization"] == solver
                and job.numerics["ndiag"] == 1
            )
    last = repair(JOB, failures(*["diagonalization"] * 3))
    assert (
        last is not None
        and last.numerics["diagonalization"] == "david"
        and last.numerics["mixing_beta"] == 0.3
    )
    assert repair(JOB, failures(*["diagonalization"] * 4)) is None


def test_a_solver_that_this_version_no_longer_has_gives_way() -> None:
    job = repair(JOB.with_numerics(diagonalization="ppcg"), failures("input"))
    assert job is not None and job.numerics["diagonalization"] == "david"
    assert repair(job, failures("input", "input")) is None
    assert "ppcg" not in SOLVERS


def test_a_machine_that_cannot_run_it_is_asked_once_more() -> None:
    assert repair(JOB, failures("machine")) == JOB
    assert repair(JOB, failures("machine", "machine")) is None


def test_long_cells_try_local_screening_first() -> None:
    slab = JOB.atoms.copy()
    slab.cell[2] *= 6
    job = repair(LabelJob(slab, JOB.method), failures("scf_not_converged"))
    assert (
        job is not None
        and job.numerics["mixing_mode"] == "local-TF"
        and job.numerics["mixing_beta"] == 0.3
    )
    following = repair(job, failures("scf_not_converged", "scf_not_converged"))
    assert following is not None and following.numerics["mixing_mode"] == "plain"
    assert following.numerics["mixing_beta"] == 0.35


def test_memory_is_asked_again_and_then_saved() -> None:
    jobs = [repair(JOB, failures(*["out_of_memory"] * count)) for count in (1, 2, 3, 4)]
    assert jobs[0] == JOB and jobs[3] is None
    assert jobs[1] is not None and jobs[1].numerics["mixing_ndim"] < 8
    assert jobs[2] is not None and jobs[2].numerics["diagonalization"] == "cg"


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
    cureless = {
        "geometry",
        "input",
        "pseudopotential",
        "smearing_needed",
        "too_few_bands",
        "fft_volume",
        "exx",
    }
    assert KINDS - set(LADDERS) == cureless | {"ionic_not_converged", "magnetic_state"}
