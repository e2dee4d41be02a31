"""Real failures of pw.x, provoked one by one and healed by the engine's own parser and repair
table.

``python benchmarks/healing.py [CASE...]``: for each case the loop attempt -> parse -> repair ->
attempt runs until a label comes or the table gives up, exactly as a campaign does it. Prints class,
cures, attempts and CPU time, and how far the healed energy is from that of an untroubled run. Two
silicon atoms, about a second of CPU for each attempt.
"""

from __future__ import annotations

import re
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import bulk

from mlip_autopipec.base.labels import Label, LabelJob
from mlip_autopipec.base.process import Prepared, run_prepared
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.engines.dft.quantum_espresso.engine import QuantumEspresso

ENGINE = QuantumEspresso()
MAX_ATTEMPTS = 5
METHOD: dict[str, Any] = {
    "engine": "quantum_espresso",
    "functional": "PBE",
    "pseudo_family": pseudos.DEFAULT_FAMILY,
    "pseudos": {"Si": "Si.upf"},
    "cutoff_ry": 20.0,
    "rho_cutoff_ry": 80.0,
    "kspacing_per_a": 0.57,
    "kmesh_shifted": False,
    "occupations": "smearing",
    "smearing": "mv",
    "degauss_ry": 0.01,
    "spin_polarized": False,
    "starting_moments": {},
    "conv_thr_ry_per_atom": 1e-9,
}

#: Makes an untroubled run ten times as long as what the faults wait for, so that no machine is too
#: fast for them.
KMESH = (6, 6, 6)

#: Changes one attempt before it starts: (prepared, folder, number from 1) -> prepared.
Fault = Callable[[Prepared, Path, int], Prepared]


@dataclass(frozen=True)
class Case:
    """A provoked failure. ``expected``: the class that the first attempt must be given."""

    name: str
    expected: str
    fault: Fault = lambda prepared, folder, number: prepared
    numerics: dict[str, Any] = field(default_factory=dict)
    walltime_s: float = 1800.0
    keep_state: bool = False


@dataclass(frozen=True)
class Healed:
    """What came of a case: the classes met, the cures, and the label or the last failure."""

    classes: list[str]
    cures: list[str]
    result: Label | Failure
    cpu_s: float


def structure() -> Atoms:
    """Two silicon atoms, one displaced: no symmetry, forces of about 1 eV/Å."""
    atoms = bulk("Si", "diamond", a=5.47)
    atoms.positions[1] += [0.08, -0.03, 0.05]
    return atoms


def shell(prepared: Prepared, script: str) -> Prepared:
    """The same files, but ``script`` runs; ``$PW`` is the command that it replaces."""
    command = " ".join(prepared.command)
    return replace(prepared, command=("/bin/bash", "-c", f"PW='{command}'\n{script}"))


def first_only(change: Fault) -> Fault:
    """A fault of the machine that strikes once."""
    return lambda prepared, folder, number: (
        change(prepared, folder, number) if number == 1 else prepared
    )


def signal(name: str, when: str) -> Fault:
    """pw.x gets a signal as soon as ``when`` stands in its output."""
    script = f"""$PW & pid=$!
for i in $(seq 3000); do
  grep -q "{when}" pw.out && break; kill -0 $pid 2>/dev/null || break; sleep 0.02; done
kill -{name} $pid; wait $pid"""
    return first_only(lambda prepared, folder, number: shell(prepared, script))


def edit(old: str, new: str) -> Fault:
    """Another line in the input of every attempt (a setting that only one solver reads)."""

    def change(prepared: Prepared, folder: Path, number: int) -> Prepared:
        text = re.sub(old, new, str(prepared.files["pw.in"]))
        return replace(prepared, files={**prepared.files, "pw.in": text})

    return change


def blocked_scratch(prepared: Prepared, folder: Path, number: int) -> Prepared:
    """A file stands where the scratch folder should be."""
    folder.mkdir(parents=True)
    (folder / "out").write_text("in the way\n")
    return prepared


def broken_density(prepared: Prepared, folder: Path, number: int) -> Prepared:
    """Start from the density of an earlier run that was cut off while it was written."""
    text = str(prepared.files["pw.in"]).replace(
        "mixing_mode", "startingpot = 'file'\n  mixing_mode"
    )
    files = {**prepared.files, "first.in": prepared.files["pw.in"], "pw.in": text}
    half = "f=out/p.save/charge-density.dat; truncate -s $(($(stat -c %s $f) / 2)) $f"
    script = "${PW/pw.in/first.in} > first.log; " + half + "; exec $PW"
    return shell(replace(prepared, files=files), script)


def short_time(prepared: Prepared, folder: Path, number: int) -> Prepared:
    return edit(r"max_seconds = \S+", "max_seconds = 0.2")(prepared, folder, number)


CASES = (
    Case("too few SCF steps", "scf_not_converged", numerics={"electron_maxstep": 3}),
    Case(
        "mixing much too strong",
        "scf_not_converged",
        numerics={"mixing_beta": 2.5, "mixing_ndim": 1, "electron_maxstep": 20},
    ),
    Case(
        "cg with one iteration",
        "diagonalization",
        edit("(?m)^  diagonalization", "  diago_cg_maxiter = 1\n  diagonalization"),
        {"diagonalization": "cg"},
    ),
    Case("time limit (continued)", "out_of_walltime", first_only(short_time), keep_state=True),
    Case(
        "hangs until killed", "out_of_walltime", signal("STOP", "iteration #  2"), walltime_s=12.0
    ),
    Case("SIGKILL", "interrupted", signal("KILL", "iteration #  2")),
    Case("SIGTERM", "interrupted", signal("TERM", "iteration #  3")),
    Case("crash in the SCF cycle", "diagonalization", signal("SEGV", "iteration #  2")),
    Case("crash before the SCF cycle", "symmetry", signal("SEGV", "Program PWSCF")),
    Case("scratch folder blocked", "disk", first_only(blocked_scratch)),
    Case("density cut off", "restart_corrupt", first_only(broken_density)),
    Case(
        "XML cut off",
        "disk",
        first_only(
            lambda prepared, folder, number: shell(
                prepared, "$PW; truncate -s 4000 out/p.save/data-file-schema.xml"
            )
        ),
    ),
)


def heal(case: Case, root: Path) -> Healed:
    """The loop of a campaign around one structure."""
    job: LabelJob | None = LabelJob(structure(), METHOD, case.numerics, KMESH)
    failures: list[Failure] = []
    cures: list[str] = []
    result: Label | Failure | None = None
    before = _cpu_s()
    while job is not None and len(failures) < MAX_ATTEMPTS:
        number = len(failures) + 1
        folder = root / f"attempt-{number}"
        walltime_s = case.walltime_s * float(job.numerics.get("walltime_factor", 1.0))
        prepared = ENGINE.prepare(job, walltime_s=walltime_s, cores=1)
        if case.keep_state and number > 1:
            prepared = ENGINE.resume(prepared, root / f"attempt-{number - 1}", folder)
        code = run_prepared(case.fault(prepared, folder, number), folder, walltime_s, ENGINE.watch)
        result = ENGINE.parse(folder, job, code)
        if isinstance(result, Label):
            break
        failures.append(result)
        following = ENGINE.repair(job, failures)
        cures.append(_difference(job, following))
        job = following
    assert result is not None
    return Healed([failure.kind for failure in failures], cures, result, _cpu_s() - before)


def _difference(old: LabelJob, new: LabelJob | None) -> str:
    if new is None:
        return "given up"
    changed = [
        f"{key}={value}" for key, value in new.numerics.items() if old.numerics.get(key) != value
    ]
    return " ".join(changed) or "as it is"


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(names: list[str]) -> int:
    wanted = [case for case in CASES if not names or case.name in names]
    healed = 0
    print(f"{'provoked':28} {'class':18} {'cure':48} {'attempts':>8} {'CPU s':>6}  error meV")
    with tempfile.TemporaryDirectory() as scratch:
        reference = heal(Case("untroubled", "ok"), Path(scratch) / "reference")
        assert isinstance(reference.result, Label), reference.result
        for index, case in enumerate(wanted):
            found = heal(case, Path(scratch) / str(index))
            attempts = len(found.classes) + int(isinstance(found.result, Label))
            classes, cures = ",".join(found.classes), "; ".join(found.cures)
            row = f"{case.name:28} {classes:18} {cures:48} {attempts:8d} {found.cpu_s:6.1f}"
            if isinstance(found.result, Label) and found.classes[:1] == [case.expected]:
                healed += 1
                print(
                    f"{row}  {abs(found.result.energy_ev - reference.result.energy_ev) * 1000:.4f}",
                    flush=True,
                )
            else:
                print(f"{row}  NOT HEALED: {found.result}", flush=True)
    print(f"{healed} of {len(wanted)} healed, {_cpu_s():.0f} s CPU")
    return 0 if healed == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
