"""Contract suite of the MD explorers. It runs real motion, in the folder of the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.ports import MdEngine, MdJob

__all__ = ["MdEngineContract"]


class MdEngineContract:
    """``engine``; ``job(folder)``: a short run that stays known; its pointer file lies in
    ``folder``.
    """

    engine: ClassVar[MdEngine]

    def job(self, folder: Path) -> MdJob:
        raise NotImplementedError

    def test_a_clean_run_reports_what_it_did(self, tmp_path: Path) -> None:
        job = self.job(tmp_path)
        folder = tmp_path / "md"
        folder.mkdir()
        result = self.engine.run(job, folder)
        assert not isinstance(result, Failure), result
        assert result["clean"] and result["clean_ps"] >= job.clean_ps
        assert result["ps"] == np.float64(result["ps"]) and result["steps"] > 0
        assert result["potential"] == read_json(job.pointer)["name"]
        lines = [json.loads(line) for line in (folder / "stream.jsonl").read_text().splitlines()]
        assert lines and all("step" in line and "type" in line for line in lines)
        progress = [line for line in lines if line["type"] == "progress"]
        assert progress and progress[-1]["state"] in ("running", "waiting")
