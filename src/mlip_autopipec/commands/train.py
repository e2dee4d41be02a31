"""``mlip-auto train``: fit a potential to a file of labelled structures, without a campaign."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from mlip_autopipec.base.errors import InputError, MlipError
from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.problems import validate
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import TrainerFacts, TrainerSettings, TrainJob
from mlip_autopipec.engines.potential_folder import sign
from mlip_autopipec.science.dataset import group_split

__all__ = ["read_labelled", "train_file"]

HELD_OUT_FRACTION = 0.1
FORMAT_HINT = "an extended XYZ file with `energy` per structure and `forces` per atom (eV, eV/Å)"


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
) -> Json:
    """Fit the structures of ``data`` and judge on ``test`` (a tenth of the data, held out, when
    None).

    ``trainer``: by its name in the registry, or ``module:Class``; ``settings``: of that trainer,
    others than it derives for files. ``out`` becomes the potential folder; it may not exist yet.
    Returns ``{"trainer", "train", "test", "gamma_train_max", "cpu_s", "potential"}``; errors in
    meV/atom and meV/Å. Raises InputError for data that cannot be used and MlipError when the fit
    fails.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "this folder is not empty", key="--out", value=str(out), hint="choose another one"
        )
    items = read_labelled(data)
    if test is None:
        train, held_out = group_split(items, HELD_OUT_FRACTION, seed)
    else:
        train, held_out = tuple(items), tuple(read_labelled(test))
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
    return _fit(trainer, job, out, walltime_s)


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


def read_labelled(path: Path) -> list[LabelledStructure]:
    """Every structure of a file that ASE reads (also gzipped). Raises InputError without energies
    and forces.

    Structures with the same ``info["provenance_group"]`` are one group; else each is a group of its
    own.
    """
    try:
        frames = ase.io.read(path, ":")
    except FileNotFoundError as error:
        raise InputError("there is no such file", file=path) from error
    except Exception as error:  # ASE's readers raise whatever the parser stumbled over
        raise InputError(
            f"ASE cannot read it: {error}", file=path, hint=f"give {FORMAT_HINT}"
        ) from error
    assert isinstance(frames, list)
    if not frames:
        raise InputError("it holds no structure", file=path, hint=f"give {FORMAT_HINT}")
    return [_labelled(atoms, index, path) for index, atoms in enumerate(frames)]


def _labelled(atoms: Atoms, index: int, path: Path) -> LabelledStructure:
    results: dict[str, Any] = dict(atoms.calc.results) if atoms.calc is not None else {}
    energy = results.get("energy", atoms.info.get("energy"))
    forces = next(
        (
            found
            for found in (results.get("forces"), *_arrays(atoms, "forces", "force"))
            if found is not None
        ),
        None,
    )
    if energy is None or not np.isfinite(energy):
        raise InputError(
            f"structure {index} has no usable energy", file=path, hint=f"give {FORMAT_HINT}"
        )
    if forces is None or not np.isfinite(forces).all():
        raise InputError(
            f"structure {index} has no usable forces", file=path, hint=f"give {FORMAT_HINT}"
        )
    label = Label(
        energy_ev=float(energy),
        forces=np.asarray(forces, dtype=float).reshape(-1, 3),
        stress=None,
        method_hash="file",
        scf_steps=0,
        wall_s=0.0,
    )
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    group = str(atoms.info.get("provenance_group", f"{path.name}:{index}"))
    return LabelledStructure(f"{path.name}:{index}", bare, label, Provenance("file", group))


def _arrays(atoms: Atoms, *names: str) -> list[Any]:
    return [atoms.arrays.get(name) for name in names]


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
