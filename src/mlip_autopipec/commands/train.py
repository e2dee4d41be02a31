"""``mlip-auto train``: fit a potential to a file of labelled structures, without a campaign."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ase.data import atomic_numbers, covalent_radii

from mlip_autopipec.base.errors import InputError, MlipError
from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.base.problems import validate
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.commands.labelled_file import (
    LEARNED,
    Keys,
    in_words,
    read_file,
    read_labelled,
)
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import TrainerFacts, TrainerSettings, TrainJob
from mlip_autopipec.engines.potential_folder import sign
from mlip_autopipec.science.dataset import group_split, never_held_out
from mlip_autopipec.science.reading import Given

__all__ = ["Keys", "read_labelled", "train_file"]

HELD_OUT_FRACTION = 0.1
# A fit to fewer teaches nothing that could be tested.
LEAST_STRUCTURES = 2


def train_file(
    data: Path,
    test: Path | None,
    out: Path,
    *,
    trainer: str = registry.DEFAULT_TRAINER,
    settings: Mapping[str, Any] = MappingProxyType({}),
    seed: int = 1,
    threads: int = 1,
    walltime_s: float | None = None,
    keys: Keys | None = None,
    given: Given | None = None,
    keep_all: bool = False,
) -> Json:
    """Fit the structures of ``data`` and judge on ``test`` (when None on those that the file's own
    ``split`` does not give to training, else on a tenth of the data, held out by group).

    ``trainer``: by its name in the registry, or ``module:Class``; ``settings``: of that trainer,
    others than it derives for files. ``out`` becomes the potential folder; it may not exist yet.
    ``keys``, ``given`` and ``keep_all``: of both files, see :func:`read_file`. A test set that is
    drawn here has no free atom, and leaves every element in training.
    Returns ``{"trainer", "train", "test", "gamma_train_max", "cpu_s", "potential", "read",
    "ignored", "left_out", "notes"}``; errors in meV/atom and meV/Å, the last four in words.
    Raises InputError for data that cannot be used and MlipError when the fit fails.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "this folder is not empty", key="--out", value=str(out), hint="choose another one"
        )
    read = read_file(data, keys, given, keep_all=keep_all)
    train, held_out = read.train, read.held_out
    if not train:
        raise InputError(f"no structure may be learned: none is of the split {LEARNED}", file=data)
    if test is not None:
        held_out = read_file(test, keys, given, keep_all=keep_all).items
    elif not held_out:
        pinned = never_held_out(train)
        train, held_out = group_split(train, HELD_OUT_FRACTION, seed, train_only=pinned)
    if len(train) < LEAST_STRUCTURES:
        raise InputError(
            f"{read.of} structures, {len(train)} to be learned: too few for a fit",
            file=data,
            hint="; ".join(read.left_out) or "add labelled structures",
        )
    elements = sorted({symbol for item in train for symbol in item.atoms.get_chemical_symbols()})
    _require_known(held_out, elements, test)
    job = TrainJob(
        elements=tuple(elements),
        train=train,
        test=held_out,
        settings=_settings(trainer, elements, settings),
        seed=seed,
        threads=threads,
    )
    with_stress = sum(item.label.stress is not None for item in read.items)
    masked = sum(item.core is not None for item in read.items)
    told = {
        "read": f"{in_words(read.used)}; stress of {with_stress} and force weights of 0 in"
        f" {masked} of {len(read.items)} structures",
        "ignored": in_words(read.ignored),
        "left_out": list(read.left_out),
        "notes": list(read.notes),
    }
    return {**_fit(trainer, job, out, walltime_s), **told}


def _settings(trainer: str, elements: list[str], given: Mapping[str, Any]) -> TrainerSettings:
    """What the trainer derives for a file, with what was given in its place."""
    schema = registry.trainer(trainer).schema
    radius = max(float(covalent_radii[atomic_numbers[element]]) for element in elements)
    facts = TrainerFacts(tuple(elements), bond_a=2 * radius, use="file")
    derived, _ = schema.derived(facts)
    return validate(schema, {**derived.model_dump(), **given}, None)


def _fit(name: str, job: TrainJob, out: Path, walltime_s: float | None) -> Json:
    """Run the fit in a folder beside ``out``, which is kept when the fit fails."""
    trainer = registry.trainer(name)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{out.name}-fit-", dir=out.parent))
    trained = trainer.parse(job, work, run_prepared(trainer.prepare(job, work), work, walltime_s))
    if isinstance(trained, Failure):
        lines = "; ".join(item.text for item in trained.evidence[-2:])
        raise MlipError(f"{trained.message} ({work}): {lines}")
    sign(trained.folder, name, job.elements)
    if out.exists():
        out.rmdir()
    shutil.move(trained.folder, out)
    shutil.rmtree(work)
    metrics = trained.metrics
    summary: Json = {
        key: metrics[key] for key in ("train", "test", "gamma_train_max", "cpu_s") if key in metrics
    }
    return {"trainer": name, **summary, "potential": str(out.resolve())}


def _require_known(
    items: tuple[LabelledStructure, ...], elements: list[str], path: Path | None
) -> None:
    strange = {symbol for item in items for symbol in item.atoms.get_chemical_symbols()} - set(
        elements
    )
    if strange:
        raise InputError(
            "the test set has elements that the training set lacks",
            file=path,
            value=sorted(strange),
            hint="add structures with them to the training set",
        )
