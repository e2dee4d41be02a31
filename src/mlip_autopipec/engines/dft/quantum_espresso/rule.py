"""One rule: a pattern and the failure that it means."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Rule", "anywhere", "box"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern and what it means. Rules are tried in order, the first hit decides.

    ``anywhere``: looked for in every line of output and logs; otherwise only in error reports
    (``Error in routine NAME (CODE): reason`` as one line, and the Fortran runtime's own), because
    words like ``cdiaghg`` or ``volume`` stand in every good output too. ``cure``: words for a
    person where those of the class do not fit.
    """

    kind: str
    pattern: re.Pattern[str]
    message: str
    anywhere: bool = False
    cure: str = ""


def box(kind: str, pattern: str, message: str, cure: str = "") -> Rule:
    """A rule for error reports."""
    return Rule(kind, re.compile(pattern, re.IGNORECASE), message, False, cure)


def anywhere(kind: str, pattern: str, message: str, cure: str = "") -> Rule:
    """A rule for any line."""
    return Rule(kind, re.compile(pattern, re.IGNORECASE), message, True, cure)
