"""The smallest cell that stands for a campaign's material, found in a process of its own
(surrogates are heavy).

``python -m mlip_autopipec.commands.dft_check.cell`` reads ``plan.json`` in the present folder and
writes ``cell.json``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ase import Atoms

from mlip_autopipec.base.errors import MlipError
from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.base.process import Prepared, run_prepared
from mlip_autopipec.base.structures import atoms_from_json, atoms_to_json
from mlip_autopipec.base.tasks import Failure
from mlip_autopipec.commands.label.structures import as_calculated
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.proposing import strategies

__all__ = ["find", "main", "start_cell"]

PLAN, CELL = "plan.json", "cell.json"


def start_cell(plan: Plan, folder: Path) -> Atoms | Failure:
    """The smallest structure of the user's file, else the prototype that the surrogate puts lowest;
    kept in ``folder``.

    Raises InputError for an unreadable file or a composition without prototypes, before anything is
    written.
    """
    from mlip_autopipec.science.generation import starts

    if plan.material.structure_file is not None:
        given = min(
            (start.atoms for start in starts.read_structure(plan.material.structure_file)), key=len
        )
        return as_calculated(given).atoms
    starts.proposals(plan.material, seed=plan.seed)
    text = plan.model_dump_json(indent=1)
    found = folder / CELL
    if not (found.exists() and (folder / PLAN).read_text() == text):
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        command = (sys.executable, "-m", "mlip_autopipec.commands.dft_check.cell")
        found.unlink(missing_ok=True)
        code = run_prepared(Prepared({PLAN: text}, command, env=threads), folder)
        if code != 0:
            said = [
                line
                for line in (folder / "stderr.txt").read_text(errors="replace").splitlines()
                if line.strip()
            ]
            return Failure("start_cell", said[-1] if said else f"exit code {code}")
    return atoms_from_json(read_json(found))


def find(plan: Plan) -> Atoms:
    """The relaxed prototype of lowest energy; the first one where the surrogate lacks an
    element.
    """
    from mlip_autopipec.science.generation import starts
    from mlip_autopipec.science.generation.start_relaxation import one_by_one

    calculator = strategies.calculator(plan)
    evaluate = one_by_one(calculator) if calculator else None
    found = starts.find(
        plan.material, evaluate, seed=plan.seed, max_atoms=plan.embedding.max_dft_atoms
    )
    if not found:
        raise MlipError("no start structure survived its relaxation")
    return found[0].candidate.atoms


def main(folder: Path) -> int:
    """Find the cell of the plan in ``folder``; 1 with one line on standard error when there is
    none.
    """
    try:
        atoms = find(Plan.model_validate(read_json(folder / PLAN)))
    except MlipError as error:
        print(error, file=sys.stderr)
        return 1
    write_json(folder / CELL, atoms_to_json(atoms))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
