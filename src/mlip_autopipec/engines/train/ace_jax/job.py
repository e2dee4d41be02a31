"""What a fit reads: ``job.json``, settings and both sets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.engines.ports import TrainJob
from mlip_autopipec.engines.train.ace_jax.schema import AceJaxSettings

__all__ = ["Job", "job_text", "read_job"]


@dataclass(frozen=True)
class Job:
    """``elements``: sorted."""

    elements: tuple[str, ...]
    settings: AceJaxSettings
    masked_energy_weight: float
    train: tuple[LabelledStructure, ...]
    test: tuple[LabelledStructure, ...]


def job_text(job: TrainJob) -> str:
    """``job.json`` of a fit."""
    return json.dumps(
        {
            "elements": sorted(job.elements),
            "settings": job.settings.model_dump(),
            "masked_energy_weight": job.masked_energy_weight,
            "train": [item.to_json() for item in job.train],
            "test": [item.to_json() for item in job.test],
        }
    )


def read_job(path: Path) -> Job:
    """Inverse of :func:`job_text`."""
    data = read_json(path)
    train, test = (
        tuple(LabelledStructure.from_json(item) for item in data[part])
        for part in ("train", "test")
    )
    return Job(
        tuple(data["elements"]),
        AceJaxSettings.model_validate(data["settings"]),
        float(data["masked_energy_weight"]),
        train,
        test,
    )
