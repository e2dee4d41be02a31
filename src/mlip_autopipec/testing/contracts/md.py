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
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.structures import Candidate, atoms_from_json
from mlip_autopipec.engines.ports import SAMPLES, SNAPSHOT, MdEngine, MdJob, MdResult

__all__ = ["MdEngineContract"]

PATIENCE_S = 300.0


class MdEngineContract:
    """``engine``; ``job(folder)``: a run at one condition, quick, whose pointer file is
    ``folder/current.json``. Potentials are put into force by ``narrow(folder)`` and
    ``wide(folder)``, under which the run is made (each writes the pointer file and returns the name
    that it gives there), and ``hopeless(folder)``, by default ``narrow``, under which it passes the
    ``gamma_break`` of ``broken(job)``, by default the job itself, while ``wide`` does not.
    ``unknown_family``: one that the engine cannot run, or None.
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

    @staticmethod
    def samples(folder: Path) -> list[dict[str, Any]]:
        text = (folder / SAMPLES).read_text()
        return [json.loads(line) for line in text.splitlines()]

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
        assert abs(result.clean_ps - job.run_ps) < 1e-6
        assert result.ps >= job.run_ps + job.equilibration_ps - 1e-6
        assert result.steps > 0
        assert (result.swaps, result.breaks, result.candidates) == (0, 0, 0)
        assert 0 <= result.gamma_max <= job.gamma_break
        assert all("step" in line for line in self.lines(folder))
        assert {line["type"] for line in self.lines(folder)} == {"progress"}
        assert self.of(folder, "progress")[-1]["state"] == "running"
        assert MdResult.from_json(json.loads(json.dumps(result.to_json()))) == result

    def test_frames_of_the_run_are_kept_apart_in_time(self, tmp_path: Path) -> None:
        job, folder = self.job(tmp_path), tmp_path / "md"
        name = self.wide(tmp_path)
        result = self.run(job, folder)
        kept = self.samples(folder)
        wanted = job.run_ps / job.sample_every_ps
        assert len(kept) == result.samples and wanted - 1.5 <= len(kept) <= wanted + 1e-6
        for line in kept:
            atoms = atoms_from_json(line["atoms"])
            assert list(atoms.numbers) == list(job.start.numbers) and atoms.pbc.all()
            assert abs(line["ps"] - line["step"] * job.timestep_fs / 1000) < 1e-9
            assert line["ps"] >= job.equilibration_ps, "frames of the equilibration do not count"
            assert line["potential"] == name and 0 <= line["gamma_max"] <= job.gamma_break
        apart = [after["ps"] - line["ps"] for line, after in pairwise(kept)]
        slack_ps = job.gamma_every * job.timestep_fs / 1000
        assert min(apart) >= job.sample_every_ps - slack_ps - 1e-9
        assert len({line["group"] for line in kept}) == 1, "frames of one trajectory are one group"
        assert len({json.dumps(line["atoms"]) for line in kept}) == len(kept)

    def test_a_run_that_serves_goes_on_until_a_newer_potential_has_made_the_run(
        self, tmp_path: Path
    ) -> None:
        job, folder = replace(self.job(tmp_path), serve=True), tmp_path / "md"
        old = self.narrow(tmp_path)
        result = self.run_and_publish(
            job, folder, lambda line: line.get("clean_ps", 0.0) >= job.run_ps - 1e-6
        )
        (swap,) = self.of(folder, "swap")
        assert (swap["old"], swap["new"]) == (old, result.potential)
        assert (result.clean, result.swaps, result.breaks) == (True, 1, 0)
        assert not self.of(folder, "resume"), "one motion from end to end"
        assert abs(result.clean_ps - job.run_ps) < 1e-6
        own_ps = (result.steps - swap["step"]) * job.timestep_fs / 1000
        assert own_ps >= job.equilibration_ps + job.run_ps - 1e-6
        kept = self.samples(folder)
        assert [line["potential"] for line in kept[-result.samples :]] == [
            result.potential
        ] * result.samples
        assert {line["potential"] for line in kept[: -result.samples]} == {old}
        assert len(kept) <= 2 * job.run_ps / job.sample_every_ps + 1e-6, (
            "beyond its run it keeps none"
        )

    def test_a_run_that_serves_nobody_ends(self, tmp_path: Path) -> None:
        job, folder = replace(self.job(tmp_path), serve=True, wait_s=0.0), tmp_path / "md"
        name = self.wide(tmp_path)
        result = self.run(job, folder)
        assert (result.clean, result.potential, result.swaps) == (True, name, 0)

    def test_a_break_rewinds_and_goes_on_with_the_next_potential(self, tmp_path: Path) -> None:
        job, folder = self.broken(self.job(tmp_path)), tmp_path / "md"
        name = self.hopeless(tmp_path)
        result = self.run_and_publish(job, folder, lambda line: line.get("state") == "waiting")
        kinds = [line["type"] for line in self.lines(folder)]
        order = [kind for kind in kinds if kind in ("break", "swap", "resume")]
        assert order == ["break", "swap", "resume"]
        (stopped,) = self.of(folder, "break")
        assert stopped["gamma"] > job.gamma_break and stopped["potential"] == name
        *_, found = self.of(folder, "candidate")
        data = read_json(folder / found["file"])
        candidate = Candidate.from_json(data)
        assert found["potential"] == candidate.provenance.potential == name
        assert found["gamma"] > 0
        assert len(data["gamma"]) == len(candidate.atoms) == len(job.start)
        assert (result.clean, result.breaks, result.swaps) == (True, 1, 1)
        told = len(self.of(folder, "candidate"))
        assert result.candidates == told >= 1, "what broke it is worth a calculation"
        assert abs(result.clean_ps - job.run_ps) < 1e-6, "the whole run under the next potential"
        last = self.samples(folder)[-result.samples :]
        assert {line["potential"] for line in last} == {result.potential}

    def test_after_a_break_it_does_not_wait_for_ever(self, tmp_path: Path) -> None:
        job, folder = self.broken(self.job(tmp_path)), tmp_path / "md"
        name = self.hopeless(tmp_path)
        result = self.run(replace(job, wait_s=0.0), folder)
        assert (result.clean, result.breaks, result.potential) == (False, 1, name)
        assert (result.clean_ps, result.samples) == (0.0, 0)

    def test_a_stopped_run_goes_on_from_its_snapshot(self, tmp_path: Path) -> None:
        job, folder = self.broken(self.job(tmp_path)), tmp_path / "md"
        self.hopeless(tmp_path)
        first = self.run(replace(job, wait_s=0.0), folder)
        assert first.steps > 0 and (folder / SNAPSHOT).is_file()
        self.wide(tmp_path)
        second = self.run(replace(job, wait_s=0.0), folder)
        (resumed,) = self.of(folder, "resume")
        assert 0 < resumed["step"] <= first.steps
        assert second.clean and second.steps > resumed["step"], "its steps count on"
        own_ps = (second.steps - resumed["step"]) * job.timestep_fs / 1000
        assert own_ps >= job.run_ps, "and it makes the whole run"
