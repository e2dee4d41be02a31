"""What lies in a result folder and is not ours stays there, whatever is written again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.report import publishing
from mlip_autopipec.report.publishing import MANIFEST, contents, publish


def put(root: Path, files: dict[str, str], **options) -> tuple[str, ...]:
    staging = root / "staging"
    for name, text in files.items():
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_text(text)
    return publish(staging, root / "result", stays=lambda name: False, **options)


def test_what_an_earlier_result_wrote_is_replaced_and_removed(tmp_path):
    put(tmp_path, {"a": "1", "fit/b": "1", "c": "1"})
    assert put(tmp_path, {"a": "2"}) == ()
    assert contents(tmp_path / "result") == [MANIFEST, "a"]
    assert (tmp_path / "result/a").read_text() == "2"
    assert not (tmp_path / "result/fit").exists()


def test_files_of_a_person_are_never_deleted(tmp_path):
    put(tmp_path, {"in.lammps": "ours", "fit/b": "ours", "old": "ours"})
    result = tmp_path / "result"
    (result / "notes.txt").write_text("mine")
    (result / "fit/mine.yaml").write_text("mine")
    (result / "in.lammps").write_text("mine, changed")
    (result / "old").write_text("mine, changed")
    (result / "new").write_text("mine, of the same name")
    kept = put(tmp_path, {"in.lammps": "ours, again", "new": "ours"})
    assert sorted(kept) == ["in.lammps.kept", "new.kept"]
    texts = {name: (result / name).read_text() for name in contents(result) if name != MANIFEST}
    assert texts == {
        "notes.txt": "mine",
        "fit/mine.yaml": "mine",
        "in.lammps": "ours, again",
        "in.lammps.kept": "mine, changed",
        "old": "mine, changed",
        "new": "ours",
        "new.kept": "mine, of the same name",
    }
    (result / "new").write_text("mine again")
    assert put(tmp_path, {"new": "ours"}) == ("new.kept-2",)
    assert (result / "new.kept").read_text() == "mine, of the same name"


def test_a_file_of_a_person_in_the_place_of_our_folder_is_kept(tmp_path):
    (tmp_path / "result").mkdir()
    (tmp_path / "result/fit").write_text("mine")
    put(tmp_path, {"fit/b": "ours"})
    assert (tmp_path / "result/fit.kept").read_text() == "mine"
    assert (tmp_path / "result/fit/b").read_text() == "ours"


def test_a_link_is_never_followed(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "b").write_text("elsewhere")
    put(tmp_path, {"fit/b": "ours", "a": "ours"})
    result = tmp_path / "result"
    (result / "fit/b").unlink()
    (result / "fit").rmdir()
    (result / "fit").symlink_to(other)
    put(tmp_path, {"fit/b": "again"})
    assert (other / "b").read_text() == "elsewhere"
    assert (result / "fit/b").read_text() == "again"
    assert (result / "fit.kept").is_symlink()


@pytest.mark.parametrize("older", [False, True])
def test_a_manifest_that_names_other_folders_deletes_nothing_there(tmp_path, older):
    (tmp_path / "precious").write_text("mine")
    result = tmp_path / "result"
    result.mkdir()
    names = ["../precious", str(tmp_path / "precious"), "..", "."]
    if older:
        write_json(result / "summary.json", {"files": names})
    else:
        write_json(result / MANIFEST, {name: [publishing.UNKNOWN] for name in names})
    put(tmp_path, {"a": "1"})
    assert (tmp_path / "precious").read_text() == "mine"


def test_results_from_before_the_manifest_leave_nothing_stale(tmp_path):
    result = tmp_path / "result"
    result.mkdir()
    for name in ("potential.yaml", "potential.yace", "final.data"):
        (result / name).write_text("older")
    write_json(result / "summary.json", {"files": ["potential.yaml", "potential.yace"]})
    assert put(tmp_path, {"potential.yace": "ours", "fit/potential.yaml": "ours"}) == ()
    assert contents(result) == [
        MANIFEST,
        "final.data",
        "fit/potential.yaml",
        "potential.yace",
        "summary.json",
    ]


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 3}', "\0"])
def test_a_damaged_manifest_keeps_more_and_fails_at_nothing(tmp_path, text):
    put(tmp_path, {"a": "1", "b": "1"})
    (tmp_path / "result" / MANIFEST).write_text(text)
    put(tmp_path, {"a": "2"})
    assert (tmp_path / "result/a").read_text() == "2"
    assert (tmp_path / "result/a.kept").read_text() == "1"
    assert (tmp_path / "result/b").read_text() == "1"
    assert set(read_json(tmp_path / "result" / MANIFEST)) == {"a"}


def test_a_kill_in_the_middle_makes_no_file_a_persons(tmp_path, monkeypatch):
    put(tmp_path, {"a": "1", "b": "1", "c": "1"})
    replace, moved = os.replace, []

    def killed_after_one(source, target):
        if Path(target).parent.name == "result" and Path(target).name in "ab":
            moved.append(target)
            if len(moved) == 2:
                raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(publishing.os, "replace", killed_after_one)
        with pytest.raises(KeyboardInterrupt):
            put(tmp_path, {"a": "2", "b": "2"})
    assert (tmp_path / "result/a").read_text() == "2"
    assert put(tmp_path, {"a": "3", "b": "3"}) == ()
    assert contents(tmp_path / "result") == [MANIFEST, "a", "b"]
