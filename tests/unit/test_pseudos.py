"""Pseudopotential families: identity by hash, atomic installation, cutoffs from the table of facts."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.errors import InputError, MissingProgramError

SI = b'<UPF version="2.0.1">\n<PP_HEADER\nelement="Si"\nz_valence="    4.00"\nnumber_of_proj="6"/>\n</UPF>\n'
AL = b"<PP_HEADER>\n   0   Version Number\n  Al   Element\n    3.00000000000      Z valence\n</PP_HEADER>\n"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pseudos.Family:
    """A family of two made-up files, and an empty data folder."""
    family = pseudos.Family(
        name="Made/up",
        functional="PBE",
        dual=4.0,
        licence="none",
        cite="nobody",
        package="madeup==1.0",
        folder="madeup/upf",
        elements={
            symbol: pseudos.Facts(hashlib.sha256(content).hexdigest(), (10.0, 20.0, 30.0), "this file")
            for symbol, content in (("Si", SI), ("Al", AL))
        },
    )
    monkeypatch.setattr(pseudos, "_table", lambda: {family.name: family})
    monkeypatch.setenv("MLIP_DATA", str(tmp_path / "data"))
    return family


def test_table_is_complete_and_cutoffs_are_in_rydberg() -> None:
    family = pseudos.family_facts()
    assert len(family.elements) == 72
    assert len({facts.sha256 for facts in family.elements.values()}) == 72
    assert family.functional == "PBE" and family.dual == 4.0
    for facts in family.elements.values():
        low, normal, high = facts.cutoffs_ry
        assert 25 < low <= normal <= high < 140
        assert len(facts.sha256) == 64
    # Published hints in Hartree are half of these: 14, 18, 24 for Si; 41, 45, 53 for Fe.
    assert pseudos.cutoffs(pseudos.DEFAULT_FAMILY, "Si") == (28.0, 36.0, 48.0)
    assert pseudos.cutoffs(pseudos.DEFAULT_FAMILY, "Fe") == (82.0, 90.0, 106.0)


def test_hints_that_belong_to_another_file_are_named_as_such() -> None:
    elements = pseudos.family_facts().elements
    assert elements["Si"].hints == "this file"
    assert "0.4" in elements["S"].hints


def test_unknown_family_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean 'PseudoDojo/0\.5/PBE/SR/standard'"):
        pseudos.cutoffs("PseudoDojo/0.5/PBE/SR/standart", "Si")


def test_element_outside_the_family_is_refused() -> None:
    with pytest.raises(InputError, match="no pseudopotential for U"):
        pseudos.locate(pseudos.DEFAULT_FAMILY, "U")


def test_install_takes_files_by_content_whatever_their_names(tiny: pseudos.Family, tmp_path: Path) -> None:
    source = tmp_path / "download" / "deep"
    source.mkdir(parents=True)
    (source / "one.UPF").write_bytes(AL)
    (source / "Al.upf").write_bytes(SI)
    written = pseudos.install(tiny.name, source=source.parent)
    assert sorted(path.name for path in written) == ["Al.upf", "Si.upf"]
    assert pseudos.locate(tiny.name, "Si").read_bytes() == SI
    assert pseudos.install(tiny.name, source=source.parent) == []
    assert not list(pseudos.folder_of(tiny.name).glob(".*")), "temporary files are left behind"


def test_install_from_a_wheel_takes_one_copy_of_each_from_the_family_folder(
    tiny: pseudos.Family, tmp_path: Path
) -> None:
    for name in ("madeup-1.0-py3-none-any.whl", "madeup-1.0-again.whl"):
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            wheel.writestr("madeup/upf/Si.upf", SI)
            wheel.writestr("madeup/elsewhere/Al.upf", AL)
    assert [path.name for path in pseudos.install(tiny.name, ["Si"], tmp_path)] == ["Si.upf"]
    with pytest.raises(InputError, match="right sha256 for Al"):
        pseudos.install(tiny.name, ["Al"], tmp_path)


def test_wrong_content_is_never_installed(tiny: pseudos.Family, tmp_path: Path) -> None:
    source = tmp_path / "Si.upf"
    source.write_bytes(SI.replace(b"4.00", b"5.00"))
    with pytest.raises(InputError, match="right sha256 for Si"):
        pseudos.install(tiny.name, ["Si"], source)
    assert pseudos.verify(tiny.name) == {"Al": "missing", "Si": "missing"}


def test_damage_is_seen_refused_and_mended(tiny: pseudos.Family, tmp_path: Path) -> None:
    source = tmp_path / "Si.upf"
    source.write_bytes(SI)
    (path,) = pseudos.install(tiny.name, ["Si"], source)
    path.write_bytes(SI[:-5])
    assert pseudos.verify(tiny.name, ["Si"]) == {"Si": "damaged"}
    with pytest.raises(MissingProgramError, match=r"pseudos install Made/up") as caught:
        pseudos.locate(tiny.name, "Si")
    assert caught.value.exit_code == 3
    pseudos.install(tiny.name, ["Si"], source)
    assert pseudos.locate(tiny.name, "Si").read_bytes() == SI


def test_a_missing_source_is_bad_input(tiny: pseudos.Family, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        pseudos.install(tiny.name, source=tmp_path / "nowhere")


def test_a_failed_download_says_what_to_do(
    tiny: pseudos.Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\necho 'ERROR: no network' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(failing))
    with pytest.raises(MissingProgramError, match=r"no network.*--from FOLDER"):
        pseudos.install(tiny.name)


@pytest.mark.parametrize(("content", "electrons"), [(SI, 4.0), (AL, 3.0)])
def test_valence_electrons_of_both_header_styles(content: bytes, electrons: float, tmp_path: Path) -> None:
    path = tmp_path / "x.upf"
    path.write_bytes(content)
    assert pseudos.z_valence(path) == electrons


def test_no_valence_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "x.upf"
    path.write_text("<UPF/>")
    with pytest.raises(InputError, match="z_valence"):
        pseudos.z_valence(path)


def test_command_line_codes(tiny: pseudos.Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "a.upf").write_bytes(SI)
    (tmp_path / "both" / "b.upf").write_bytes(AL)
    assert pseudos.main(["verify", tiny.name]) == 3
    assert pseudos.main(["install", tiny.name, "--from", str(tmp_path / "both")]) == 0
    assert pseudos.main(["verify", tiny.name]) == 0
    assert pseudos.main(["list"]) == 0
    assert "2 of 2 installed" in capsys.readouterr().out
    assert pseudos.main(["install", "nonsense"]) == 2
