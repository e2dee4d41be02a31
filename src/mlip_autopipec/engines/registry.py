"""Name -> engine. Built-in folders are listed here, others come by entry point or as
``module:attribute``.

Entry point groups are ``mlip_autopipec.dft``, ``.train``, ``.surrogate`` and ``.md``. Nothing is
imported before it is asked for, so ``--help`` never loads torch, TensorFlow or LAMMPS.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal, cast

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.plugins import Plugins
from mlip_autopipec.engines.ports import DftEngine, MdEngine, Surrogate, Trainer

__all__ = ["PORTS", "dft_engine", "known", "load", "md_engine", "surrogate", "trainer"]

Port = Literal["dft", "train", "surrogate", "md"]

PORTS: dict[Port, Plugins] = {
    "dft": Plugins(
        "DFT engine",
        "dft.engine",
        "mlip_autopipec.dft",
        {
            "quantum_espresso": (
                "mlip_autopipec.engines.dft.quantum_espresso.engine:QuantumEspresso"
            ),
            "ase_calculator": "mlip_autopipec.engines.dft.ase_calculator.engine:AseCalculator",
        },
    ),
    "train": Plugins(
        "trainer",
        "training.trainer",
        "mlip_autopipec.train",
        {
            "pacemaker": "mlip_autopipec.engines.train.pacemaker.engine:Pacemaker",
            "linear": "mlip_autopipec.engines.train.pacemaker.engine:LinearAce",
        },
    ),
    "surrogate": Plugins(
        "surrogate",
        "surrogate.engine",
        "mlip_autopipec.surrogate",
        {
            "chgnet": "mlip_autopipec.engines.surrogate.chgnet.engine:Chgnet",
            "mace": "mlip_autopipec.engines.surrogate.mace.engine:Mace",
            "sevennet": "mlip_autopipec.engines.surrogate.sevennet.engine:SevenNet",
            "gfn2": "mlip_autopipec.engines.surrogate.gfn2.engine:Gfn2",
        },
    ),
    "md": Plugins(
        "MD engine",
        "exploration.engine",
        "mlip_autopipec.md",
        {"lammps": "mlip_autopipec.engines.md.lammps.engine:Lammps"},
    ),
}


def known(port: Port) -> dict[str, str]:
    """Every name of a port with the object it stands for."""
    return PORTS[port].known()


def load(port: Port, name: str) -> Any:
    """The engine called ``name`` (or at ``module:attribute``), made without arguments.

    Raises InputError with the nearest known name when there is none.
    """
    return PORTS[port].find(name)()


def dft_engine(name: str) -> DftEngine:
    return cast(DftEngine, load("dft", name))


def trainer(name: str) -> Trainer:
    return cast(Trainer, load("train", name))


def surrogate(name: str, model: str | None = None) -> Surrogate:
    """``model``: which weights, for engines that have several (a name or a path); None: the
    engine's default.
    """
    if model is None:
        return cast(Surrogate, load("surrogate", name))
    maker = PORTS["surrogate"].find(name)
    if "model" not in inspect.signature(maker).parameters:
        raise InputError(
            f"the surrogate {name} has one model only", key="surrogate.model", value=model
        )
    return cast(Surrogate, maker(model=model))


def md_engine(name: str) -> MdEngine:
    return cast(MdEngine, load("md", name))
