"""What of the families lies on this machine: ``$MLIP_DATA/pseudos/<family>/<element>.upf``, checked
by checksum.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlip_autopipec.base.errors import InputError, MissingProgramError, MlipError
from mlip_autopipec.base.files import atomic_write, data_folder
from mlip_autopipec.engines.dft.quantum_espresso.pseudos import own, sources
from mlip_autopipec.engines.dft.quantum_espresso.pseudos.families import (
    DEFAULT_FAMILY,
    OWN,
    Family,
    checksums,
    facts_of,
    families,
    family_facts,
    own_table,
)

__all__ = [
    "FamilyStatus",
    "State",
    "check_recorded",
    "folder_of",
    "install",
    "list_families",
    "locate",
    "verify",
]

State = Literal["ok", "missing", "damaged"]


@dataclass(frozen=True, slots=True)
class FamilyStatus:
    """What is on this machine of one family."""

    name: str
    functional: str
    licence: str
    installed: int
    elements: int
    folder: Path


def folder_of(family: str = DEFAULT_FAMILY) -> Path:
    """Where the files of a family lie."""
    return data_folder() / "pseudos" / family_facts(family).name


def _path(family: str, element: str) -> Path:
    return folder_of(family) / f"{element}.upf"


def _state(family: str, element: str) -> State:
    wanted, path = facts_of(family, element).sha256, _path(family, element)
    if not path.is_file():
        return "missing"
    return "ok" if wanted in checksums(path.read_bytes()) else "damaged"


def locate(family: str, element: str) -> Path:
    """The installed file, checked against its checksum.

    Raises MissingProgramError with the mending command when it is not there or is not the file of
    the table.
    """
    state = _state(family, element)
    if state != "ok":
        what = f"an intact pseudopotential of {element} in {folder_of(family)} ({state})"
        source = " --from FOLDER" if family.startswith(OWN) else ""
        raise MissingProgramError(what, f"mlip-auto pseudos install {family}{source}")
    return _path(family, element)


def check_recorded(paths: Mapping[str, Path], recorded: Mapping[str, str]) -> None:
    """Compare the files (element -> path) with the checksums that a method carries, element by
    element.

    A family can change after a method was written (the user's own above all, which is installed
    anew under its name): labels of another file would be of another physics under the same method
    hash. Elements without a recorded checksum are left out. Raises InputError that names the file,
    the wanted and the found checksum.
    """
    for element, path in paths.items():
        wanted = recorded.get(element)
        found = checksums(path.read_bytes())
        if wanted is not None and wanted not in found:
            same_kind = next(
                name for name in found if name.startswith("md5:") is wanted.startswith("md5:")
            )
            raise InputError(
                f"the pseudopotential of {element} is not the one that the method was made with",
                file=path,
                key=f"dft.pseudo_sha256.{element}",
                value=same_kind,
                hint=f"wanted {wanted}: install that file again, or start a new run with this one",
            )


def verify(family: str = DEFAULT_FAMILY, elements: Iterable[str] | None = None) -> dict[str, State]:
    """Element -> ``ok``, ``missing`` or ``damaged`` (its checksum is not the table's)."""
    return {
        element: _state(family, element)
        for element in elements or sorted(family_facts(family).elements)
    }


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
        for name, entry in families().items()
    ]


def install(
    family: str = DEFAULT_FAMILY, elements: Sequence[str] | None = None, source: Path | None = None
) -> list[Path]:
    """Install the files of ``elements`` (None: all) and return the paths written; intact files are
    left alone.

    ``source``: a local folder, wheel, Debian package or tar archive that holds them, under any
    names; None: the packages named in the table are downloaded. ``own/NAME`` takes every UPF file
    of the folder ``source``, see :func:`own.make_family`. Raises InputError (unknown family or
    element, files not in ``source``) or MissingProgramError (download failed).
    """
    if family.startswith(OWN) and source is not None:
        return _install_own(family, source)
    entry = family_facts(family)
    states = verify(family, elements)
    wanted = {
        element: entry.elements[element].sha256
        for element, state in states.items()
        if state != "ok"
    }
    if not wanted:
        return []
    if source is not None:
        written = _write_matching(entry, wanted, sources.contents(source, entry.sources))
    else:
        written = _download(entry, wanted)
    left = sorted(set(wanted) - {path.stem for path in written})
    if left:
        packages = " or ".join(f"{package}, folder {folder}" for package, folder in entry.sources)
        home = (
            f"; published at {entry.home}, an archive from there is taken with --from"
            if entry.home
            else ""
        )
        raise InputError(
            f"{source or entry.package} holds no file with the right sha256 for {', '.join(left)}"
            + (f" ({len(written)} others were installed)" if written else ""),
            hint=f"the files come from the package {packages}{home}",
        )
    return written


def _download(entry: Family, wanted: dict[str, str]) -> list[Path]:
    """Ask one package after the other for what is still missing.

    A package that cannot be had raises MissingProgramError, after the others were asked.
    """
    written: list[Path] = []
    problem: MlipError | None = None
    for package, folder in entry.sources:
        missing = {
            element: sha
            for element, sha in wanted.items()
            if element not in {path.stem for path in written}
        }
        if not missing:
            break
        with tempfile.TemporaryDirectory(prefix="mlip-pseudos-") as scratch:
            try:
                archive = sources.download(package, Path(scratch))
            except MissingProgramError as error:
                problem = problem or error
                continue
            written += _write_matching(
                entry, missing, sources.contents(archive, [(package, folder)])
            )
    if problem is not None and len(written) < len(wanted):
        raise problem
    return written


def _write_matching(entry: Family, wanted: dict[str, str], contents: Iterable[bytes]) -> list[Path]:
    """Write each content whose checksum is in ``wanted`` (element -> checksum) once, under its
    element's name.
    """
    written: list[Path] = []
    left = dict(wanted)
    for content in contents:
        names = checksums(content)
        for element in [element for element, checksum in left.items() if checksum in names]:
            path = folder_of(entry.name) / f"{element}.upf"
            atomic_write(path, content)
            written.append(path)
            del left[element]
        if not left:
            break
    return written


def _install_own(family: str, source: Path) -> list[Path]:
    made = own.make_family(family, source)
    table = own_table(family)
    written = []
    for element, path in made.files.items():
        target = table.parent / f"{element}.upf"
        atomic_write(target, path.read_bytes())
        written.append(target)
    own.write_table(made.family, table)  # last: a family that can be named has all its files
    return written
