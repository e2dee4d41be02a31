"""Contract suite of the MD explorers. It runs real motion, in the folder of the test.

Nothing here waits for a clock: a potential comes into force after the engine has written the line
that the test waits for, and the engine waits for it as long as it takes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.structures import Candidate
from mlip_autopipec.engines.ports import SNAPSHOT, MdEngine, MdJob, MdResult

__all__ = ["MdEngineContract"]

PATIENCE_S = 300.0


class MdEngineContract:
    """``engine``; ``job(folder)``: a run at one condition, quick, whose pointer file is
    ``folder/current.json``. Potentials are put into force by ``narrow(folder)``, under which the
    run meets grades above ``gamma_select`` within ``max_ps``, ``wide(folder)``, under which it
    stays clean (each writes the pointer file and returns the name that it gives there), and
    ``hopeless(folder)``, by default ``narrow``, under which it passes the ``gamma_break`` of
    ``broken(job)``, by default the job itself. ``unknown_family``: one that the engine cannot run,
    or None.
    """

    engine: ClassVar[MdEngine]
    unknown_family: ClassVar[str | None] = None

    def job(self, folder: Path) -> MdJob:
        raise NotImplementedError

    def narrow(self, folder: Path) -> str:
        raise NotImplementedError

    def wide(self, folder: Path) -> str:
        raise NotImplementedError

    def hopeless(self, folder: Path) -> str:
        return self.narrow(folder)

    def broken(self, job: MdJob) -> MdJob:
        return job

    # --- tools

    def run(self, job: MdJob, folder: Path) -> MdResult:
        folder.mkdir(exist_ok=True)
        result = self.engine.run(job, folder)
        assert isinstance(result, MdResult), result
        return result

    @staticmethod
    def lines(folder: Path) -> list[dict[str, Any]]:
        file = folder / "stream.jsonl"
        text = file.read_text() if file.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        return [json.loads(line) for line in whole.splitlines()]

    def run_and_publish(
        self, job: MdJob, folder: Path, when: Callable[[dict[str, Any]], bool]
    ) -> MdResult:
        """Run; once a line is streamed that ``when`` accepts, ``wide`` comes into force."""
        over = threading.Event()

        def publish() -> None:
            end = time.monotonic() + PATIENCE_S
            while time.monotonic() < end and not over.is_set():
                if any(when(line) for line in self.lines(folder)):
                    self.wide(job.pointer.parent)
                    return
                time.sleep(0.01)

        folder.mkdir(exist_ok=True)
        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            return self.run(replace(job, wait_s=PATIENCE_S), folder)
        finally:
            over.set()
            publisher.join()

    def of(self, folder: Path, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.lines(folder) if line["type"] == kind]

    # --- the suite

    def test_has_the_methods_of_the_port(self) -> None:
        assert isinstance(self.engine, MdEngine)
        if self.unknown_family is None:
            return
        try:
            self.engine.require(self.unknown_family)
        except InputError as refused:
            assert self.unknown_family in str(refused)
        else:
            raise AssertionError(f"potentials of the family {self.unknown_family} were accepted")

    def test_a_clean_run_reports_what_it_did(self, tmp_path: Path) -> None:
        job, folder = self.job(tmp_path), tmp_path / "md"
        name = self.wide(tmp_path)
        result = self.run(job, folder)
        assert (result.clean, result.potential) == (True, name)
        assert result.clean_ps >= job.clean_ps and result.ps >= result.clean_ps
        assert result.steps > 0
        assert (result.swaps, result.breaks, result.candidates) == (0, 0, 0)
        assert 0 <= result.gamma_max <= job.gamma_select
        assert all("step" in line for line in self.lines(folder))
        assert {line["type"] for line in self.lines(folder)} == {"progress"}
        assert self.of(folder, "progress")[-1]["state"] == "running"
        assert MdResult.from_json(json.loads(json.dumps(result.to_json()))) == result

    def test_what_is_not_known_is_streamed_and_the_run_goes_on(self, tmp_path: Path) -> None:
        job, folder = self.job(tmp_path), tmp_path / "md"
        name = self.narrow(tmp_path)
        result = self.run(replace(job, wait_s=0.0), folder)
        assert not result.clean and result.breaks == 0
        found = self.of(folder, "candidate")
        assert 1 <= len(found) == result.candidates <= job.max_candidates_per_potential
        for line in found:
            data = read_json(folder / line["file"])
            candidate = Candidate.from_json(data)
            assert line["potential"] == candidate.provenance.potential == name
            assert line["gamma"] > job.gamma_select
            assert len(data["gamma"]) == len(candidate.atoms) == len(job.start)
        assert self.of(folder, "progress")[-1]["step"] >= found[-1]["step"]

    def test_a_better_potential_is_swapped_in_and_earns_its_clean_time(
        self, tmp_path: Path
    ) -> None:
        """Also that it waits, where it stands, once nothing is left to add."""
        job, folder = self.job(tmp_path), tmp_path / "md"
        old = self.narrow(tmp_path)
        result = self.run_and_publish(job, folder, lambda line: line["type"] == "candidate")
        (swap,) = self.of(folder, "swap")
        assert (swap["old"], swap["new"]) == (old, result.potential)
        assert (result.clean, result.swaps, result.breaks) == (True, 1, 0)
        since_ps = (result.steps - swap["step"]) * job.timestep_fs / 1000
        assert job.clean_ps <= result.clean_ps <= since_ps + 1e-9
        assert result.gamma_max <= job.gamma_select, "the grades of the old one do not count"

    def test_it_waits_for_a_better_potential_and_goes_on_where_it_stood(
        self, tmp_path: Path
    ) -> None:
        job, folder = self.job(tmp_path), tmp_path / "md"
        self.narrow(tmp_path)
        result = self.run_and_publish(job, folder, lambda line: line.get("state") == "waiting")
        waits = [line for line in self.of(folder, "progress") if line["state"] == "waiting"]
        (swap,) = self.of(folder, "swap")
        assert {line["step"] for line in waits} == {swap["step"]}
        assert result.clean and result.steps > swap["step"]

    def test_a_break_rewinds_and_goes_on_with_the_next_potential(self, tmp_path: Path) -> None:
        job, folder = self.broken(self.job(tmp_path)), tmp_path / "md"
        name = self.hopeless(tmp_path)
        result = self.run_and_publish(job, folder, lambda line: line["type"] == "break")
        kinds = [line["type"] for line in self.lines(folder)]
        order = [kind for kind in kinds if kind in ("break", "swap", "resume")]
        assert order == ["break", "swap", "resume"]
        (stopped,) = self.of(folder, "break")
        assert stopped["gamma"] > job.gamma_break and stopped["potential"] == name
        assert (result.clean, result.breaks, result.swaps) == (True, 1, 1)
        assert result.candidates >= 1, "what broke it is worth a calculation"

    def test_after_a_break_it_does_not_wait_for_ever(self, tmp_path: Path) -> None:
        job, folder = self.broken(self.job(tmp_path)), tmp_path / "md"
        name = self.hopeless(tmp_path)
        result = self.run(replace(job, wait_s=0.0), folder)
        assert (result.clean, result.breaks, result.potential) == (False, 1, name)

    def test_a_stopped_run_goes_on_from_its_snapshot(self, tmp_path: Path) -> None:
        job, folder = self.job(tmp_path), tmp_path / "md"
        self.narrow(tmp_path)
        first = self.run(replace(job, wait_s=0.0), folder)
        assert first.steps > 0 and (folder / SNAPSHOT).is_file()
        write_json(tmp_path / "before.json", read_json(folder / SNAPSHOT))
        self.wide(tmp_path)
        second = self.run(replace(job, wait_s=0.0), folder)
        (resumed,) = self.of(folder, "resume")
        assert 0 < resumed["step"] <= first.steps
        assert second.clean and second.steps > resumed["step"], "its steps count on"
