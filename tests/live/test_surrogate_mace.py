"""MACE in its own environment: a small model, trained here, passes the suite of the surrogates.

The weights of MACE-MP need the network; a model of the same code, fitted in some 15 s of CPU to
effective-medium theory by ``mace_run_train``, is loaded by path. Run by ``make live`` (installs the
environment first).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

from mlip_autopipec.config.derive.surrogate import choose_surrogate
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.remote.process import ONE_THREAD, find_interpreter
from mlip_autopipec.engines.surrogate.mace.engine import INSTALL, PYTHON_VARIABLE, VENV
from mlip_autopipec.testing import SurrogateContract

pytestmark = pytest.mark.real

SETTINGS = (
    "--name tiny --seed 1 --train_file train.xyz --valid_fraction 0.2 --E0s average --num_channels"
    " 8 --max_L 0 --MLP_irreps 8x0e --num_radial_basis 6 --r_max 4.5 --correlation 2"
    " --num_interactions 2 --max_ell 2 --batch_size 4 --valid_batch_size 4 --max_num_epochs 15 --lr"
    " 0.02 --forces_weight 10 --device cpu --default_dtype float64 --model_dir . --eval_interval 5"
    " --plot False"
)


def copper_gold(rng: np.random.Generator, n_gold: int) -> Atoms:
    atoms = bulk("Cu", cubic=True, a=3.7)
    atoms.symbols[rng.permutation(4)[:n_gold]] = "Au"
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.03, (3, 3))), scale_atoms=True)
    atoms.rattle(0.12, rng=rng)
    return atoms


def write_training_file(path: Path, structures: list[Atoms]) -> None:
    rows = []
    for atoms in structures:
        probe = atoms.copy()
        probe.calc = EMT()
        row = atoms.copy()
        row.info["REF_energy"] = probe.get_potential_energy()
        row.arrays["REF_forces"] = probe.get_forces()
        rows.append(row)
    write(path, rows)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mace")
    rng = np.random.default_rng(0)
    write_training_file(folder / "train.xyz", [copper_gold(rng, index % 3) for index in range(30)])
    python = find_interpreter("mace", variable=PYTHON_VARIABLE, venv=VENV, install=INSTALL)
    done = subprocess.run(
        [python, "-m", "mace.cli.run_train", *SETTINGS.split()],
        cwd=folder,
        env={**os.environ, **ONE_THREAD, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "tiny.model").is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "tiny.model"


class TestMace(SurrogateContract):
    engine = "mace"
    atoms = copper_gold(np.random.default_rng(7), 2)
    unsupported = "Si"

    @pytest.fixture(autouse=True)
    def _with_model(self, model: Path) -> None:
        type(self).model = str(model)


def test_the_model_has_learned(model: Path) -> None:
    """Forces follow those it was fitted to: the model that answers is the one that was trained."""
    calculator, rng = registry.surrogate("mace", str(model)).calculator(), np.random.default_rng(11)
    ours, theirs = [], []
    for index in range(6):
        atoms = copper_gold(rng, index % 3)
        atoms.calc = calculator
        ours.append(atoms.get_forces())
        atoms.calc = EMT()
        theirs.append(atoms.get_forces())
    assert np.corrcoef(np.ravel(ours), np.ravel(theirs))[0, 1] > 0.9


def test_a_model_by_path_is_taken_as_it_is(model: Path) -> None:
    choice = choose_surrogate("mace", ["Cu", "Au"], str(model))
    assert (choice.engine, choice.model, choice.reason) == ("mace", str(model), "given")
