"""Exit codes: one table, which the README tells users."""

from __future__ import annotations

import re
from pathlib import Path

from mlip_autopipec.base import errors
from mlip_autopipec.base.errors import ExitCode, MlipError

README = Path(__file__).resolve().parents[3] / "README.md"


def test_every_error_has_a_code_of_its_own() -> None:
    # Engines may have kinds of their own, which other tests have loaded by now.
    kinds = [kind for kind in MlipError.__subclasses__() if kind.__module__ == MlipError.__module__]
    codes = [kind.exit_code for kind in [MlipError, *kinds]]
    assert sorted(codes) == [1, 2, 3, 4, 5]
    assert all(isinstance(code, ExitCode) for code in codes)


def test_the_readme_names_every_exit_code() -> None:
    text = " ".join(README.read_text().split())
    told = text[text.index("Exit codes:") :].split(". ")[0]
    assert {int(number) for number in re.findall(r"\b(\d+) ", told)} == set(map(int, ExitCode))


def test_a_hint_names_the_nearest_word_or_all() -> None:
    assert errors.nearest("ratle", ["rattle", "strain"]) == "did you mean 'rattle'?"
    assert errors.nearest("zzz", ["rattle", "strain"]) == "known: rattle, strain"
