"""What a finished pw.x left behind -> Label, or the Failure that its files show.

Numbers come from ``data-file-schema.xml`` (Hartree atomic units, full precision, the same layout in
6.7 and 7.2), the verdict from both the XML and the printed output: version 6.7 writes exit status 0
into the XML of a run that did not converge, and pw.x returns 0 for atoms on top of each other.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.tasks import PERSON, Failure
from mlip_autopipec.engines.dft.checks import label_problem
from mlip_autopipec.engines.dft.quantum_espresso.classes import MACHINE, MAGNETIC_STATE
from mlip_autopipec.engines.dft.quantum_espresso.config import (
    BOHR_A,
    HARTREE_EV,
    OUTDIR,
    OUTPUT,
    PREFIX,
)
from mlip_autopipec.engines.dft.quantum_espresso.failures import classify, fail
from mlip_autopipec.engines.dft.quantum_espresso.method import Method
from mlip_autopipec.engines.dft.quantum_espresso.saved import DATA_FILE, lost_data
from mlip_autopipec.engines.dft.quantum_espresso.spin import is_free_atom, state_problem
from mlip_autopipec.engines.dft.quantum_espresso.watch import NOTE

__all__ = [
    "GEOMETRY_TOLERANCE_A",
    "Results",
    "parse_folder",
    "read_xml",
    "turned_back",
]

FloatArray = NDArray[np.float64]
GEOMETRY_TOLERANCE_A = 1e-4
# A cell that is turned, and not strained: what its vectors' scalar products may differ by.
_RIGID = 1e-6
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, slots=True)
class Results:
    """Content of the XML in eV and Å. ``energy_ev`` is E-TS, ``entropy_ev`` its -TS; ``forces``
    (n, 3); ``stress`` (6,), ASE's sign.
    """

    converged: bool
    scf_steps: int
    energy_ev: float
    entropy_ev: float
    symbols: tuple[str, ...]
    positions: FloatArray
    cell: FloatArray
    forces: FloatArray | None
    stress: FloatArray | None
    total_magnetization: float
    wall_s: float
    absolute_magnetization: float = 0.0


def parse_folder(folder: Path, job: LabelJob, exit_code: int | None) -> Label | Failure:
    """The label, when every sign of success is there; else what went wrong.

    Success: exit code 0 (or unseen), ``JOB DONE``, an XML that parses and says converged, forces
    and stress present and finite, the structure that was asked for (1e-4 Å, modulo lattice
    vectors), no net force, and every force below ``numerics["max_force_ev_per_a"]`` (50 eV/Å when
    not given).
    """
    output = folder / OUTPUT
    text = output.read_text(errors="replace") if output.is_file() else ""
    if (folder / NOTE).is_file() and not re.search(r"convergence has been achieved", text):
        reason = (folder / NOTE).read_text().strip()
        return fail(
            "scf_not_converged",
            f"stopped early: {reason}",
            folder,
            OUTPUT,
            "estimated scf accuracy",
        )
    if exit_code not in (0, None) or not re.search(r"^\s*JOB DONE\.", text, re.MULTILINE):
        return _never_ran(classify(folder, exit_code), text)
    if re.search(r"convergence NOT achieved|Maximum CPU time exceeded|Error in routine", text):
        return classify(folder, exit_code)
    try:
        results = read_xml(_xml_path(folder))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        unread = fail(
            "interrupted",
            f"JOB DONE, but the XML cannot be read: {error}",
            folder,
            OUTPUT,
            "JOB DONE",
        )
        return lost_data(folder / OUTDIR / f"{PREFIX}.save", folder, unread.evidence) or unread
    results = turned_back(results, job)
    problem = _problem(results, job)
    if problem is not None:
        return _not_a_label(problem, folder)
    assert results.forces is not None
    label = Label(
        energy_ev=_energy_ev(results, job),
        forces=results.forces,
        stress=results.stress,
        method_hash=job.method_hash,
        scf_steps=results.scf_steps,
        wall_s=results.wall_s,
        total_magnetization=results.total_magnetization,
    )
    problem = label_problem(label, job)
    return label if problem is None else _not_a_label(problem, folder)


def _never_ran(failure: Failure, text: str) -> Failure:
    """Where pw.x cannot even start, no calculation can: a person must mend the machine."""
    if failure.kind != MACHINE or "Program PWSCF" in text:
        return failure
    return replace(failure, kind=PERSON, message=f"{failure.message} ({failure.cure})")


def _energy_ev(results: Results, job: LabelJob) -> float:
    """E-TS, which forces are the derivative of. A free atom has none: its energy is that of no
    smearing, half of -TS higher (M. J. Gillan, J. Phys.: Condens. Matter 1, 689, 1989).
    """
    if is_free_atom(job.atoms):
        return results.energy_ev - results.entropy_ev / 2
    return results.energy_ev


def _not_a_label(problem: Failure, folder: Path) -> Failure:
    """With the lines of the output that show it."""
    return fail(problem.kind, problem.message, folder, OUTPUT, pattern=r"^!|JOB DONE|negative rho")


def _xml_path(folder: Path) -> Path:
    saved = folder / OUTDIR / f"{PREFIX}.save" / DATA_FILE
    return saved if saved.is_file() else folder / OUTDIR / f"{PREFIX}.xml"


def read_xml(path: Path) -> Results:
    """Parse one data file.

    Raises OSError, ElementTree.ParseError, or ValueError when an entry is missing.
    """
    root = ElementTree.parse(path).getroot()
    output = root.find("output")
    if output is None:
        raise ValueError(f"{path.name} has no output section")
    structure = _child(output, "atomic_structure")
    atoms = _child(structure, "atomic_positions").findall("atom")
    forces, stress = output.find("forces"), output.find("stress")
    return Results(
        converged=_text(output, "convergence_info/scf_conv/convergence_achieved") == "true",
        scf_steps=int(_text(output, "convergence_info/scf_conv/n_scf_steps")),
        energy_ev=float(_text(output, "total_energy/etot")) * HARTREE_EV,
        entropy_ev=float(output.findtext("total_energy/demet") or 0.0) * HARTREE_EV,
        symbols=tuple(re.sub(r"[^A-Za-z].*$", "", atom.attrib["name"]) for atom in atoms),
        positions=np.array([_numbers(atom) for atom in atoms]).reshape(-1, 3) * BOHR_A,
        cell=np.array([_numbers(_child(structure, f"cell/a{i}")) for i in (1, 2, 3)]) * BOHR_A,
        forces=None if forces is None else _numbers(forces).reshape(-1, 3) * (HARTREE_EV / BOHR_A),
        stress=None if stress is None else _stress(_numbers(stress)),
        total_magnetization=float(output.findtext("magnetization/total") or 0.0),
        absolute_magnetization=float(output.findtext("magnetization/absolute") or 0.0),
        wall_s=float(root.findtext("timing_info/total/wall") or 0.0),
    )


def _stress(values: FloatArray) -> FloatArray:
    """ASE's stress, (6,) eV/Å³ and positive under tension, from QE's (positive under compression,
    Ha/bohr³).
    """
    tensor = -values.reshape(3, 3) * (HARTREE_EV / BOHR_A**3)
    tensor = (tensor + tensor.T) / 2
    return np.array([tensor[i, j] for i, j in _VOIGT])


def turned_back(results: Results, job: LabelJob) -> Results:
    """In the axes of the job: pw.x may have got the structure turned (see :mod:`sampling`)."""
    cell = job.atoms.cell.array
    if results.cell.shape != cell.shape or np.abs(results.cell - cell).max() < GEOMETRY_TOLERANCE_A:
        return results
    back = np.linalg.solve(results.cell, cell)  # rows of vectors, from the right
    if np.abs(back @ back.T - np.eye(3)).max() > _RIGID or np.linalg.det(back) < 0:
        return results
    stress = results.stress
    if stress is not None:
        xx, yy, zz, yz, xz, xy = stress
        tensor = back.T @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ back
        stress = np.array([tensor[i, j] for i, j in _VOIGT])
    return replace(
        results,
        positions=results.positions @ back,
        cell=results.cell @ back,
        forces=None if results.forces is None else results.forces @ back,
        stress=stress,
    )


def _child(node: ElementTree.Element, path: str) -> ElementTree.Element:
    found = node.find(path)
    if found is None:
        raise ValueError(f"{path} is missing")
    return found


def _text(node: ElementTree.Element, path: str) -> str:
    return (_child(node, path).text or "").strip()


def _numbers(node: ElementTree.Element) -> FloatArray:
    return np.array([float(word) for word in (node.text or "").split()])


def _problem(results: Results, job: LabelJob) -> Failure | None:
    """Not converged, not whole, of another structure or of another magnetic state."""
    if not results.converged:
        return Failure(
            "scf_not_converged",
            f"the XML says not converged after {results.scf_steps} SCF steps",
        )
    if results.forces is None or (results.stress is None and all(job.atoms.pbc)):
        return Failure("input", "forces or stress are missing in the XML")
    if not _same_structure(results, job) or len(results.forces) != len(job.atoms):
        return Failure("restart_corrupt", "the XML holds another structure than the one asked for")
    state = state_problem(
        job.atoms,
        Method.of_job(job),
        results.total_magnetization,
        results.absolute_magnetization,
    )
    return None if state is None else Failure(MAGNETIC_STATE, state)


def _same_structure(results: Results, job: LabelJob) -> bool:
    """Elements, cell and positions as asked for, positions modulo lattice vectors."""
    wanted = job.atoms
    if results.symbols != tuple(wanted.get_chemical_symbols()):
        return False
    if np.abs(results.cell - wanted.cell.array).max() > GEOMETRY_TOLERANCE_A:
        return False
    shift = np.linalg.solve(wanted.cell.array.T, (results.positions - wanted.positions).T).T
    residual = (shift - np.round(shift)) @ wanted.cell.array
    return math.sqrt(float((residual**2).sum(axis=1).max())) < GEOMETRY_TOLERANCE_A
