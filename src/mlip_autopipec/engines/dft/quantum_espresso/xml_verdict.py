"""What ``data-file-schema.xml`` says of a run, for folders that are not ours."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

from mlip_autopipec.base.tasks import Evidence, Failure
from mlip_autopipec.engines.dft.quantum_espresso.runs import Run

__all__ = ["created", "of_same_time", "xml_problem"]

_SAME_RUN = timedelta(minutes=2)
_CREATED = re.compile(
    r'<created DATE="\s*(\d+)\s*([A-Za-z]{3})\s*(\d{4})"\s+TIME="\s*(\d+):\s*(\d+):\s*(\d+)"'
)


def of_same_time(stamp: datetime, run: Run) -> bool:
    """Written by this run: within two minutes of its end."""
    return run.ended is not None and abs(stamp - run.ended) <= _SAME_RUN


def created(path: Path) -> datetime | None:
    """When pw.x wrote the file, by its own words."""
    with path.open(errors="replace") as file:
        matched = _CREATED.search(file.read(8192))
    if matched is None:
        return None
    day, month, year, hour, minute, second = matched.groups()
    try:
        date = datetime.strptime(f"{int(day):02d}{month}{year}", "%d%b%Y")
        return date.replace(hour=int(hour), minute=int(minute), second=int(second))
    except ValueError:
        return None


def xml_problem(root: Path, path: Path) -> Failure | None:
    """What is wrong by the XML in ``path``, None where it says converged. Names in the evidence are
    relative to ``root``.
    """
    name = str(path.relative_to(root))
    try:
        tree = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        text = path.read_text(errors="replace").splitlines()
        return Failure(
            "interrupted",
            f"the XML is cut off: {error}",
            (Evidence(name, len(text), text[-1].strip()),),
        )
    status = (tree.findtext("exit_status") or "0").strip()
    kinds = {"2": "scf_not_converged", "3": "ionic_not_converged", "255": "out_of_walltime"}
    if status in kinds:
        return Failure(
            kinds[status],
            f"the XML says exit status {status}",
            (_line(path, name, "exit_status"),),
        )
    flag = tree.findtext("output/convergence_info/scf_conv/convergence_achieved")
    # Bands on a given density: the flag is false because no SCF cycle was asked for.
    fixed_density = (tree.findtext("input/control_variables/calculation") or "").strip() in (
        "nscf",
        "bands",
    )
    if flag is not None and flag.strip().lower() == "false" and not fixed_density:
        proof = _line(path, name, "convergence_achieved")
        return Failure(
            "scf_not_converged", "the XML says that the last SCF cycle did not converge", (proof,)
        )
    if tree.find("output") is None:
        return Failure("interrupted", "the XML has no results", (_line(path, name, "<input"),))
    return None


def _line(path: Path, name: str, word: str) -> Evidence:
    lines = path.read_text(errors="replace").splitlines()
    number = next((index for index, text in enumerate(lines, 1) if word in text), 1)
    return Evidence(name, number, lines[number - 1].strip())
