"""What can be named in an input: built in, of installed packages, or at module:attribute."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.plugins import Plugins
from mlip_autopipec.engines import registry

BUILT_IN = {"ordered": "collections:OrderedDict"}
SHELF = Plugins("box", "shelf.box", "mlip_autopipec.shelf", BUILT_IN)


def test_a_name_and_a_place_give_the_same_object() -> None:
    assert SHELF.find("ordered") is SHELF.find("collections:OrderedDict") is OrderedDict


def test_an_entry_point_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "shelves-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelves\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[mlip_autopipec.shelf]\ncounted = collections:Counter\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(SHELF.known()) == {"counted", "ordered"}
    assert SHELF.find("counted").__name__ == "Counter"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (
            "orderd",
            r"shelf\.box: unknown box .*; did you mean 'ordered'\?.*module:Class",
        ),
        ("zzz", r"unknown box.*known: ordered"),
        ("collections:Nothing", r"shelf\.box: there is no box at this place"),
        ("no_such_module_here:Box", r"shelf\.box: there is no box at this place.*PYTHONPATH"),
    ],
)
def test_an_unknown_name_is_answered_with_what_would_be_right(name: str, answer: str) -> None:
    with pytest.raises(InputError, match=answer):
        SHELF.find(name)


def test_a_module_that_lacks_a_package_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy_box.py").write_text("import a_package_that_is_absent\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_absent"):
        SHELF.find("needy_box:Box")


def test_every_built_in_name_of_every_port_leads_somewhere() -> None:
    for port, plugins in registry.PORTS.items():
        for name in plugins.built_in:
            assert registry.PORTS[port].find(name) is not None
