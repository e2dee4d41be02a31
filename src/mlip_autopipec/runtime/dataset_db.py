"""The ASE database of labels: written by the driver alone, rebuilt from the attempt folders
whenever rows are missing.

ASE's own lock file would outlive a killed writer and stop every later one, so it is switched off:
the driver's lock on the run folder already keeps writers apart. ASE makes the tables of a new
database one by one; killed between two of them it leaves a file that it cannot open any more. So a
database is made aside and put in place whole, and one that was never finished, which holds no row,
is made anew.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.base.labels import LabelledStructure
from mlip_autopipec.campaign.labelled import labelled_structure
from mlip_autopipec.campaign.payloads import LabelPayload
from mlip_autopipec.campaign.state import TaskRecord

__all__ = ["add", "names", "with_results"]


def add(path: Path, records: Iterable[TaskRecord], known: set[str]) -> None:
    """Add the finished labels among ``records`` that ``known`` (names already there) lacks;
    ``known`` is updated.

    All in one transaction: a row costs a fraction of a millisecond, a transaction tens of them.
    """
    missing = [
        r
        for r in records
        if r.task.kind == "label" and r.status == "done" and r.task.id not in known
    ]
    if not missing:
        return
    _make(path)
    with connect(path, type="db", use_lock_file=False) as database:
        for record in missing:
            item = labelled_structure(record)
            label = item.label
            database.write(
                with_results(item),
                name=item.name,
                purpose=record.asked(LabelPayload).purpose,
                strategy=item.provenance.strategy,
                family=_as_text(item.provenance.group),
                method_hash=_as_text(label.method_hash),
                scf_steps=label.scf_steps,
                wall_s=label.wall_s,
                attempts=len(record.attempts),
                masked=item.core is not None,
                data={
                    "provenance": item.provenance.to_json(),
                    "core": list(item.core) if item.core else None,
                },
            )
            known.add(item.name)


def _make(path: Path) -> None:
    """An empty database at ``path``, unless a whole one is there."""
    if _is_whole(path):
        return
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        connect(made, type="db", use_lock_file=False).count()
        content = made.read_bytes()
    path.with_name(f"{path.name}-journal").unlink(
        missing_ok=True
    )  # of a database that was never finished
    atomic_write(path, content)


def _is_whole(path: Path) -> bool:
    """Whether ASE's version, the last thing that it writes into a new database, is there."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(path)) as connection:
        try:
            found = connection.execute(
                "SELECT value FROM information WHERE name='version'"
            ).fetchone()
        except sqlite3.OperationalError:
            return False
    return found is not None


def _as_text(value: str) -> str:
    """ASE refuses texts that could be numbers, as one hash in three hundred could; those get a
    leading ``h``.
    """
    try:
        float(value)
    except ValueError:
        return value
    return f"h{value}"


def names(path: Path) -> set[str]:
    """Names of all rows."""
    if not _is_whole(path):
        return set()
    return {row.name for row in _rows(path)}


def _rows(path: Path) -> Iterable:  # type: ignore[type-arg]
    return connect(path, type="db", use_lock_file=False).select(include_data=False)  # type: ignore[no-any-return]


def with_results(item: LabelledStructure) -> Atoms:
    """The structure with its label as results of a calculator."""
    atoms: Atoms = item.atoms.copy()
    results = {"energy": item.label.energy_ev, "forces": item.label.forces}
    if item.label.stress is not None:
        results["stress"] = item.label.stress
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
