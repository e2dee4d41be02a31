"""Why did this pw.x fail? For any folder with output of pw.x, not only ours.

Names of files and exit status are not known: outputs, inputs, CRASH, XML and messages of schedulers
are found by content (:mod:`.records`). The newest run counts. First the failures of
:mod:`.failures`; a run that ended with ``JOB DONE`` is then checked like this, and is ``ok`` only
when nothing is found:

===  =============================================================================
=================== no.  sign
class ===  =============================================================================
=================== 1    time limit, stop on request, last SCF cycle not converged
see failures.py 2    no converged energy and no bands printed
unknown 3    forces absurd, fused or NaN                                                    geometry
4    steps used up, BFGS gave up, final SCF of a vc-relax off (not: dynamics)
ionic_not_converged 5    XML of this run (by its time) not converged
scf_not_converged 6    data file in ``PREFIX.save`` empty or cut off; missing or unreadable
disk; interrupted ===  =============================================================================
===================

An XML of another time is left out: it may be the success of a run before. A folder without any
``PREFIX.save`` is judged by what was printed. Without any output the XML alone is judged.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.tasks import Evidence, Failure
from mlip_autopipec.engines.dft.quantum_espresso import checks, saved
from mlip_autopipec.engines.dft.quantum_espresso.failures import judge
from mlip_autopipec.engines.dft.quantum_espresso.records import Folder, Run, read_folder, reports_in
from mlip_autopipec.engines.dft_port import Diagnosis

__all__ = ["CURES", "Diagnosis", "diagnose"]

CURES: dict[str, str] = {
    "ok": "nothing to do",
    "scf_not_converged": (
        "mixing_beta 0.3, then 0.2 with mixing_ndim 12; local-TF for slabs; smearing for metals;"
        " more steps only where the estimated accuracy still falls"
    ),
    "diagonalization": (
        "another solver (diagonalization = 'ppcg', 'paro' or 'cg'; 'david' where cg failed), -ndiag"
        " 1; with ultrasoft potentials look for atoms too close"
    ),
    "out_of_walltime": (
        "restart_mode = 'restart' in the same outdir, max_seconds at 95 % of the wall time; more"
        " time"
    ),
    "interrupted": "run it again; with max_seconds set it stops cleanly and can be restarted",
    "too_few_bands": "leave nbnd out, or raise it above half the number of electrons",
    "smearing_needed": (
        "occupations = 'smearing', smearing = 'mv', degauss = 0.01; with nspin = 2 also moments"
    ),
    "charge_wrong": (
        "smaller mixing_beta, another solver; check tot_charge, nbnd and the pseudopotentials"
    ),
    "symmetry": (
        "write the cell and positions with more digits, or nosym = .true. and noinv = .true."
    ),
    "geometry": (
        "look at the structure: atoms too close or a cell without volume; no setting of pw.x helps"
    ),
    "parallelization": "fewer pools (npool <= k-points and ranks), -ndiag 1, fewer ranks",
    "fft_volume": "start again from the last cell, with a larger cell_factor",
    "ionic_not_converged": (
        "continue from the last structure printed; more nstep; for BFGS a smaller trust_radius_max "
        "or tighter conv_thr"
    ),
    "exx": "another exxdiv_treatment, or a larger ecutfock",
    "pseudopotential": (
        "check the UPF files: names in ATOMIC_SPECIES, pseudo_dir, checksum, one functional for all"
    ),
    "input": "correct the input at the place that pw.x names",
    "out_of_memory": (
        "more nodes or ranks with fewer pools, disk_io = 'low', mixing_ndim 4, diagonalization ="
        " 'cg'"
    ),
    "disk": "another outdir with space and write permission, disk_io = 'low'",
    "restart_corrupt": (
        "remove outdir and start with restart_mode = 'from_scratch' (for nscf: repeat the scf)"
    ),
    "unknown": "read the lines shown; restart once as it is",
}

_SAME_RUN = timedelta(minutes=2)
_XML_CREATED = re.compile(
    r'<created DATE="\s*(\d+)\s*([A-Za-z]{3})\s*(\d{4})"\s+TIME="\s*(\d+):\s*(\d+):\s*(\d+)"'
)
_READS = re.compile(r"Reading input from (\S+)")


def diagnose(folder: Path) -> Diagnosis:
    """What happened in ``folder``. Raises InputError when it is not a folder."""
    if not folder.is_dir():
        raise InputError(
            "no such folder",
            value=str(folder),
            hint="give the folder that holds the output of pw.x",
        )
    found = read_folder(folder)
    failure = _failure(found)
    if failure is None:
        lines = checks.success_lines(found.run.lines if found.run else ())
        return _verdict(
            found, Failure("ok", _praise(found), tuple(line.evidence() for line in lines))
        )
    return _verdict(found, failure)


def _verdict(found: Folder, failure: Failure) -> Diagnosis:
    message = failure.message
    if found.others and found.run:
        message += f" ({found.run.file}, the newest of {len(found.others) + 1} runs in the folder)"
    return Diagnosis(str(found.path), failure.kind, message, failure.evidence, CURES[failure.kind])


def _praise(found: Folder) -> str:
    if found.run is None:
        return "the XML says converged; no printed output"
    version = f"pw.x {found.run.version}" if found.run.version else "pw.x"
    return f"{version} finished and converged"


def _failure(found: Folder) -> Failure | None:
    run = found.run
    if run is None:
        if found.crash or _tells(found):
            return judge(found, None)
        if found.xmls:
            return _xml_alone(found)
        return Failure("unknown", "no output of pw.x in this folder")
    if not run.finished or reports_in(run.lines, "output"):
        return judge(found, None)
    said = judge(found, 0)
    if said.kind in ("out_of_walltime", "interrupted", "scf_not_converged"):
        return said
    return _unfulfilled(found, run)


def _tells(found: Folder) -> bool:
    """Messages of a scheduler or of the runtime library, without any output of pw.x."""
    return bool(found.inputs) and bool(found.logs)


def _unfulfilled(found: Folder, run: Run) -> Failure | None:
    xml = _xml_of(found, run)
    return (
        checks.missing_result(run.lines)
        or checks.force_problem(run.lines)
        or checks.ionic_problem(run.lines, _calculation(found, run))
        or _lost_data(found, run)
        or (None if xml is None else _xml_problem(found, xml))
    )


def _lost_data(found: Folder, run: Run) -> Failure | None:
    """A data file that this run should have left, and that is not whole.

    One of another run does not count.
    """
    inputs = _inputs(found, run)
    if any(_keyword(text, "disk_io") == "none" for text in inputs):
        return None
    prefixes = {_keyword(text, "prefix") or "pwscf" for text in inputs}
    said = tuple(line.evidence() for line in checks.success_lines(run.lines))[-1:]
    for save in found.saves:
        path = save / saved.DATA_FILE
        created = _created(path) if path in found.xmls else None
        of_another = created is not None and not _same_time(created, run)
        if of_another or (prefixes and save.stem not in prefixes):
            continue
        if lost := saved.lost_data(save, found.path, said):
            return lost
    return None


def _inputs(found: Folder, run: Run) -> list[str]:
    """Texts of the input that the run says it read, or of all inputs when it names none of them."""
    named = {matched[1] for line in run.lines[:100] if (matched := _READS.search(line.text))}
    paths = [path for path in found.inputs if path.name in named] or found.inputs
    return [path.read_text(errors="replace") for path in paths]


def _keyword(text: str, key: str) -> str | None:
    """Value of a character keyword of a namelist, None when it is not set."""
    matched = re.search(
        rf"^[^!\n]*\b{key}\s*=\s*['\"]([^'\"]+)['\"]", text, re.IGNORECASE | re.MULTILINE
    )
    return matched[1].strip() if matched else None


def _calculation(found: Folder, run: Run) -> str | None:
    """The keyword of the input, when all inputs that may belong to the run agree on one."""
    kinds = {(_keyword(text, "calculation") or "scf").lower() for text in _inputs(found, run)}
    return kinds.pop() if len(kinds) == 1 else None


def _xml_of(found: Folder, run: Run) -> Path | None:
    """The XML that this run wrote: created within two minutes of its end."""
    for path in sorted(found.xmls, key=lambda path: path.name != "data-file-schema.xml"):
        created = _created(path)
        if created is not None and _same_time(created, run):
            return path
    return None


def _same_time(created: datetime, run: Run) -> bool:
    return run.ended is not None and abs(created - run.ended) <= _SAME_RUN


def _created(path: Path) -> datetime | None:
    with path.open(errors="replace") as file:
        matched = _XML_CREATED.search(file.read(8192))
    if matched is None:
        return None
    day, month, year, hour, minute, second = matched.groups()
    try:
        date = datetime.strptime(f"{int(day):02d}{month}{year}", "%d%b%Y")
        return date.replace(hour=int(hour), minute=int(minute), second=int(second))
    except ValueError:
        return None


def _xml_alone(found: Folder) -> Failure | None:
    newest = max(found.xmls, key=lambda path: _created(path) or datetime.min)
    return _xml_problem(found, newest)


def _xml_problem(found: Folder, path: Path) -> Failure | None:
    name = str(path.relative_to(found.path))
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        text = path.read_text(errors="replace").splitlines()
        return Failure(
            "interrupted",
            f"the XML is cut off: {error}",
            (Evidence(name, len(text), text[-1].strip()),),
        )
    status = (root.findtext("exit_status") or "0").strip()
    kinds = {"2": "scf_not_converged", "3": "ionic_not_converged", "255": "out_of_walltime"}
    if status in kinds:
        return Failure(
            kinds[status],
            f"the XML says exit status {status}",
            (_xml_line(path, name, "exit_status"),),
        )
    flag = root.findtext("output/convergence_info/scf_conv/convergence_achieved")
    # Bands on a given density: the flag is false because no SCF cycle was asked for.
    fixed_density = (root.findtext("input/control_variables/calculation") or "").strip() in (
        "nscf",
        "bands",
    )
    if flag is not None and flag.strip().lower() == "false" and not fixed_density:
        proof = _xml_line(path, name, "convergence_achieved")
        return Failure(
            "scf_not_converged", "the XML says that the last SCF cycle did not converge", (proof,)
        )
    if root.find("output") is None:
        return Failure("interrupted", "the XML has no results", (_xml_line(path, name, "<input"),))
    return None


def _xml_line(path: Path, name: str, word: str) -> Evidence:
    lines = path.read_text(errors="replace").splitlines()
    number = next((index for index, text in enumerate(lines, 1) if word in text), 1)
    return Evidence(name, number, lines[number - 1].strip())
