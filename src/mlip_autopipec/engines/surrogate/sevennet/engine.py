"""SevenNet as the surrogate, in an environment of its own; the weights of SevenNet-0 come with its
package.

Source: Park et al., J. Chem. Theory Comput. 20, 4857 (2024); SevenNet-0 of 11 July 2024, fitted to
the PBE(+U) relaxations of the Materials Project. Stiffer and about 2.5 times dearer than CHGNet:
the second opinion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase.calculators.calculator import Calculator

from mlip_autopipec.base.errors import InputError, nearest
from mlip_autopipec.engines.remote.calculator import RemoteCalculator
from mlip_autopipec.engines.remote.process import find_interpreter
from mlip_autopipec.engines.unknown_elements import MATERIALS_PROJECT_ELEMENTS

__all__ = ["SevenNet"]

INSTALL = "make surrogate-sevennet"
PYTHON_VARIABLE = "MLIP_SEVENNET_PYTHON"
VENV = ".venv-sevennet"
# Those whose weights lie in the wheel; both know the elements of the Materials Project.
IN_THE_WHEEL = ("7net-0", "7net-l3i5")


class SevenNet:
    """Surrogate port. ``model``: ``7net-0`` (default), ``7net-l3i5``, or the path of a checkpoint.

    The process is started by the first call that needs the model and shared by all calculators of
    this object. Raises InputError for a model that is neither a known name nor a file.
    """

    def __init__(self, model: str | None = None) -> None:
        self.model = model or IN_THE_WHEEL[0]
        self._calculator: RemoteCalculator | None = None
        if self.model not in IN_THE_WHEEL:
            path = Path(self.model).expanduser().resolve()
            if not path.is_file():
                hint = f"a path, or a name; {nearest(self.model, IN_THE_WHEEL)}"
                raise InputError(
                    "no such SevenNet model", key="surrogate.model", value=self.model, hint=hint
                )
            self.model = str(path)

    def require(self) -> str:
        """The interpreter that has sevenn. Raises MissingProgramError."""
        return find_interpreter("sevenn", variable=PYTHON_VARIABLE, venv=VENV, install=INSTALL)

    def calculator(self) -> Calculator:
        """The calculator (about 10 s of CPU to load).

        Raises MissingProgramError when sevenn is not installed.
        """
        return self._loaded()

    def supports(self, symbols: Sequence[str]) -> bool:
        """Whether every element was in the training set (a checkpoint of your own is loaded and
        asked).
        """
        if self.model in IN_THE_WHEEL:
            return set(symbols) <= MATERIALS_PROJECT_ELEMENTS
        return set(symbols) <= self._loaded().elements

    def _loaded(self) -> RemoteCalculator:
        if self._calculator is None:
            backend = Path(__file__).with_name("model.py")
            self._calculator = RemoteCalculator(
                "SevenNet", self.require(), backend, {"model": self.model}
            )
        return self._calculator
