"""The rules that name a failure: order, places where they look, and what they must not take for an
error.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mlip_autopipec.engines.dft.quantum_espresso.failure_rules import RULES
from mlip_autopipec.engines.dft.quantum_espresso.failures import CLASSES, KINDS, classify

OK = Path(__file__).parents[3] / "fixtures" / "qe" / "ok_si2" / "pw.out"
BOX = "     Error in routine {} (1):\n     {}\n %%%%%%%%%%%%\n"


def kind(
    folder: Path, output: str = "", stderr: str = "", crash: str = "", code: int | None = 1
) -> str:
    for name, text in (("pw.out", output), ("stderr.txt", stderr), ("CRASH", crash)):
        (folder / name).write_text(text)
    return classify(folder, code).kind


def test_classes_are_the_documented_ones() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 20
    assert {rule.kind for rule in RULES} <= KINDS and "ok" not in KINDS


def test_a_good_output_fits_no_rule_that_looks_everywhere() -> None:
    for line in OK.read_text().splitlines():
        for rule in RULES:
            assert not (rule.anywhere and rule.pattern.search(line)), (rule, line)


def test_words_of_good_outputs_are_no_evidence_outside_error_boxes(tmp_path: Path) -> None:
    words = (
        "     cdiaghg      :      0.01s CPU\n     unit-cell volume = 1\n     Dense grid FFT"
        " dimensions: ( 36, 36, 36)\n"
    )
    assert kind(tmp_path, words, code=137) == "interrupted"
    assert kind(tmp_path, words + BOX.format("cdiaghg", "info = 7")) == "diagonalization"


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (("electrons", "charge is wrong: smearing is needed"), ("cdiaghg", "x"), "smearing_needed"),
        (("davcio", "error while writing from file"), ("read_rhog", "error reading file"), "disk"),
        (
            ("set_para_diag", "Too few bands for required ndiag"),
            ("setup", "too few bands"),
            "parallelization",
        ),
    ],
)
def test_the_cause_outranks_what_follows_from_it(
    first: tuple[str, str], second: tuple[str, str], wanted: str, tmp_path: Path
) -> None:
    assert kind(tmp_path, BOX.format(*second) + BOX.format(*first)) == wanted


def test_memory_outranks_everything(tmp_path: Path) -> None:
    text = (
        "In file 'a.f90', around line 73: Error allocating 406683648 bytes: Cannot allocate"
        " memory\n"
    )
    assert kind(tmp_path, BOX.format("cdiaghg", "info"), text) == "out_of_memory"


def test_noise_of_mpi_hides_no_reason(tmp_path: Path) -> None:
    noise = "MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD\nwith errorcode 1.\n"
    crash = "     task #         0\n     from setup : error #         1\n     too few bands\n"
    assert kind(tmp_path, "     Program PWSCF v.6.5 starts\n", noise, crash) == "too_few_bands"


@pytest.mark.parametrize("code", [1, 2, 3, 255])
def test_an_exit_code_alone_is_unknown(code: int, tmp_path: Path) -> None:
    assert kind(tmp_path, "     Program PWSCF v.6.5 starts\n", code=code) == "unknown"


def test_crash_of_an_earlier_run_is_left_out_after_job_done(tmp_path: Path) -> None:
    text = OK.read_text()
    assert (
        kind(tmp_path, text, crash="     from setup : error #  1\n     too few bands\n", code=0)
        == "unknown"
    )
    assert (
        kind(
            tmp_path,
            text.replace("JOB DONE", ""),
            crash="  from setup : error #  1\n  too few bands\n",
        )
        == "too_few_bands"
    )


def test_only_the_last_run_of_an_appended_output_counts(tmp_path: Path) -> None:
    text = OK.read_text()
    assert kind(tmp_path, text + text.split("iteration #  3")[0], code=137) == "interrupted"
    spoiled = text.replace("convergence has been achieved in", "convergence NOT achieved after")
    assert kind(tmp_path, text + spoiled, code=2) == "scf_not_converged"
    assert kind(tmp_path, spoiled + text, code=2) == "unknown"
