"""The worked example of docs/developing/add-an-executor.md, as it stands there."""

from __future__ import annotations

import importlib
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlip_autopipec.config.load import load
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.runtime.executors.ports import Executor, JobRequest
from mlip_autopipec.runtime.executors.registry import opened

PAGE = Path(__file__).resolve().parents[2] / "docs" / "developing" / "add-an-executor.md"
PATIENCE_S = 120.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plan]:
    """The plan of the page's input."""
    (tmp_path / "nice_jobs.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    file = tmp_path / "input.yaml"
    file.write_text(blocks("yaml")[0] + "surrogate: mlip_autopipec.testing:SimulatedSurrogate\n")
    yield load(file, runs_dir=tmp_path / "runs", cores=None).plan
    sys.modules.pop("nice_jobs", None)


def ended(executor: Executor, job: str) -> bool:
    end = time.monotonic() + PATIENCE_S
    while executor.poll([job])[job]:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def request(folder: Path, script: str) -> JobRequest:
    folder.mkdir()
    return JobRequest(folder.name, ("sh", "-c", script), folder)


def test_the_plan_has_its_section(plan: Plan) -> None:
    section = plan.executor
    assert (section.name, section.cores) == ("nice_jobs:NiceExecutor", 4)
    assert section.options == {"nice": 15}
    assert Plan.model_validate(plan.model_dump(mode="json")) == plan


def test_it_runs_jobs_with_its_options_and_ends_them(plan: Plan, tmp_path: Path) -> None:
    with opened(plan, tmp_path) as executor:
        assert isinstance(executor, Executor)
        job = executor.submit(request(tmp_path / "one", "nice > priority.txt"))
        assert ended(executor, job)
        assert (tmp_path / "one/priority.txt").read_text().strip() == "15"
        long = executor.submit(request(tmp_path / "two", "sleep 600"))
        ended_long_ago = "999999999"
        assert executor.poll([long, ended_long_ago]) == {long: True, ended_long_ago: False}
        with opened(plan, tmp_path) as restarted:
            assert restarted.poll([long]) == {long: True}, "a job outlives its driver"
        executor.cancel([long, job, ended_long_ago])
        assert ended(executor, long)
