"""Weights of the MACE-MP family: kept where the package itself keeps them, downloaded at first use.

Source: https://github.com/ACEsuit/mace-foundations; only models under the MIT licence that were
fitted to PBE(+U) relaxations of the Materials Project (MPA-0: and of Alexandria) are offered by
name.
"""

from __future__ import annotations

import os
import threading
import urllib.request
from pathlib import Path

from mlip_autopipec.base.errors import InputError, MissingProgramError, nearest
from mlip_autopipec.base.files import atomic_write

__all__ = ["DEFAULT", "URLS", "cache_folder", "cached", "fetch", "find"]

_RELEASES = "https://github.com/ACEsuit/mace-mp/releases/download/"
URLS = {
    "small": _RELEASES + "mace_mp_0/2023-12-10-mace-128-L0_energy_epoch-249.model",
    "medium": _RELEASES + "mace_mp_0/2023-12-03-mace-128-L1_epoch-199.model",
    "small-0b2": _RELEASES + "mace_mp_0b2/mace-small-density-agnesi-stress.model",
    "medium-0b2": _RELEASES + "mace_mp_0b2/mace-medium-density-agnesi-stress.model",
    "medium-0b3": _RELEASES + "mace_mp_0b3/mace-mp-0b3-medium.model",
    "medium-mpa-0": _RELEASES + "mace_mpa_0/mace-mpa-0-medium.model",
}
# 0b2 added a pair repulsion and compressed cells to the training: what exploration meets. Small: a
# third of the cost.
DEFAULT = "small-0b2"

FIRST_ANSWER_S = 5.0
WHOLE_FILE_S = 180.0


def cache_folder() -> Path:
    """The folder of the mace package: ``$XDG_CACHE_HOME/mace`` or ``~/.cache/mace``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mace"


def cached(name: str) -> Path:
    """Where the weights called ``name`` lie, or would lie: the file name that the mace package
    gives them.
    """
    return cache_folder() / "".join(
        c for c in URLS[name].rpartition("/")[2] if c.isalnum() or c == "_"
    )


def find(model: str) -> Path | None:
    """The file of a model, None for a known name that is not here yet.

    Raises InputError for anything else.
    """
    if model in URLS:
        path = cached(model)
        return path if path.is_file() else None
    path = Path(model).expanduser().resolve()
    if not path.is_file():
        hint = f"the path of a model file, or a name; {nearest(model, URLS)}"
        raise InputError("no such MACE model", key="surrogate.model", value=model, hint=hint)
    return path


def fetch(
    name: str, *, first_answer_s: float = FIRST_ANSWER_S, whole_file_s: float = WHOLE_FILE_S
) -> Path:
    """Download the weights called ``name`` (10-100 MB) unless they are here.

    Gives up when nothing has come within ``first_answer_s`` or the file is not whole within
    ``whole_file_s``; both include the search for the host's address, which knows no time limit of
    its own. Raises MissingProgramError with the cause and the command that fetches the file by
    hand.
    """
    target = cached(name)
    if target.is_file():
        return target
    download = _Download(URLS[name], first_answer_s)
    download.start()
    download.answered.wait(first_answer_s)
    if not download.answered.is_set():
        raise _missing(name, f"no answer within {first_answer_s:g} s")
    download.join(whole_file_s)
    if download.is_alive():
        download.abandoned = True
        raise _missing(name, f"not downloaded within {whole_file_s:g} s")
    if download.problem is not None or download.content is None:
        raise _missing(name, download.problem or "empty answer")
    atomic_write(target, download.content)
    return target


class _Download(threading.Thread):
    """A thread, because the look-up of a name can block for minutes and cannot be interrupted."""

    def __init__(self, url: str, timeout_s: float) -> None:
        super().__init__(daemon=True)
        self.url, self.timeout_s = url, timeout_s
        self.answered = threading.Event()
        self.abandoned = False
        self.content: bytes | None = None
        self.problem: str | None = None

    def run(self) -> None:
        try:
            with urllib.request.urlopen(self.url, timeout=self.timeout_s) as answer:
                self.answered.set()
                promised = answer.headers.get("Content-Length")
                parts = []
                while part := answer.read(1 << 18):
                    parts.append(part)
                    if self.abandoned:
                        return
            content = b"".join(parts)
            if promised is not None and len(content) != int(promised):
                self.problem = f"{len(content)} of {promised} bytes came"
            elif not content.startswith(
                b"PK"
            ):  # PyTorch's files are zip archives; an error page is not
                self.problem = "what came is not a model file"
            else:
                self.content = content
        except (OSError, ValueError) as error:  # URLError and socket.timeout are OSErrors
            self.problem = str(error)
        finally:
            self.answered.set()


def _missing(name: str, cause: str) -> MissingProgramError:
    target = cached(name)
    return MissingProgramError(
        f"weights {name!r} of MACE-MP ({cause})", f"curl -L --create-dirs -o {target} {URLS[name]}"
    )
