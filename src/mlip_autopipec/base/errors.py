"""Errors that a person must mend.

Everything a user can see derives from :class:`MlipError`; each class carries its exit code, one of
:class:`ExitCode`, which holds every exit code of the command line.

A failed calculation is *not* an exception: it is a
:class:`mlip_autopipec.base.tasks.Failure`, a value that is recorded.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

__all__ = [
    "CampaignLockedError",
    "CampaignStateError",
    "ExitCode",
    "InputError",
    "MissingProgramError",
    "MlipError",
    "nearest",
]


class ExitCode(IntEnum):
    """What ``mlip-auto`` says to a script when it ends."""

    DONE = 0
    FAILED = 1
    #: Something in a file or an option that the user wrote.
    BAD_INPUT = 2
    #: A program, package, weight file or pseudopotential lacks.
    NOT_INSTALLED = 3
    #: Another driver works on the same run folder.
    LOCKED = 4
    #: The run folder cannot be read or belongs to another plan.
    BAD_STATE = 5
    #: It ended without what was asked for: stalled, needs attention, structures that were given up.
    SHORT_OF_GOAL = 6
    #: Stopped by the user; the same command goes on.
    INTERRUPTED = 130


class MlipError(Exception):
    """Base of every error that is shown to the user as one line."""

    exit_code = ExitCode.FAILED


class InputError(MlipError):
    """Bad input: says what is wrong, where it stands and what would be right.

    Parameters
    ----------
    message: what is wrong, in a few words.
    file: the file that holds it.
    key: the dotted key inside the file, or the option.
    value: the offending value.
    hint: what would be right.
    """

    exit_code = ExitCode.BAD_INPUT

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        key: str | None = None,
        value: object = None,
        hint: str | None = None,
    ) -> None:
        self.message, self.file, self.key, self.value, self.hint = message, file, key, value, hint
        where = ": ".join(str(part) for part in (file, key) if part)
        text = f"{where}: {message}" if where else message
        if value is not None:
            text += f" (got {value!r})"
        if hint:
            text += f"; {hint}"
        super().__init__(text)


class MissingProgramError(MlipError):
    """A part of the outside world is absent; names it and the command that installs it."""

    exit_code = ExitCode.NOT_INSTALLED

    def __init__(self, what: str, install: str) -> None:
        self.what, self.install = what, install
        super().__init__(f"{what} was not found; install it with: {install}")

    def __reduce__(self) -> tuple[type[MissingProgramError], tuple[str, str]]:
        return type(self), (self.what, self.install)  # it may come from another process


class CampaignLockedError(MlipError):
    """Another living driver holds the run folder."""

    exit_code = ExitCode.LOCKED


class CampaignStateError(MlipError):
    """The run folder cannot be continued as it is."""

    exit_code = ExitCode.BAD_STATE


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or all of them when none is near."""
    choices = sorted(known)
    close = difflib.get_close_matches(str(word), choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(choices)
