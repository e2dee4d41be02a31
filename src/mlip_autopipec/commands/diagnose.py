"""``mlip-auto dft diagnose``: why calculations failed, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import Diagnoses, Diagnosis

__all__ = ["ALL_OK", "SOME_FAILED", "run", "text_of"]

ALL_OK, SOME_FAILED = 0, 1
#: Runs of one folder that a screen shows.
_MOST_RUNS = 20


def run(paths: Sequence[Path], as_json: bool = False, engine: str | None = None) -> int:
    """Print one diagnosis per file or folder (with ``as_json`` a list of objects); 0 when every one
    is ``ok``, else 1. ``engine``: whose outputs they are (None: the default one).

    Raises InputError for a path that is neither, and for an engine that knows no outputs but its
    own, before anything is printed.
    """
    code = registry.dft_engine(engine or registry.DEFAULT_DFT)
    if not isinstance(code, Diagnoses):
        raise InputError(f"{code.title} cannot diagnose folders", key="--engine", value=engine)
    found = [code.diagnose(path) for path in paths]
    if as_json:
        print(json.dumps([item.to_json() for item in found], indent=1))
    else:
        print("\n\n".join(text_of(item) for item in found))
    return ALL_OK if all(item.cls == "ok" for item in found) else SOME_FAILED


def text_of(item: Diagnosis) -> str:
    """The diagnosis in a few lines, and one for each run where there are several."""
    lines = [f"{item.folder}: {item.cls}", f"  {item.message}"]
    lines += [f"  {entry.file}:{entry.line}: {entry.text}" for entry in item.evidence]
    if item.cls != "ok":
        lines.append(f"  cure: {item.cure}")
    if len(item.runs) > 1:
        lines.append("  runs, the oldest first:")
        shown = item.runs[-_MOST_RUNS:]
        if len(shown) < len(item.runs):
            lines.append(f"    ... ({len(item.runs) - len(shown)} more: see --json)")
        lines += [f"    {run.file}:{run.line}: {run.cls}: {run.message}" for run in shown]
    return "\n".join(lines)
