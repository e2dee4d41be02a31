"""pw.in says what the job says."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pw_input_for_tests import CONVENTIONAL, PRIMITIVE, entries, method, rattled
from pydantic import ValidationError

from mlip_autopipec import make_plan
from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.config.dft_plan import DftPlan
from mlip_autopipec.engines.dft.quantum_espresso import config, pseudos
from mlip_autopipec.engines.dft.quantum_espresso.engine import QuantumEspresso
from mlip_autopipec.engines.dft.quantum_espresso.inputs import write_input
from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft_port import DftEngine


def test_numbers_of_the_method_reach_the_input() -> None:
    text = write_input(
        LabelJob(rattled(CONVENTIONAL), method("Si")), z_valence={"Si": 4.0}, max_seconds=1000.0
    )
    found = entries(text)
    assert (found["ecutwfc"], found["ecutrho"], found["degauss"]) == ("28", "112", "0.01")
    assert float(found["conv_thr"].replace("d", "e")) == pytest.approx(8e-9)
    assert (found["smearing"], found["occupations"]) == ("'gaussian'", "'smearing'")
    assert float(found["max_seconds"]) == 950.0
    assert (found["tprnfor"], found["tstress"], found["nosym"]) == (".true.", ".true.", ".true.")
    rows = re.findall(r"^  Si (\S+) (\S+) (\S+)$", text, re.MULTILINE)
    np.testing.assert_allclose(
        np.array(rows[-8:], dtype=float), rattled(CONVENTIONAL).positions, atol=1e-11
    )


def test_numerical_knobs_reach_the_input_and_unknown_ones_are_refused() -> None:
    knobs = {
        "mixing_beta": 0.2,
        "electron_maxstep": 250,
        "diagonalization": "cg",
        "mixing_mode": "local-TF",
    }
    found = entries(
        write_input(LabelJob(PRIMITIVE, method("Si"), knobs), z_valence={"Si": 4.0}, max_seconds=10)
    )
    assert (found["mixing_beta"], found["electron_maxstep"]) == ("0.2", "250")
    assert (found["diagonalization"], found["mixing_mode"]) == ("'cg'", "'local-TF'")
    with pytest.raises(InputError, match="mixing_bta"):
        write_input(
            LabelJob(PRIMITIVE, method("Si"), {"mixing_bta": 1}),
            z_valence={"Si": 4.0},
            max_seconds=10,
        )


def test_starting_moment_is_a_fraction_of_the_valence_electrons() -> None:
    plain = Atoms("Fe", cell=bulk("Fe").cell, pbc=True)  # ASE gives iron a moment of its own
    iron = LabelJob(plain, method("Fe", spin_polarized=True, starting_moments={"Fe": 4.0}))
    found = entries(write_input(iron, z_valence={"Fe": 16.0}, max_seconds=10))
    assert found["nspin"] == "2" and float(found["starting_magnetization(1)"]) == pytest.approx(
        0.25
    )


def test_cells_without_a_magnetic_element_are_not_spin_polarised() -> None:
    mixed = method("Fe", "C", "Si", spin_polarized=True, starting_moments={"C": 0.0, "Fe": 4.0})
    valence = {"Fe": 16.0, "C": 4.0, "Si": 4.0}
    carbide = bulk("FeC", "rocksalt", a=4.0)
    found = entries(write_input(LabelJob(carbide, mixed), z_valence=valence, max_seconds=10))
    assert found["nspin"] == "2"
    assert (
        float(found["starting_magnetization(1)"]),
        float(found["starting_magnetization(2)"]),
    ) == (0.0, 0.25)
    for atoms in (bulk("C"), PRIMITIVE):  # a zero moment; none given
        text = write_input(LabelJob(atoms, mixed), z_valence=valence, max_seconds=10)
        assert "nspin" not in text and "starting_magnetization" not in text
    switched_off = {**mixed, "spin_polarized": False}
    assert "nspin" not in write_input(
        LabelJob(carbide, switched_off), z_valence=valence, max_seconds=10
    )


def test_missing_programs_are_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIP_PW", "/nowhere/pw.x")
    with pytest.raises(
        MissingProgramError, match=r"/nowhere/pw\.x.*apt-get install quantum-espresso"
    ):
        config.command(1, {})


def test_prepare_links_pseudopotentials_and_runs_one_core_plainly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "pw.x"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    upf = tmp_path / "Si.upf"
    upf.write_text('<PP_HEADER z_valence="    4.00"/>')
    monkeypatch.setenv("MLIP_PW", str(program))
    monkeypatch.setattr(pseudos, "locate", lambda family, element: upf)
    engine = QuantumEspresso()
    assert isinstance(engine, DftEngine)
    prepared = engine.prepare(LabelJob(PRIMITIVE, method("Si")), walltime_s=60, cores=1)
    assert prepared.command == (str(program), "-in", "pw.in")
    assert prepared.links == {"pseudo/Si.upf": str(upf)}
    assert prepared.env["OMP_NUM_THREADS"] == "1"


def test_a_job_is_refused_when_its_pseudopotential_was_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upf = """<UPF version="2.0.1"><PP_HEADER element="Si" pseudo_type="NC" functional="PBE"
 z_valence="4.00" is_ultrasoft="F" is_paw="F" wfc_cutoff="40.0" rho_cutoff="160.0"/></UPF>"""
    source = tmp_path / "mine"
    source.mkdir()
    (source / "silicon.upf").write_text(upf)
    monkeypatch.setenv("MLIP_PW", "/bin/true")
    monkeypatch.setenv("MLIP_DATA", str(tmp_path / "data"))
    pseudos.install("own/lab", source=source)
    made_with = pseudos.family_facts("own/lab").elements["Si"].sha256
    job = LabelJob(
        PRIMITIVE,
        method("Si", pseudo_family="own/lab", pseudo_sha256={"Si": made_with, "Ge": "0" * 64}),
    )
    assert QuantumEspresso().prepare(job, walltime_s=60, cores=1).links
    (source / "silicon.upf").write_text(upf + "\n")
    (path,) = pseudos.install(
        "own/lab", source=source
    )  # the family itself is intact, but it is another one
    changed = hashlib.sha256(path.read_bytes()).hexdigest()
    assert changed != made_with
    with pytest.raises(
        InputError, match=rf"{path}.*pseudo_sha256\.Si.*{changed}.*wanted {made_with}"
    ):
        QuantumEspresso().prepare(job, walltime_s=60, cores=1)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    pseudos.check_recorded({"Si": path}, {"Si": f"md5:{md5}"})
    with pytest.raises(InputError, match=f"md5:{md5}"):
        pseudos.check_recorded({"Si": path}, {"Si": "md5:0"})


def test_structures_without_a_cell_or_pseudopotential_are_refused() -> None:
    with pytest.raises(InputError, match="box"):
        write_input(LabelJob(Atoms("Si"), method("Si")), z_valence={"Si": 4.0}, max_seconds=1)
    with pytest.raises(InputError, match="pseudopotential"):
        write_input(LabelJob(bulk("Ge"), method("Si")), z_valence={"Si": 4.0}, max_seconds=1)


def test_a_job_whose_method_is_not_whole_is_refused_with_the_key() -> None:
    values = method("Si")
    del values["cutoff_ry"]
    with pytest.raises(InputError, match="is missing") as refused:
        write_input(LabelJob(PRIMITIVE, values), z_valence={"Si": 4.0}, max_seconds=1)
    assert refused.value.key == "cutoff_ry"
    with pytest.raises(InputError) as refused:
        write_input(
            LabelJob(PRIMITIVE, method("Si", cutoff=28.0)), z_valence={"Si": 4.0}, max_seconds=1
        )
    assert refused.value.key == "cutoff"


def test_the_method_of_a_job_says_what_was_stored() -> None:
    """The hash of a label is that of its job's JSON: reading it must neither add nor drop a key."""
    stored = {"engine": "quantum_espresso", **method("Si", pseudo_sha256={"Si": "0" * 64})}
    read = Method.of_job(LabelJob(PRIMITIVE, stored))
    assert {"engine": "quantum_espresso", **read.model_dump(mode="json")} == stored
    assert Method.of_job(LabelJob(PRIMITIVE, method("Si"))).pseudo_sha256 == {}


def test_cores_are_ranks_times_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.shutil, "which", lambda name, path=None: f"/bin/{name}")
    assert config.command(8, {"threads": 4})[:3] == ("/bin/mpirun", "-np", "2")
    assert config.command(4, {"threads": 4})[0] == "/bin/pw.x", "one rank needs no mpirun"
    assert config.environment(8, {"threads": 4})["OMP_NUM_THREADS"] == "4"
    assert config.environment(8, {})["OMP_NUM_THREADS"] == "1" and config.command(8, {})[2] == "8"


def test_threads_that_do_not_share_out_the_cores_are_refused() -> None:
    plan = make_plan(material="Si").dft.model_dump(mode="json")
    with pytest.raises(ValidationError, match="4 cores cannot be shared out as 3 threads per rank"):
        DftPlan.model_validate({**plan, "cores": 4, "threads": 3})
    hybrid = DftPlan.model_validate({**plan, "cores": 4, "threads": 2})
    assert hybrid.method_hash == make_plan(material="Si").dft.method_hash
