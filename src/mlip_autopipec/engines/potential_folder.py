"""What the folder of a potential says of itself: who made it. Whoever needs a calculator of a
potential asks the trainer that made it, whatever the plan names today.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase.calculators.calculator import Calculator

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import read_json, write_json
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import Resamples

__all__ = ["FIT", "RECORD", "calculator_of", "ensemble_of", "fit_folder", "maker_of", "sign"]

RECORD = "potential.json"
#: Of a result folder: the potential's own folder. What lies beside it gives whole energies to
#: whichever program loads it; files of the fit alone may lack those of the isolated atoms.
FIT = "fit"
#: Folders from before the record: only the metrics name the trainer.
OLDER_RECORD = "metrics.json"


def fit_folder(folder: Path) -> Path:
    """Where the files of a potential lie: in ``fit/`` of a result folder, else in ``folder``."""
    inner = folder / FIT
    own = (folder / RECORD).is_file() or not (inner / RECORD).is_file()
    return folder if own else inner


def sign(folder: Path, trainer: str, elements: Sequence[str]) -> None:
    """Write ``potential.json``: the trainer by its name in the registry (or ``module:Class``), and
    the elements.
    """
    write_json(folder / RECORD, {"trainer": trainer, "elements": sorted(elements)})


def maker_of(folder: Path, otherwise: str | None = None) -> str:
    """The trainer that made the potential in ``folder``; ``otherwise``: the answer where nothing
    says so, else InputError.
    """
    own = fit_folder(folder)
    for name in (RECORD, OLDER_RECORD):
        if (own / name).is_file():
            trainer = read_json(own / name).get("trainer")
            if trainer is not None:
                return str(trainer)
    if otherwise is not None:
        return otherwise
    raise InputError(
        "nothing says which trainer made this potential",
        file=folder,
        hint=f'write its name into {RECORD}, for example {{"trainer": "pacemaker"}}',
    )


def calculator_of(folder: Path, otherwise: str | None = None) -> Calculator:
    """ASE calculator of the potential in ``folder``, or of a result folder, by the trainer that
    made it (``otherwise``: by this one where nothing says which).

    Raises InputError where nothing says which that is, or where there is no such trainer any more;
    MissingProgramError where its packages are absent.
    """
    return registry.trainer(maker_of(folder, otherwise)).calculator(fit_folder(folder))


def ensemble_of(folder: Path, otherwise: str | None = None) -> list[Calculator]:
    """Calculators of the resampled fits beside the potential in ``folder``; empty where the trainer
    that made it makes none, or did not when it made this one. Raises as :func:`calculator_of`.
    """
    trainer = registry.trainer(maker_of(folder, otherwise))
    if not isinstance(trainer, Resamples):
        return []
    try:
        return trainer.ensemble(fit_folder(folder))
    except InputError:  # a folder from before the trainer kept them
        return []
