"""What people keep: packed and recoded outputs, several runs, files of other runs, notes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from pw_output_for_tests import GOOD, HEAD, INPUT, OURS, SCF, box, check

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.commands.diagnose import text_of
from mlip_autopipec.engines.dft.quantum_espresso.diagnose import diagnose

BAD = HEAD + SCF + box("cdiaghg", "S matrix not positive definite")
TIME_LIMIT = "slurmstepd: error: *** JOB {} ON n1 CANCELLED AT {} DUE TO TIME LIMIT ***\n"


def crash(routine: str, reason: str) -> str:
    return f"\n {'%' * 78}\n     task #   3\n     from {routine} : error #  1\n     {reason}\n\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pw.out.gz", gzip.compress(BAD.encode())),
        ("pw.out.bz2", bz2.compress(BAD.encode())),
        ("scf_1.xz", lzma.compress(BAD.encode())),
        ("pw.out", BAD.encode("utf-16")),
        ("pw.out", BAD.encode("utf-16-le")),
        ("pw.out", BAD.encode("utf-8-sig")),
        ("pw.out", BAD.replace("Reading", "Größe\nReading").encode("latin-1")),
        ("pw.out", BAD.replace("\n", "\r\n").encode()),
        ("result.txt", BAD.encode()),
        ("OUTCAR-scf.pw", BAD.encode()),
        ("job.o4711", ("Loading module espresso ... done\n" * 500 + BAD).encode()),
        ("pw.out", BAD.encode() + bytes(4096)),
        ("2026/march/si/try 2/pw.out", BAD.encode()),
    ],
)
def test_outputs_as_people_keep_them(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    for place in (tmp_path, path):
        found = diagnose(place)
        assert found.cls == "diagonalization", found
        assert "S matrix not positive definite" in found.message
        assert found.evidence[0].file == (name if place == tmp_path else path.name)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "xztar"])
def test_archives_are_read_as_the_folders_that_they_hold(kind: str, tmp_path: Path) -> None:
    calculation = tmp_path / "calc"
    calculation.mkdir()
    (calculation / "pw.out").write_text(HEAD + SCF)
    (calculation / "pw.err").write_text(TIME_LIMIT.format(7, "2026-11-23T16:40:00"))
    (tmp_path / "kept").mkdir()
    path = Path(shutil.make_archive(str(tmp_path / "kept" / "si"), kind, tmp_path, "calc"))
    for place in (path, path.parent):
        found = diagnose(place)
        assert found.cls == "out_of_walltime", found
        assert found.evidence[0].file == f"{path.name}/calc/pw.err"
    assert list(path.parent.iterdir()) == [path]
    path.write_bytes(path.read_bytes()[:100])
    assert diagnose(path).cls in ("unknown", "interrupted")


def test_an_archive_writes_nowhere_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("../../escaped.out", BAD)
        packed.writestr("pw.out", GOOD)
    found = diagnose(tmp_path)
    assert found.cls == "ok" and len(found.runs) == 1


def test_a_packed_file_that_was_cut_off_tells_what_it_can(tmp_path: Path) -> None:
    (tmp_path / "pw.out.gz").write_bytes(gzip.compress((HEAD + SCF * 5000).encode())[:-20])
    assert diagnose(tmp_path).cls == "interrupted"


@pytest.mark.parametrize("version", ["3.2.3", "4.1", "4.3.2"])
def test_old_versions_end_without_job_done(version: str, tmp_path: Path) -> None:
    text = (
        f"\n     Program PWSCF     v.{version}    starts ...\n     Today is 12Aug2009 at 17:25:15\n"
        + SCF
        + "\n!    total energy              =     -15.81234567 Ry\n"
        + "     convergence has been achieved in   4 iterations\n"
    )
    (tmp_path / "a.out").write_text(text)
    check(diagnose(tmp_path), "interrupted")
    (tmp_path / "a.out").write_text(text + "\n     PWSCF        :     7.10s CPU time,    8.02s\n")
    found = diagnose(tmp_path)
    check(found, "ok")
    (tmp_path / "b.out").write_text(text + crash("readpp", "file ./Si.UPF not found"))
    assert [run.cls for run in diagnose(tmp_path).runs] == ["ok", "pseudopotential"]
    assert version in found.message and found.runs[0].started == "2009-08-12 17:25:15"


def test_every_run_has_its_verdict(tmp_path: Path) -> None:
    later = GOOD.replace("15:33:57", "16:33:57")
    (tmp_path / "pw.out").write_text(BAD + later)
    found = diagnose(tmp_path)
    check(found, "ok")
    assert [(run.cls, run.line) for run in found.runs] == [
        ("diagonalization", 2),
        ("ok", BAD.count("\n") + 2),
    ]
    assert "failed pw.out diagonalization" in found.message and "runs, the oldest" in text_of(found)
    (tmp_path / "pw.out").write_text(GOOD + BAD.replace("15:33:57", "16:33:57"))
    check(diagnose(tmp_path), "diagonalization")


def test_a_failed_run_of_another_input_is_still_owed(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text(BAD)
    (tmp_path / "b.out").write_text(GOOD.replace("15:33:57", "16:33:57"))
    check(diagnose(tmp_path), "ok")  # the same x.in, later
    (tmp_path / "a.out").write_text(BAD.replace("x.in", "relax.in"))
    found = diagnose(tmp_path)
    check(found, "diagonalization")
    assert "a.out" in found.message


def test_folders_below_count_each(tmp_path: Path) -> None:
    for name, text in (("ecut30", GOOD), ("ecut40", BAD), ("ecut50", GOOD)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pw.out").write_text(text)
    found = diagnose(tmp_path)
    check(found, "diagonalization")
    assert "ecut40/pw.out, one of 3 runs" in found.message
    assert [run.cls for run in found.runs] == ["ok", "diagonalization", "ok"]
    (tmp_path / "pw.out").write_text(GOOD)  # those below are earlier tries
    check(diagnose(tmp_path), "ok")


def test_tries_at_one_calculation_in_folders_of_their_own(tmp_path: Path) -> None:
    later = GOOD.replace("15:33:57", "16:33:57")
    for name, text in (("attempt-1", BAD), ("attempt-2", later)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pw.out").write_text(text)
    check(diagnose(tmp_path), "ok")
    (tmp_path / "attempt-1" / "pw.out").write_text(BAD.replace("15:33:57", "17:33:57"))
    check(diagnose(tmp_path), "diagonalization")


def test_other_programs_in_one_file(tmp_path: Path) -> None:
    other = "\n     Program PHONON v.7.2 starts on 23Nov2026 at 16:33:57\n" + box("phq_readin", "x")
    (tmp_path / "job.out").write_text(GOOD + other)
    check(diagnose(tmp_path), "ok")
    (tmp_path / "job.out").write_text(other)
    assert diagnose(tmp_path).cls == "unknown" and not diagnose(tmp_path).runs


def test_serial_copies_under_one_mpirun_are_one_run(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text(HEAD.rpartition("Reading")[0] * 3 + BAD)
    found = diagnose(tmp_path)
    check(found, "diagonalization")
    assert len(found.runs) == 1


def test_whose_crash(tmp_path: Path) -> None:
    (tmp_path / "CRASH").write_text(crash("readpp", "file ./pp/K.upf not found"))
    # Its own box stands in the output of the run that made it; this one has another.
    (tmp_path / "a.out").write_text(HEAD + box("card_atomic_species", "cannot read"))
    found = diagnose(tmp_path)
    check(found, "input")
    assert "of another run: CRASH (readpp" in found.message
    (tmp_path / "a.out").write_text(HEAD + SCF)  # no word of its own: one pool of several failed
    check(diagnose(tmp_path), "pseudopotential")
    (tmp_path / "b.out").write_text(GOOD.replace("15:33:57", "16:33:57"))  # a later start
    found = diagnose(tmp_path)
    check(found, "ok")
    assert "CRASH (readpp" in found.message and found.runs[0].cls == "interrupted"
    (tmp_path / "a.out").write_text(HEAD + box("readpp", "file ./pp/K.upf not found"))
    assert diagnose(tmp_path).runs[0].cls == "pseudopotential"


def test_a_crash_older_than_the_run(tmp_path: Path) -> None:
    (tmp_path / "CRASH").write_text(crash("readpp", "file ./pp/K.upf not found"))
    (tmp_path / "a.out").write_text(HEAD + SCF)
    os.utime(tmp_path / "CRASH", (1e9, 1e9))
    check(diagnose(tmp_path), "interrupted")


def test_a_crash_without_a_box(tmp_path: Path) -> None:
    (tmp_path / "CRASH").write_text("[Q, R] = qr(X, 0) failed\n")
    (tmp_path / "a.out").write_text("")
    for place in (tmp_path, tmp_path / "CRASH"):
        assert diagnose(place).cls == "diagonalization"
    (tmp_path / "CRASH").write_text("")
    assert diagnose(tmp_path / "CRASH").cls == "interrupted"


@pytest.mark.parametrize(
    ("name", "stamp", "cls"),
    [
        ("slurm-7.err", "2026-11-23T16:40:00", "out_of_walltime"),
        ("slurm-7.err", "2026-11-20T16:40:00", "interrupted"),  # a job of three days before
        ("slurm-7.err", "2027-02-20T16:40:00", "interrupted"),  # of the next year
        ("a.err", "2026-11-23T14:40:00", "out_of_walltime"),  # its own, in UTC
        ("b.err", "2026-11-23T16:40:00", "interrupted"),  # of b.out
    ],
)
def test_logs_of_other_jobs(name: str, stamp: str, cls: str, tmp_path: Path) -> None:
    (tmp_path / "b.out").write_text(HEAD.replace("15:33:57", "10:00: 0") + SCF)
    (tmp_path / "a.out").write_text(HEAD + SCF)
    (tmp_path / name).write_text(TIME_LIMIT.format(7, stamp))
    check(diagnose(tmp_path), cls)
    (tmp_path / name).write_text("mpirun: Out of memory: Killed process 7 (pw.x)\n")
    os.utime(tmp_path / name, (1e9, 1e9))  # by the times of the files
    check(diagnose(tmp_path), "interrupted")


@pytest.mark.parametrize(
    "name", ["notes.txt", "README", "todo.log", "ideas.txt", "NOTES.out", "plan.md"]
)
def test_notes_are_no_messages_of_machines(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text(HEAD + SCF)
    (tmp_path / name).write_text("last month the 4x4 cell ran out of memory, or was killed\n")
    check(diagnose(tmp_path), "interrupted")


def test_one_file_of_many_is_judged_with_its_own_log(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.out").write_text(HEAD + SCF)
    (tmp_path / "a.err").write_text(TIME_LIMIT.format(7, "2026-11-23T16:40:00"))
    assert diagnose(tmp_path / "a.out").cls == "out_of_walltime"
    found = diagnose(tmp_path / "b.out")
    assert found.cls == "interrupted" and len(found.runs) == 1
    assert diagnose(OURS / "al_fixed" / "pw.out").cls == "smearing_needed"
    (tmp_path / "x.in").write_text(INPUT)
    assert diagnose(tmp_path / "x.in").cls == "unknown"
    with pytest.raises(InputError, match="no such file or folder"):
        diagnose(tmp_path / "c.out")


CRITERIA = "     (criteria: energy <  1.0E-04 Ry, force <  {} Ry/Bohr)\n"
FORCES = (
    "     Forces acting on atoms (cartesian axes, Ry/au):\n\n"
    "     atom    1 type  1   force =     0.00010000   -0.00010000    0.00000000\n\n"
)


@pytest.mark.parametrize(
    "sign", ["history already reset at previous step: stopping", "bfgs failed after 9 scf cycles"]
)
@pytest.mark.parametrize(("force", "cls"), [("1.0E-03", "ok"), ("1.0E-05", "ionic_not_converged")])
def test_bfgs_that_stopped_within_its_criteria(
    sign: str, force: str, cls: str, tmp_path: Path
) -> None:
    end = f"{FORCES}     {sign}\n     bfgs converged in 13 scf cycles\n{CRITERIA.format(force)}"
    (tmp_path / "a.in").write_text(INPUT.replace("scf", "relax"))
    (tmp_path / "a.out").write_text(GOOD.replace("   This run", end + "   This run"))
    check(diagnose(tmp_path), cls)
