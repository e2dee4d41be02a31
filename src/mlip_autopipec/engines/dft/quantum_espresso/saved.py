"""Is the data file of a run that says ``JOB DONE`` really there?

On a full disk pw.x 6.7 may end with ``JOB DONE``, exit code 0 and not a word in output or stderr:
it looks after the charge density (``write_rhog``), but not after the XML, the wave functions and
the copies of the pseudopotentials, which are then empty or end at a block of the file system
(``tests/fixtures/qe/disk_full_silent``, ``disk_full_xml_cut``).
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from mlip_autopipec.base.tasks import Evidence, Failure

__all__ = ["DATA_FILE", "lost_data"]

DATA_FILE = "data-file-schema.xml"


def lost_data(save: Path, root: Path, said: tuple[Evidence, ...]) -> Failure | None:
    """What is wrong with the data file in the folder ``save`` (``PREFIX.save``), or None when it is
    whole.

    ``disk``: it is empty or cut off, or it is missing beside files that are empty. ``interrupted``:
    it is missing or cannot be read, for a reason that the files do not tell. ``said``: the lines
    with which pw.x said it was done; names in the message are relative to ``root``.
    """
    path = save / DATA_FILE
    name = str(path.relative_to(root))
    try:
        text = path.read_text(errors="replace")
        if text.strip():
            ElementTree.fromstring(text)
            return None
    except FileNotFoundError:
        kind = "disk" if (aside := _empty_beside(save)) else "interrupted"
        return Failure(kind, f"JOB DONE, but {name} is missing{aside}", said)
    except OSError as error:
        return Failure(
            "interrupted", f"JOB DONE, but {name} cannot be read: {error.strerror}", said
        )
    except ElementTree.ParseError as error:
        lines = text.splitlines()
        proof = (*said, Evidence(name, len(lines), lines[-1].strip()))
        message = (
            f"JOB DONE, but {name} is cut off after {path.stat().st_size} bytes"
            f" ({error}){_empty_beside(save)}"
        )
        return Failure("disk", f"{message}: the disk was full or the write failed", proof)
    message = (
        f"JOB DONE, but {name} is empty{_empty_beside(save)}: the disk was full or the write failed"
    )
    return Failure("disk", message, said)


def _empty_beside(save: Path) -> str:
    """``; empty beside it: ...`` for the message, or nothing when no other file is empty."""
    names = sorted(
        path.name for path in save.glob("*") if path.is_file() and not path.stat().st_size
    )
    names = [name for name in names if name != DATA_FILE]
    if not names:
        return ""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"; empty beside it: {shown}"
