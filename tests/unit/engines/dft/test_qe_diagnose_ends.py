"""``JOB DONE`` alone is no success: what a finished run of pw.x must still fulfil."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
from pw_output_for_tests import GOOD, INPUT, OURS, SCF, check

from mlip_autopipec.engines.dft.quantum_espresso.diagnose import diagnose


@pytest.mark.parametrize(
    ("old", "new", "cls"),
    [
        (
            "     convergence has been achieved in   9",
            "     convergence NOT achieved after 100",
            "scf_not_converged",
        ),
        ("!    total energy              =     -15.81234567 Ry", "", "unknown"),
        ("-15.81234567", "NaN", "geometry"),
        (
            "\n     convergence has",
            "\n     Maximum CPU time exceeded\n\n     convergence has",
            "out_of_walltime",
        ),
        (
            "\n     convergence has",
            "\n     Program stopped by user request\n\n     convergence has",
            "interrupted",
        ),
        (" JOB DONE.", "", "interrupted"),
    ],
)
def test_job_done_alone_is_no_success(old: str, new: str, cls: str, tmp_path: Path) -> None:
    assert old in GOOD
    (tmp_path / "a.out").write_text(GOOD.replace(old, new))
    check(diagnose(tmp_path), cls)


def test_a_relaxation_may_pass_a_cycle_that_did_not_converge_but_not_end_with_it(
    tmp_path: Path,
) -> None:
    bad = "     convergence NOT achieved after 100 iterations: stopping\n"
    (tmp_path / "a.out").write_text(GOOD.replace(SCF, SCF + bad + SCF))
    check(diagnose(tmp_path), "ok")
    (tmp_path / "a.out").write_text(GOOD.replace("   This run", bad + "   This run"))
    check(diagnose(tmp_path), "scf_not_converged")


BFGS = "     bfgs converged in   6 scf cycles and   5 bfgs steps\n"


@pytest.mark.parametrize(
    ("words", "calculation", "cls"),
    [
        ("     The maximum number of steps has been reached.\n", "relax", "ionic_not_converged"),
        ("     The maximum number of steps has been reached.\n     End of molecular dynamics\n", "md", "ok"),
        ("     bfgs failed after  10 scf cycles and   9 bfgs steps, convergence not achieved\n", "vc-relax",
         "ionic_not_converged"),
        ("     history already reset at previous step: stopping\n", "relax", "ionic_not_converged"),
        ("", "relax", "ionic_not_converged"),
        (BFGS, "relax", "ok"),
    ],
)  # fmt: skip
def test_relaxations(words: str, calculation: str, cls: str, tmp_path: Path) -> None:
    (tmp_path / "a.pwi").write_text(INPUT.replace("scf", calculation))
    (tmp_path / "a.pwo").write_text(GOOD.replace("   This run", words + "   This run"))
    check(diagnose(tmp_path), cls)


def stress(kbar: float, shear: float = 0.0) -> str:
    rows = [[kbar, shear, 0.0], [shear, kbar, 0.0], [0.0, 0.0, kbar]]
    text = "".join(f"   0.0 0.0 0.0  {a:10.2f} {b:10.2f} {c:10.2f}\n" for a, b, c in rows)
    return (
        "          total   stress  (Ry/bohr**3)                   (kbar)     P="
        f" {kbar:10.2f}\n{text}\n"
    )


@pytest.mark.parametrize(
    ("before", "after", "cls"),
    [
        ((0.05, 0.0), (0.4, 0.0), "ok"),
        ((0.05, 0.0), (0.68, 0.0), "ionic_not_converged"),
        ((0.05, 0.0), (0.1, 0.9), "ionic_not_converged"),
        ((50.1, 0.0), (50.3, 0.0), "ok"),  # press = 50
        ((50.1, 0.0), (48.9, 0.0), "ionic_not_converged"),
        ((0.05, 7.0), (0.1, 7.3), "ok"),  # cell_dofree keeps the shear
    ],
)
def test_the_final_cycle_of_a_cell_relaxation_must_hold_its_criterion(
    before: tuple[float, float], after: tuple[float, float], cls: str, tmp_path: Path
) -> None:
    criterion = (
        "     (criteria: energy <  1.0E-04 Ry, force <  1.0E-03Ry/Bohr, cell <  5.0E-01kbar)\n"
    )
    final = "     Final scf calculation at the relaxed structure.\n"
    (tmp_path / "a.out").write_text(
        GOOD.replace(
            "   This run",
            stress(*before) + BFGS + criterion + final + stress(*after) + "   This run",
        )
    )
    check(diagnose(tmp_path), cls)


def forces(row: str) -> str:
    other = "     atom    2 type  1   force =     0.00000000    0.00100000    0.00000000\n"
    head = "     Forces acting on atoms (cartesian axes, Ry/au):\n\n"
    return (
        f"{head}     atom    1 type  1   force = {row}\n{other}\n     negative rho (up, down): "
        " 4.9E-04 4.9E-04\n"
    )


@pytest.mark.parametrize(
    ("row", "cls"),
    [
        ("    0.10000000   -0.20000000    0.00000000", "ok"),
        ("  -86.21265413 -202.66708138   -0.25779634", "geometry"),
        ("-4862.21265413-2026.66708138   -0.25779634", "geometry"),
        ("**************-8014.79191952   -0.00000015", "geometry"),
        ("           NaN           NaN           NaN", "geometry"),
    ],
)
def test_absurd_and_fused_forces(row: str, cls: str, tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text(GOOD.replace("   This run", forces(row) + "   This run"))
    check(diagnose(tmp_path), cls)


def xml(time: str, converged: str = "true", status: int = 0) -> str:
    return f"""<?xml version="1.0"?>
<qes:espresso xmlns:qes="http://www.quantum-espresso.org/ns/qes/qes-1.0">
<general_info><created DATE="23Nov2026" TIME="{time}">x</created></general_info>
<output><convergence_info><scf_conv><convergence_achieved>{converged}</convergence_achieved></scf_conv>
</convergence_info></output>
<exit_status>{status}</exit_status>
</qes:espresso>
"""


def test_the_xml_counts_only_for_its_own_run(tmp_path: Path) -> None:
    saved = tmp_path / "out" / "p.save"
    saved.mkdir(parents=True)
    file = saved / "data-file-schema.xml"
    (tmp_path / "a.out").write_text(GOOD)
    for text, cls in (
        (xml("15:34: 2"), "ok"),
        (xml("15:34: 1", "false"), "scf_not_converged"),
        (xml("15:34: 2", status=2), "scf_not_converged"),
        (xml("11: 0: 0", "false"), "ok"),
        (xml("15:34: 2")[:-60], "disk"),
        (xml("11: 0: 0")[:-60], "ok"),
        (xml("15:34: 2")[:60], "disk"),
        ("", "disk"),
        (xml("15:34: 2").replace("output>", "put>"), "interrupted"),
    ):
        file.write_text(text)
        check(diagnose(tmp_path), cls)
    (tmp_path / "a.out").write_text(GOOD.split("JOB DONE")[0])
    file.write_text(xml("11: 0: 0"))
    check(diagnose(tmp_path), "interrupted")
    (tmp_path / "a.out").unlink()
    check(diagnose(tmp_path), "ok")
    file.write_text(xml("15:34: 2", status=3))
    check(diagnose(tmp_path), "ionic_not_converged")


def test_done_without_a_data_file_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "x.in").write_text(INPUT)
    (tmp_path / "a.out").write_text(GOOD)
    save = tmp_path / "out" / "pwscf.save"
    save.mkdir(parents=True)
    check(diagnose(tmp_path), "interrupted")
    for name in ("wfc1.dat", "wfc2.dat"):
        (save / name).touch()
    found = diagnose(tmp_path)
    check(found, "disk")
    assert (
        "out/pwscf.save/data-file-schema.xml is missing" in found.message
        and "wfc1.dat, wfc2.dat" in found.message
    )
    deeper = tmp_path / "many"
    shutil.copytree(tmp_path, deeper / "calc", ignore=shutil.ignore_patterns("many"))
    check(diagnose(deeper), "disk")
    shutil.rmtree(deeper)
    # Another prefix, or an input that asks for no files at all.
    for setting in ("  prefix = 'si'\n", "  disk_io = 'none'\n"):
        (tmp_path / "x.in").write_text(INPUT.replace("/\n", setting + "/\n", 1))
        check(diagnose(tmp_path), "ok")
    (tmp_path / "other.in").write_text(INPUT)
    check(diagnose(tmp_path), "ok")
    (tmp_path / "a.out").write_text(GOOD.replace("Reading input from x.in", "Waiting for input..."))
    (tmp_path / "x.in").unlink()
    check(diagnose(tmp_path), "disk")


def test_a_data_file_that_may_not_be_read_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(OURS / "ok_si2", tmp_path / "calc")
    check(diagnose(tmp_path / "calc"), "ok")
    real = Path.open

    def refused(path: Path, *arguments: Any, **options: Any) -> Any:  # root may read everything
        if path.name == "data-file-schema.xml":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    found = diagnose(tmp_path / "calc")
    check(found, "interrupted")
    assert "data-file-schema.xml cannot be read: Permission denied" in found.message
