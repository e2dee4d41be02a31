"""Pseudopotential families: identity by hash, atomic installation, cutoffs from the table of
facts.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from ase.data import chemical_symbols

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.engines.dft.quantum_espresso.pseudos import families, sources

SI = (
    b'<UPF version="2.0.1">\n<PP_HEADER\nelement="Si"\nz_valence="   '
    b' 4.00"\nnumber_of_proj="6"/>\n</UPF>\n'
)
AL = (
    b"<PP_HEADER>\n   0   Version Number\n  Al   Element\n    3.00000000000      Z"
    b" valence\n</PP_HEADER>\n"
)


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
            symbol: pseudos.Facts(
                hashlib.sha256(content).hexdigest(), (10.0, 20.0, 30.0), "this file"
            )
            for symbol, content in (("Si", SI), ("Al", AL))
        },
    )
    monkeypatch.setattr(families, "_table", lambda: {family.name: family})
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


def test_install_takes_files_by_content_whatever_their_names(
    tiny: pseudos.Family, tmp_path: Path
) -> None:
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
def test_valence_electrons_of_both_header_styles(
    content: bytes, electrons: float, tmp_path: Path
) -> None:
    path = tmp_path / "x.upf"
    path.write_bytes(content)
    assert pseudos.z_valence(path) == electrons


def test_no_valence_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "x.upf"
    path.write_text("<UPF/>")
    with pytest.raises(InputError, match="z_valence"):
        pseudos.z_valence(path)


def test_command_line_codes(
    tiny: pseudos.Family, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "a.upf").write_bytes(SI)
    (tmp_path / "both" / "b.upf").write_bytes(AL)
    assert pseudos.main(["verify", tiny.name]) == 3
    assert pseudos.main(["install", tiny.name, "--from", str(tmp_path / "both")]) == 0
    assert pseudos.main(["verify", tiny.name]) == 0
    assert pseudos.main(["list"]) == 0
    assert "2 of 2 installed" in capsys.readouterr().out
    assert pseudos.main(["install", "nonsense"]) == 2


FAMILIES = {
    "PseudoDojo/0.4/PBE/SR/standard": 72,
    "PseudoDojo/0.4/PBE/SR/stringent": 72,
    "PseudoDojo/0.5/PBE/SR/standard": 72,
    "PseudoDojo/0.5/PBE/SR/stringent": 72,
    "SSSP/1.3.0/PBE/efficiency": 103,
    "SSSP/1.3.0/PBE/precision": 103,
}


def test_the_built_in_families(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLIP_DATA", str(tmp_path))
    assert {status.name: status.elements for status in pseudos.list_families()} == FAMILIES
    for name in FAMILIES:
        family = pseudos.family_facts(name)
        assert family.name == name and family.functional == "PBE" and family.sources
        for symbol, facts in family.elements.items():
            assert symbol in chemical_symbols
            assert len(facts.sha256) == 64 or len(facts.sha256.removeprefix("md5:")) == 32
            assert 10 < facts.cutoffs_ry[0] <= facts.cutoffs_ry[1] <= facts.cutoffs_ry[2] <= 200


def test_norm_conserving_families_need_no_density_cutoff_and_the_others_bring_theirs() -> None:
    assert pseudos.density_cutoffs_ry("PseudoDojo/0.5/PBE/SR/stringent", ["Si", "O"]) == {}
    # Published: Fe 90 and 1080 Ry, O 50 and 400, Si 30 and 240.
    sssp = "SSSP/1.3.0/PBE/efficiency"
    assert pseudos.cutoffs(sssp, "Fe")[1] == 90.0
    assert pseudos.density_cutoffs_ry(sssp, ["Fe", "O", "Si"]) == {
        "Fe": 1080.0,
        "O": 400.0,
        "Si": 240.0,
    }
    for name in ("efficiency", "precision"):
        for facts in pseudos.family_facts(f"SSSP/1.3.0/PBE/{name}").elements.values():
            assert facts.rho_ry is not None and facts.rho_ry >= 4 * facts.cutoffs_ry[1]


def test_standard_and_stringent_share_a_file_or_differ_in_it() -> None:
    standard, stringent = (
        pseudos.family_facts(f"PseudoDojo/0.5/PBE/SR/{name}") for name in ("standard", "stringent")
    )
    same = {
        s for s, facts in standard.elements.items() if facts.sha256 == stringent.elements[s].sha256
    }
    assert "Si" not in same or pseudos.cutoffs(standard.name, "Si") == pseudos.cutoffs(
        stringent.name, "Si"
    )
    assert 20 < len(same) < 60
    for symbol in same:
        assert standard.elements[symbol].cutoffs_ry == stringent.elements[symbol].cutoffs_ry


def test_a_file_known_by_its_md5_alone_is_checked_too(
    tiny: pseudos.Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checksum = f"md5:{hashlib.md5(SI).hexdigest()}"
    family = replace(
        tiny, elements={"Si": pseudos.Facts(checksum, (10.0, 10.0, 10.0), "this file")}
    )
    monkeypatch.setattr(families, "_table", lambda: {family.name: family})
    (tmp_path / "Si.upf").write_bytes(SI)
    (path,) = pseudos.install(family.name, source=tmp_path / "Si.upf")
    assert pseudos.verify(family.name) == {"Si": "ok"}
    path.write_bytes(AL)
    assert pseudos.verify(family.name) == {"Si": "damaged"}


def test_install_from_a_published_archive(tiny: pseudos.Family, tmp_path: Path) -> None:
    archive = tmp_path / "family.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in (
            ("made/up/silicon.upf", SI),
            ("made/up/al.UPF", AL),
            ("made/up/readme.txt", b"words"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    assert len(pseudos.install(tiny.name, source=archive)) == 2
    assert pseudos.verify(tiny.name) == {"Al": "ok", "Si": "ok"}


@pytest.fixture
def debian(tiny: pseudos.Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pseudos.Family:
    """The family in a Debian package, Al in a second package of the Python index."""
    package = tmp_path / "build" / "madeup-data"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN" / "control").write_text(
        "Package: madeup-data\nVersion: 1\nArchitecture: all\nMaintainer: nobody"
        " <n@example.org>\nDescription: none\n"
    )
    (package / "usr" / "share" / "upf").mkdir(parents=True)
    (package / "usr" / "share" / "upf" / "si_x.UPF").write_bytes(SI)
    (package / "usr" / "share" / "elsewhere.upf").write_bytes(AL)
    subprocess.run(
        [
            "dpkg-deb",
            "--build",
            "--root-owner-group",
            str(package),
            str(tmp_path / "madeup-data_1_all.deb"),
        ],
        check=True,
        capture_output=True,
    )
    family = replace(
        tiny,
        package="debian:forky/madeup-data",
        folder="usr/share/upf",
        also=(("madeup==1.0", "madeup/upf"),),
    )
    monkeypatch.setattr(families, "_table", lambda: {family.name: family})
    return family


def test_install_from_a_debian_package_reads_its_own_folder_alone(
    debian: pseudos.Family, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"right sha256 for Al \(1 others were installed\)"):
        pseudos.install(debian.name, source=tmp_path / "madeup-data_1_all.deb")
    assert pseudos.verify(debian.name) == {"Al": "missing", "Si": "ok"}


def test_download_asks_every_package_and_touches_no_source_of_the_machine(
    debian: pseudos.Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "madeup-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("madeup/upf/Al.upf", AL)
    (tmp_path / "apt" / "sources.list.d").mkdir(parents=True)
    (tmp_path / "apt" / "sources.list").write_text(
        "# deb http://commented.example/debian trixie main\n"
    )
    (tmp_path / "apt" / "sources.list.d" / "x.sources").write_text(
        "Types: deb\nURIs: https://mirror.example/debian-security\n\nTypes: deb\nURIs:"
        " https://mirror.example/debian\n"
    )
    monkeypatch.setattr(sources, "APT", tmp_path / "apt")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apt-get").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/apt.log\ncp sources.list {tmp_path}/used.list\n'
        f'case "$*" in *download*) cp {tmp_path}/madeup-data_1_all.deb .;; esac\n'
    )
    pip = tmp_path / "python"
    pip.write_text(
        f'#!/bin/sh\nwhile [ "$1" != --dest ]; do shift; done\ncp {wheel} "$2"\necho "$3" >'
        f" {tmp_path}/pip.log\n"
    )
    for program in (programs / "apt-get", pip):
        program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert [path.name for path in pseudos.install(debian.name)] == ["Si.upf", "Al.upf"]
    assert (tmp_path / "used.list").read_text().split()[2:] == [
        "https://mirror.example/debian",
        "forky",
        "main",
    ]
    for line in (tmp_path / "apt.log").read_text().splitlines():
        assert "Dir::Etc::sourceparts=/dev/null" in line and "Dir::State::lists=" in line
    assert (tmp_path / "pip.log").read_text() == "madeup==1.0\n"


def test_a_machine_without_a_debian_mirror_says_what_to_do(
    debian: pseudos.Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "APT", tmp_path / "nothing")
    with pytest.raises(MissingProgramError, match=r"apt-get download madeup-data.*--from FOLDER"):
        pseudos.install(debian.name, ["Si"])
