"""The worked example of docs/developing/add-a-strategy.md, as it stands there."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.campaign.payloads import GeneratePayload
from mlip_autopipec.config.load import load
from mlip_autopipec.proposing.pieces import pieces_of
from mlip_autopipec.testing import StrategyContract

PAGE = Path(__file__).resolve().parents[2] / "docs" / "developing" / "add-a-strategy.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "shear.py").write_text(blocks("python")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield
    sys.modules.pop("shear", None)


class TestShear(StrategyContract):
    strategy = "shear:generate"
    called = "shear"


def test_the_page_proves_it_as_this_test_does() -> None:
    assert 'class TestShear(StrategyContract):\n    strategy = "shear:generate"' in PAGE.read_text()


def test_an_input_names_it_and_the_plan_proposes_it(tmp_path: Path) -> None:
    file = tmp_path / "input.yaml"
    file.write_text(blocks("yaml")[0])
    found = load(file, runs_dir=tmp_path / "runs", cores=2)
    batch = found.plan.generation.batches[0]
    assert (batch[-1].name, batch[-1].count) == ("shear:generate", 20)
    assert found.reasons["generation.batches.shear:generate"] == "given"
    payload = GeneratePayload(0, (batch[-1],), seed=1)
    assert [piece.runs for piece in pieces_of(found.plan, payload)] == [True]
    file.write_text("material: Si\n")
    derived = load(file, runs_dir=tmp_path / "runs", cores=2).plan.generation.batches
    assert derived == [batch[:-1], *found.plan.generation.batches[1:]], "the others are as before"


def test_a_strategy_that_does_not_exist_is_answered_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "input.yaml"
    file.write_text("material: Si\nstrategies: [{name: ratle, count: 4}]\n")
    with pytest.raises(InputError, match=r"strategies: .*did you mean 'rattle'") as caught:
        load(file, runs_dir=tmp_path / "runs", cores=2)
    assert "\n" not in str(caught.value)
