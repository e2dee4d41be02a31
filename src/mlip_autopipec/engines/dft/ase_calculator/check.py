"""Can the ASE calculator of a method be made here? Asked once, before structures are handed out by
the hundred.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import replace
from pathlib import Path

from ase import Atoms

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.base.files import read_json
from mlip_autopipec.base.labels import LabelJob
from mlip_autopipec.base.process import run_prepared
from mlip_autopipec.base.values import Json
from mlip_autopipec.engines.dft.ase_calculator.method import Method, prepared_job
from mlip_autopipec.engines.dft.ase_calculator.run import CHECK, OUTPUT

__all__ = ["check_calculator"]

_TIMEOUT_S = 300.0


def check_calculator(method: Method) -> None:
    """Make the calculator of ``method`` in a process of its own, without calculating anything.

    Raises MissingProgramError when its package is not installed, InputError when it cannot be made
    so.
    """
    package = method.calculator.partition(":")[0].partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise MissingProgramError(f"package {package}", f"pip install {package}")
    prepared = prepared_job(LabelJob(Atoms("H"), method.model_dump(mode="json")), cores=1)
    with tempfile.TemporaryDirectory(prefix="mlip-") as folder:
        home = Path(folder)
        code = run_prepared(replace(prepared, command=(*prepared.command, CHECK)), home, _TIMEOUT_S)
        answer: Json = read_json(home / OUTPUT) if (home / OUTPUT).is_file() else {}
    if code == 0:
        return
    message = answer.get("failure", {}).get("message", f"its process ended with exit code {code}")
    raise InputError(
        f"cannot be made: {message}",
        key="calculator",
        value=method.calculator,
        hint="write MODULE:CLASS and its arguments as KEY=VALUE, for example tblite.ase:TBLite"
        " and method=GFN2-xTB",
    )
