"""A user's own folder of pseudopotentials as a family."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.engines.dft.quantum_espresso import pseudos

NC = """<UPF version="2.0.1"><PP_HEADER element="Si" pseudo_type="NC" functional="PBE" z_valence="4"
 wfc_cutoff="0.0" rho_cutoff="1.2E+01"/></UPF>"""
US = """<UPF><PP_HEADER
   0                   Version Number
  Fe                   Element
   US                  Ultrasoft pseudopotential
    T                  Nonlinear Core Correction
 SLA  PW   PBE  PBE     PBE  Exchange-Correlation functional
   16.00000000000      Z valence
   40.00000  480.0000  Suggested cutoff for wfc and rho
</PP_HEADER></UPF>"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user's own, and an empty data folder."""
    monkeypatch.setenv("MLIP_DATA", str(tmp_path / "data"))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "silicon.upf").write_text(NC)
    (folder / "iron.UPF").write_text(US)
    (folder / "cutoffs.json").write_text('{"Si": {"cutoff_wfc": 40}}')
    return folder


def test_a_folder_of_ones_own_becomes_a_family_like_any_other(mine: Path) -> None:
    assert sorted(path.name for path in pseudos.install("own/lab", source=mine)) == [
        "Fe.upf",
        "Si.upf",
    ]
    family = pseudos.family_facts("own/lab")
    assert family.functional == "PBE" and family.dual == 8.0
    assert pseudos.cutoffs("own/lab", "Si") == (40.0, 40.0, 40.0)
    assert pseudos.cutoffs("own/lab", "Fe") == (40.0, 40.0, 40.0)
    assert pseudos.density_cutoffs_ry("own/lab", ["Si", "Fe"]) == {"Fe": 480.0}
    assert "own/lab" in {status.name for status in pseudos.list_families()}
    assert pseudos.verify("own/lab") == {"Fe": "ok", "Si": "ok"}
    (mine / "silicon.upf").write_text("changed")  # the copy is what counts
    path = pseudos.locate("own/lab", "Si")
    path.write_text(NC.replace("4", "5"))
    with pytest.raises(MissingProgramError, match="damaged"):
        pseudos.locate("own/lab", "Si")
    with pytest.raises(InputError, match="own/other --from FOLDER"):
        pseudos.family_facts("own/other")


def test_what_a_folder_of_ones_own_lacks_is_named(mine: Path) -> None:
    (mine / "cutoffs.json").unlink()
    with pytest.raises(InputError, match=r"Si\.cutoff_wfc.*no cutoff for Si"):
        pseudos.install("own/lab", source=mine)
    assert pseudos.list_families()[-1].name == "SSSP/1.3.0/PBE/precision", (
        "a family was made all the same"
    )
    (mine / "cutoffs.json").write_text('{"Si": {"cutoff_wfc": 40}}')
    (mine / "iron.UPF").write_text(US.replace("40.00000  480.0000", " 0.00000    0.0000"))
    with pytest.raises(InputError, match=r"Fe\.cutoff_wfc"):
        pseudos.install("own/lab", source=mine)
    (mine / "iron.UPF").write_text(US.replace("PBE  PBE     PBE", "PSX  PSC  PBESOL"))
    with pytest.raises(InputError, match="several functionals"):
        pseudos.install("own/lab", source=mine)
    (mine / "iron.UPF").write_text(NC)
    with pytest.raises(InputError, match="two files of Si"):
        pseudos.install("own/lab", source=mine)
    with pytest.raises(InputError, match="not a name"):
        pseudos.install("own/../../x", source=mine)
    with pytest.raises(InputError, match="no such folder"):
        pseudos.install("own/lab", source=mine / "nowhere")
