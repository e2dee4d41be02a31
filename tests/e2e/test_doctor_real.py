"""The doctor's probes with the real programs, and against a program that only pretends to work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlip_autopipec.commands.doctor import checks, probes

pytestmark = pytest.mark.real


def test_everything_is_installed_and_works() -> None:
    found = checks.checks()
    assert [check for check in found if not check.ok and not check.optional] == []
    assert sum(check.name.startswith("works: ") for check in found) == len(probes.PROBES)
    assert next(check for check in found if "Quantum ESPRESSO" in check.name).version


def test_a_program_that_says_nothing_does_not_count_as_working(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = tmp_path / "pw.x"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    monkeypatch.setenv("MLIP_PW", str(silent))
    assert probes.main("dft", tmp_path) == 1
    assert not json.loads(capsys.readouterr().out.splitlines()[-1])["ok"]


def test_md_without_a_potential_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert probes.main("md", tmp_path) == 1
    assert "no potential" in json.loads(capsys.readouterr().out.splitlines()[-1])["detail"]
