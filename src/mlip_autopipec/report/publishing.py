"""Puts prepared files in place without ever losing one that somebody else wrote.

A folder knows by its manifest which files an earlier call wrote, with their sha256. Only these are
replaced and removed. What a person changed, or put under the same name, is kept beside as
``NAME.kept``; everything else is left alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from mlip_autopipec.base.files import read_json, write_json

__all__ = ["MANIFEST", "contents", "publish"]

MANIFEST = ".manifest.json"
#: Folders from before the manifest name their files here.
OLDER_MANIFEST, OLDER_KEY = "summary.json", "files"
#: In the place of a sha256 that is not known.
UNKNOWN = ""

Manifest = dict[str, list[str]]
"""Path below the folder -> sha256 of what was written there."""


def contents(folder: Path) -> list[str]:
    """Every file below ``folder`` as a path relative to it, with ``/``; sorted."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def publish(
    staging: Path, target: Path, *, last: str | None = None, stays: Callable[[str], bool]
) -> tuple[str, ...]:
    """Move every file of ``staging`` (``last`` the last) into ``target``, each at once, and remove
    what earlier calls left there, but for names that may stay.

    Returns the names under which changed files of somebody else were kept. A kill at any moment
    leaves whole files, and a manifest that knows them.
    """
    target.mkdir(exist_ok=True)
    before = _manifest(target)
    names = sorted(contents(staging), key=lambda name: name == last)
    after = {name: [_sha256(staging / name)] for name in names}
    both = {name: [*before.get(name, []), *after.get(name, [])] for name in {*before, *after}}
    write_json(target / MANIFEST, both)
    kept = []
    for name in names:
        kept += _make_room(target, name, before)
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with (staging / name).open("rb") as file:
            os.fsync(file.fileno())
        os.replace(staging / name, place)
    stale = [name for name in before if name not in after and not stays(name)]
    _remove(target, stale, before)
    left = {name: known for name, known in before.items() if name not in stale}
    write_json(target / MANIFEST, {**left, **after})
    return tuple(kept)


def _manifest(folder: Path) -> Manifest:
    """What earlier calls wrote. A manifest that is damaged, or names what lies elsewhere, knows
    less: then more is kept.
    """
    if (folder / MANIFEST).is_file():
        found = _json(folder / MANIFEST)
        items = found.items() if isinstance(found, dict) else ()
        return {
            name: [str(sha) for sha in known]
            for name, known in items
            if isinstance(known, list) and _inside(folder, name)
        }
    found = _json(folder / OLDER_MANIFEST)
    files = found.get(OLDER_KEY) if isinstance(found, dict) else None
    names = files if isinstance(files, list) else []
    return {name: [UNKNOWN] for name in names if isinstance(name, str) and _inside(folder, name)}


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def _inside(folder: Path, name: str) -> bool:
    """Whether ``name`` is a path below ``folder``, through no link."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name:
        return False
    return not any((folder / parent).is_symlink() for parent in path.parents)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_ours(path: Path, known: list[str]) -> bool:
    """Whether ``path`` is a file as an earlier call left it."""
    if path.is_symlink() or not path.is_file():
        return False
    return UNKNOWN in known or _sha256(path) in known


def _make_room(target: Path, name: str, before: Manifest) -> list[str]:
    """Move away what is in the place of ``name``, or of one of its folders, and is not ours."""
    kept = []
    for parent in reversed(PurePosixPath(name).parents[:-1]):
        folder = target / parent
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            kept.append(_keep(folder))
    place = target / name
    if (place.is_symlink() or place.exists()) and not _is_ours(place, before.get(name, [])):
        kept.append(_keep(place))
    return kept


def _keep(path: Path) -> str:
    """Rename to a free name beside; returns that name."""
    number, free = 1, path.with_name(f"{path.name}.kept")
    while free.is_symlink() or free.exists():
        number += 1
        free = path.with_name(f"{path.name}.kept-{number}")
    path.rename(free)
    return free.name


def _remove(target: Path, names: Iterable[str], before: Manifest) -> None:
    """Of an earlier result; a folder that it leaves empty goes, too."""
    for name in names:
        place = target / name
        if not _is_ours(place, before[name]):
            continue
        place.unlink()
        if place.parent != target and not any(place.parent.iterdir()):
            place.parent.rmdir()
