"""The reference pages of files say what the code writes: every key, its type, unit and meaning."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from ase.db import connect
from ase.io import read, write

from mlip_autopipec.base.files import read_json
from mlip_autopipec.campaign.labelled import labelled_structures
from mlip_autopipec.campaign.state import fold
from mlip_autopipec.report.training_file import training_frames
from mlip_autopipec.runtime import dataset_db
from mlip_autopipec.runtime.store import EventStore

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def schema() -> ModuleType:
    spec = importlib.util.spec_from_file_location("schema_pages", DOCS / "schema_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["schema_pages"] = module
    spec.loader.exec_module(module)
    return module


def tables(page: str) -> dict[str, list[list[str]]]:
    """Heading -> rows of the table below it (key, value, unit, meaning)."""
    found: dict[str, list[list[str]]] = {}
    for section in re.split(r"^## ", (DOCS / "reference" / page).read_text(), flags=re.M)[1:]:
        rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:2] == "| "]
        found[section.splitlines()[0]] = [[cell.strip("` ") for cell in row] for row in rows[1:]]
    return found


def keys(page: str, heading: str) -> list[str]:
    return [row[0] for row in tables(page)[heading]]


@pytest.mark.parametrize("name", ["status.md", "summary.md", "labels.md", "stream.md"])
def test_a_generated_page_is_what_the_classes_say(schema, name):
    text = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert text == schema.pages()[name], "run: python docs/schema_pages.py"


@pytest.mark.parametrize("name", ["status.md", "summary.md", "labels.md", "stream.md"])
def test_every_key_has_a_meaning(name):
    for heading, rows in tables(name).items():
        assert rows, heading
        for row in rows:
            assert len(row) == 4 and row[3], f"{name}, {heading}: {row[0]} has no meaning"


def test_units_follow_from_names(schema):
    found = {
        name: schema.unit_of(name)
        for name in ("wall_s", "clean_ps", "core_hours", "force_rmse_mev_per_a", "lattice_a", "a")
    }
    assert found == {
        "wall_s": "s",
        "clean_ps": "ps",
        "core_hours": "core h",
        "force_rmse_mev_per_a": "meV/Å",
        "lattice_a": "Å",
        "a": "Å",
    }
    for name in ("tasks", "labels", "attempts", "gamma_max", "has"):
        assert schema.unit_of(name) == ""


def test_the_pages_name_every_key_of_a_written_file(stored_run):
    """Also of version 1, whose keys a program may still ask for."""
    assert set(read_json(stored_run / "result/summary.json")) <= set(keys("summary.md", "Summary"))
    old = set(read_json(stored_run / "status.json")) - {"cures", "healing"}
    assert old <= set(keys("status.md", "Status"))


def test_lines_of_md_have_the_keys_of_the_page(stored_run):
    log = EventStore(stored_run / "campaign.db")
    events = [event for _, event in log.load() if hasattr(event, "line")]
    log.close()
    assert len(events) == 710
    for event in events:
        line = event.line()
        assert set(line) - {"type"} <= set(keys("stream.md", f"`{line['type']}`"))


@pytest.fixture
def state(stored_run):
    log = EventStore(stored_run / "campaign.db")
    try:
        return fold(event for _, event in log.load())
    finally:
        log.close()


def test_rows_of_the_dataset_have_the_keys_of_the_page(tmp_path, state):
    path = tmp_path / "new.db"
    dataset_db.add(path, state.of_kind("label"), set())
    rows = list(connect(path, use_lock_file=False).select())
    assert len(rows) == 57
    for row in rows:
        assert set(row.key_value_pairs) == set(keys("dataset.md", "Keys"))
        assert set(row.data) == set(keys("dataset.md", "Data"))
    kinds = {"text": str, "integer": int, "number": float, "true or false": bool}
    for key, kind, *_ in tables("dataset.md")["Keys"]:
        assert isinstance(rows[0].key_value_pairs[key], kinds[kind]), key


def test_frames_of_the_training_file_have_the_keys_of_the_page(tmp_path, state):
    frames = training_frames(labelled_structures(state, "train"), [], set(), 0.0)
    write(tmp_path / "t.extxyz", frames, format="extxyz")
    info = tables("training-extxyz.md")["Keys of the second line of a frame"]
    columns = tables("training-extxyz.md")["Columns beside species, positions and forces"]
    for frame in read(tmp_path / "t.extxyz", ":"):
        assert set(frame.info) == {row[0] for row in info}
        assert set(frame.arrays) - {"numbers", "positions"} == {row[0] for row in columns}
        provenance = frame.info["provenance"]
        assert set(provenance if isinstance(provenance, dict) else json.loads(provenance)) == {
            "strategy",
            "group",
            "parameters",
            "seed",
            "parent",
            "potential",
        }
