"""``mlip-auto dft diagnose``: why calculations of pw.x failed, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.engines.dft.quantum_espresso.diagnose import Diagnosis, diagnose

__all__ = ["ALL_OK", "SOME_FAILED", "run", "text_of"]

ALL_OK, SOME_FAILED = 0, 1


def run(folders: Sequence[Path], as_json: bool = False) -> int:
    """Print one diagnosis per folder (with ``as_json`` a list of objects); 0 when every one is
    ``ok``, else 1.

    Raises InputError for a path that is no folder, before anything is printed.
    """
    found = [diagnose(folder) for folder in folders]
    if as_json:
        print(json.dumps([item.to_json() for item in found], indent=1))
    else:
        print("\n\n".join(text_of(item) for item in found))
    return ALL_OK if all(item.cls == "ok" for item in found) else SOME_FAILED


def text_of(item: Diagnosis) -> str:
    """The diagnosis in a few lines."""
    lines = [f"{item.folder}: {item.cls}", f"  {item.message}"]
    lines += [f"  {entry.file}:{entry.line}: {entry.text}" for entry in item.evidence]
    if item.cls != "ok":
        lines.append(f"  cure: {item.cure}")
    return "\n".join(lines)
