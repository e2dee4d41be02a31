"""What ``input.yaml`` can name, and what it is told about names that nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlip_autopipec.cli.main import main
from mlip_autopipec.config.executors import ExecutorInput
from mlip_autopipec.config.yaml import load_plan

Invoke = Callable[..., tuple[int, str, str]]
HERE = "mlip_autopipec.testing"


@pytest.fixture
def plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Invoke:
    """``mlip-auto plan`` of an input with these lines: exit code, output, error."""
    monkeypatch.chdir(tmp_path)

    def run(*lines: str) -> tuple[int, str, str]:
        Path("input.yaml").write_text("\n".join(("material: Cu", *lines)) + "\n")
        with pytest.raises(SystemExit) as ended:
            main(["plan", "input.yaml", "--cores", "2"])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "training: pacemakr",
            "training.trainer: unknown trainer (got 'pacemakr'); did you mean 'pacemaker'?",
        ),
        ("training: {trainer: 'no_such_package:Fit'}", "there is no trainer at this place"),
        (
            "exploration: {engine: lamps}",
            "exploration.engine: unknown MD engine (got 'lamps'); did you mean 'lammps'?",
        ),
        ("exploration: 'json:NoEngine'", "there is no MD engine at this place"),
        (
            "surrogate: chgnt",
            "surrogate.engine: unknown surrogate (got 'chgnt'); did you mean 'chgnet'?",
        ),
        ("surrogate: 'json:NoModel'", "there is no surrogate at this place"),
        ("executor: slrum", "unknown executor (got 'slrum'); did you mean 'slurm'?"),
        ("executor: 'json:NoQueue'", "there is no executor at this place"),
        ("executor: slurm", "cores_per_node is missing"),
        ("executor: {name: local, queue: debug}", "queue belongs to slurm and pbs only"),
        ("executor: {name: local, options: {a: 1}}", "belongs to executors of other packages"),
        ("training: {trainr: linear}", "did you mean 'trainer'?"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(
    plan: Invoke, line: str, said: str
) -> None:
    code, out, err = plan(line)
    assert (code, out) == (2, "")
    assert err.startswith("error: input.yaml: ") and err.count("\n") == 1
    assert said in err
    assert not Path("runs").exists()


def test_every_port_can_be_named_by_its_place(plan: Invoke) -> None:
    code, out, err = plan(
        f"surrogate: '{HERE}:SimulatedSurrogate'",
        f"training: '{HERE}:SimulatedTrainer'",
        f"exploration: '{HERE}:SimulatedMd'",
        "executor: {name: 'mlip_autopipec.runtime.executors.local:LocalExecutor', options: {a: 1}}",
    )
    assert (code, err) == (0, "")
    written = load_plan(Path("runs/Cu/plan.yaml"))
    assert written.surrogate.engine == f"{HERE}:SimulatedSurrogate"
    assert written.training.trainer == written.training.fast_trainer == f"{HERE}:SimulatedTrainer"
    assert written.training.settings.model_dump() == {"rattle_a": 0.0}
    assert written.exploration.engine == f"{HERE}:SimulatedMd"
    assert (written.executor.options, written.executor.cores) == ({"a": 1}, 2)
    row = next(line for line in out.splitlines() if line.startswith("training.trainer"))
    assert "given" in row


def test_a_potential_that_the_md_program_cannot_run_is_refused_when_the_plan_is_made(
    plan: Invoke,
) -> None:
    code, _, err = plan(
        f"surrogate: '{HERE}:SimulatedSurrogate'", f"training: '{HERE}:SimulatedTrainer'"
    )
    assert code == 2
    assert "exploration.engine: LAMMPS cannot evaluate the potentials of this trainer" in err
    assert "'simulated'" in err and "ace" in err


def test_a_trainer_of_the_same_form_keeps_the_quick_one_for_the_first_rounds(plan: Invoke) -> None:
    assert plan("training: linear", f"surrogate: '{HERE}:SimulatedSurrogate'")[0] == 0
    training = load_plan(Path("runs/Cu/plan.yaml")).training
    assert (training.trainer, training.fast_trainer) == ("linear", "linear")
    assert training.fast_settings is None


def test_a_cluster_has_the_cores_of_all_its_blocks(plan: Invoke) -> None:
    section = "executor: {name: slurm, cores_per_node: 8, nodes_per_block: 2, max_blocks: 3}"
    surrogate = f"surrogate: '{HERE}:SimulatedSurrogate'"
    assert plan(surrogate, section)[0] == 0
    executor = load_plan(Path("runs/Cu/plan.yaml")).executor
    assert (executor.name, executor.nodes_per_block, executor.max_blocks) == ("slurm", 2, 3)
    assert executor.cores == 2, "of the option --cores"
    asked = ExecutorInput(name="slurm", cores_per_node=8, nodes_per_block=2, max_blocks=3)
    assert asked.planned(cores=4).cores == 48
