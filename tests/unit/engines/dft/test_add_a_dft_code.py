"""The worked example of docs/developing/add-a-dft-code.md does what the page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.config.load import load
from mlip_autopipec.engines import registry
from mlip_autopipec.testing import DftEngineContract

PAGE = Path(__file__).resolve().parents[4] / "docs/developing/add-a-dft-code.md"
CODE, PROOF = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
(INPUT,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
(OPTIONS,) = re.findall(r"^\$ mlip-auto dft cells.extxyz (.*)$", PAGE.read_text(), re.MULTILINE)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the code of the page, where Python finds it."""
    (tmp_path / "my_code.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_code", raising=False)
    return tmp_path


def test_the_command_of_the_page_labels_with_it(place: Path) -> None:
    cells = [bulk("Cu", cubic=True) for _ in range(2)]
    for seed, atoms in enumerate(cells):
        atoms.rattle(0.05, seed=seed)
    write(place / "cells.extxyz", cells)
    command = [sys.executable, "-m", "mlip_autopipec.cli", "dft", "cells.extxyz", *OPTIONS.split()]
    paths = [str(place), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run(
        [*command, "--cores", "2", "--json"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["method"] == {"engine": "my_code:MyCode", "asap_cutoff": True}
    for frame, atoms in zip(read(place / "dft" / "labels.extxyz", ":"), cells, strict=True):
        atoms.calc = EMT(asap_cutoff=True)
        assert frame.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        assert frame.get_forces() == pytest.approx(atoms.get_forces(), abs=1e-6)
    folders = list((place / "dft" / "tasks").glob("*/attempt-*"))
    assert folders and not [folder for folder in folders if (folder / "job.json").exists()]


def test_the_input_of_the_page_plans_a_campaign_with_it(place: Path) -> None:
    path = place / "input.yaml"
    path.write_text(INPUT)
    prepared = load(path, runs_dir=place / "runs", cores=2)
    assert prepared.plan.dft.label_method() == {"engine": "my_code:MyCode", "asap_cutoff": True}
    assert prepared.reasons["dft.method.asap_cutoff"] == "given"
    path.write_text(INPUT.replace("asap_cutoff", "asap_cutof"))
    with pytest.raises(InputError, match=r"dft\.asap_cutof: unknown key; did you mean"):
        load(path, runs_dir=place / "runs", cores=2)


def test_what_is_no_labelling_engine_is_told_what_it_lacks() -> None:
    with pytest.raises(InputError, match=r"no labelling engine: it has no .*repair"):
        registry.dft_engine("ase.calculators.emt:EMT")


def test_the_page_proves_it_by_the_contract_suite(place: Path) -> None:
    scope: dict[str, type] = {}
    exec(PROOF, scope)
    suite = scope["TestMyCode"]
    assert issubclass(suite, DftEngineContract)
    found = suite()
    found.test_has_the_methods_of_the_port()
    found.test_the_method_is_derived_with_a_reason_for_every_field()
    found.test_keys_that_the_engine_does_not_have_are_refused()
    found.test_the_example_pulls_its_displaced_atom_back(place)
