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
from mlip_autopipec.engines.dft_port import DftEngine
from mlip_autopipec.engines.ports import MdEngine, Surrogate, Trainer

__all__ = [
    "DEFAULT_DFT",
    "DEFAULT_MD",
    "DEFAULT_TRAINER",
    "FAST_TRAINER",
    "PORTS",
    "dft_engine",
    "dft_engine_with",
    "known",
    "load",
    "md_engine",
    "surrogate",
    "trainer",
]

Port = Literal["dft", "train", "surrogate", "md"]

DEFAULT_DFT = "quantum_espresso"
"""The DFT code where none is named."""

DEFAULT_TRAINER, FAST_TRAINER = "pacemaker", "linear"
"""Who makes a released potential where none is named, and who the quick ones."""

DEFAULT_MD = "lammps"
"""The MD engine where none is named."""

PORTS: dict[Port, Plugins] = {
    "dft": Plugins(
        "DFT engine",
        "dft.engine",
        "mlip_autopipec.dft",
        {
            "quantum_espresso": (
                "mlip_autopipec.engines.dft.quantum_espresso.engine:QuantumEspresso"
            ),
            "cp2k": "mlip_autopipec.engines.dft.cp2k.engine:Cp2k",
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
            "ace": "mlip_autopipec.engines.train.ace_jax.engine:AceJax",
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


_DFT_PARTS = sorted(
    part for part in (*DftEngine.__annotations__, *vars(DftEngine)) if not part.startswith("_")
)


def known(port: Port) -> dict[str, str]:
    """Every name of a port with the object it stands for."""
    return PORTS[port].known()


def load(port: Port, name: str) -> Any:
    """The engine called ``name`` (or at ``module:attribute``), made without arguments.

    Raises InputError with the nearest known name when there is none.
    """
    return PORTS[port].find(name)()


def dft_engine(name: str) -> DftEngine:
    """Raises InputError for an unknown name, and for a class that is no labelling engine."""
    engine = load("dft", name)
    if not isinstance(engine, DftEngine):
        lacking = [part for part in _DFT_PARTS if not hasattr(engine, part)]
        raise InputError(
            f"no labelling engine: it has no {', '.join(lacking)}",
            key="dft.engine",
            value=name,
            hint="an ASE calculator is labelled with by: engine: ase_calculator",
        )
    return engine


def dft_engine_with(wish: str) -> str:
    """The first code, the default before the others, of which a user may ask ``wish``.

    Raises InputError where there is none.
    """
    for name in (DEFAULT_DFT, *known("dft")):
        if wish in dft_engine(name).Wishes.model_fields:
            return name
    raise InputError("no DFT engine has such a setting", key=wish)


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
