"""For authors of backends and for tests: simulated engines, a small plan, the contract suites.

No product module imports this one. A new backend proves itself with one line::

    class TestMyEngine(DftEngineContract):
        engine = MyEngine()
"""

from mlip_autopipec.testing.contracts.dft import DftEngineContract
from mlip_autopipec.testing.contracts.md import MdEngineContract
from mlip_autopipec.testing.contracts.property import PropertyContract
from mlip_autopipec.testing.contracts.strategy import StrategyContract
from mlip_autopipec.testing.contracts.surrogate import SurrogateContract
from mlip_autopipec.testing.contracts.trainer import TrainerContract
from mlip_autopipec.testing.simulated import (
    GradedEmt,
    SimulatedDft,
    SimulatedMd,
    SimulatedSurrogate,
    SimulatedTrainer,
    simulated_plan,
)

__all__ = [
    "DftEngineContract",
    "GradedEmt",
    "MdEngineContract",
    "PropertyContract",
    "SimulatedDft",
    "SimulatedMd",
    "SimulatedSurrogate",
    "SimulatedTrainer",
    "StrategyContract",
    "SurrogateContract",
    "TrainerContract",
    "simulated_plan",
]
