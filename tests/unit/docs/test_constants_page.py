"""The page of numbers that stand in the code says what the code says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "docs"))
import constants_page as constants


def test_the_page_is_what_the_code_says() -> None:
    assert constants.PAGE.read_text() == constants.page(), "run: python docs/constants_page.py"


def test_every_number_has_a_reason() -> None:
    assert [f"{item.file}: {item.names}" for item in constants.constants() if not item.reason] == []


def test_numbers_are_found_with_their_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "PACKAGE", tmp_path)
    (tmp_path / "science").mkdir()
    (tmp_path / "science" / "some.py").write_text(
        "# Why\n# so.\nLIMIT_A, OTHER = 0.5, 2 * 3\nNAME = 'text'\nFLAG = True\n"
        "_PLAIN: int = -3  # beside\nTABLE = {'a': 1, 'b': (2, 3)}\n'''Below.'''\nBARE = 1\n"
        "VOIGT = (1, 2)\nlower = 4\n"
    )
    found = [(item.names, item.value, item.reason) for item in constants.constants()]
    assert found == [
        ("LIMIT_A, OTHER", "0.5, 2 * 3", "Why so."),
        ("_PLAIN", "-3", "beside"),
        ("TABLE", "{'a': 1, 'b': (2, 3)}", "Below."),
        ("BARE", "1", ""),
    ]
