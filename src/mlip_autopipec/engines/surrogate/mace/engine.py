"""MACE as the surrogate, in an environment of its own: MACE-MP by name, any MACE model by path.

Source: Batatia et al., arXiv:2401.00096. A model file is a Python pickle: loading one runs what is
written in it, so only files from people you trust may be named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase.calculators.calculator import Calculator

from mlip_autopipec.engines.remote.calculator import RemoteCalculator
from mlip_autopipec.engines.remote.process import find_interpreter
from mlip_autopipec.engines.surrogate.mace import weights
from mlip_autopipec.engines.unknown_elements import MATERIALS_PROJECT_ELEMENTS

__all__ = ["Mace"]

INSTALL = "make surrogate-mace"
PYTHON_VARIABLE = "MLIP_MACE_PYTHON"
VENV = ".venv-mace"


class Mace:
    """Surrogate port. ``model``: a name of :data:`weights.URLS` (default ``small-0b2``) or the path
    of a model file.

    The process is started by the first call that needs the model and shared by all calculators of
    this object. Raises InputError for a model that is neither a known name nor a file.
    """

    def __init__(self, model: str | None = None) -> None:
        self.model = model or weights.DEFAULT
        self._calculator: RemoteCalculator | None = None
        weights.find(self.model)

    def require(self) -> str:
        """The interpreter that has mace; weights that are not here are downloaded (see
        :func:`weights.fetch`).

        Raises MissingProgramError.
        """
        python = find_interpreter("mace", variable=PYTHON_VARIABLE, venv=VENV, install=INSTALL)
        self._weights()
        return python

    def calculator(self) -> Calculator:
        """The calculator (about 10 s of CPU to load).

        Raises MissingProgramError when package or weights are absent.
        """
        return self._loaded()

    def supports(self, symbols: Sequence[str]) -> bool:
        """Whether every element was in the training set (a model given by path is loaded and
        asked).
        """
        if self.model in weights.URLS:
            return set(symbols) <= MATERIALS_PROJECT_ELEMENTS
        return set(symbols) <= self._loaded().elements

    def _weights(self) -> Path:
        return weights.find(self.model) or weights.fetch(self.model)

    def _loaded(self) -> RemoteCalculator:
        if self._calculator is None:
            python = self.require()
            # e3nn 0.4.4 reads its own tables, and MACE its models, with the full unpickler.
            env = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
            backend, options = Path(__file__).with_name("model.py"), {"path": str(self._weights())}
            self._calculator = RemoteCalculator("MACE", python, backend, options, env)
        return self._calculator
