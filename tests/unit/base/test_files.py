"""Files that must survive a kill: whole or not at all, and claimed by one alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mlip_autopipec.base import files
from mlip_autopipec.base.files import append_line, atomic_write, claim, read_json, write_json


def test_a_reader_with_the_file_open_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    atomic_write(path, "old content")
    with path.open() as reader:
        atomic_write(path, "new")
        assert reader.read() == "old content"
    assert path.read_text() == "new"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "value.json"
    atomic_write(path, "old")

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, step, fail)
        with pytest.raises(OSError, match="no space"):
            atomic_write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("flush", [True, False])
def test_the_content_is_on_disk_before_the_name_points_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: bool
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: order.append("fsync") or fsync(handle))
    monkeypatch.setattr(files.os, "replace", lambda *a: order.append("replace") or replace(*a))
    atomic_write(tmp_path / "deep" / "value", b"x", flush=flush)
    assert order == (["fsync", "replace", "fsync"] if flush else ["replace"])


def test_a_claim_is_given_once(tmp_path: Path) -> None:
    assert claim(tmp_path / "claim", "first")
    assert not claim(tmp_path / "claim", "second")
    assert (tmp_path / "claim").read_text() == "first"


def test_lines_are_appended_whole(tmp_path: Path) -> None:
    for number in range(3):
        append_line(tmp_path / "stream.jsonl", {"number": number, "values": np.arange(2)})
    lines = (tmp_path / "stream.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"number": number, "values": [0, 1]} for number in range(3)
    ]


def test_numpy_values_are_written_as_plain_ones(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": np.float64(0.5), "b": np.arange(3), "c": np.bool_(True)})
    assert read_json(tmp_path / "x.json") == {"a": 0.5, "b": [0, 1, 2], "c": True}
