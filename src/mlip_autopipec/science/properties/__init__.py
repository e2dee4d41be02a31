"""Properties that a potential is held against our own DFT by: one file each, looked up by name.

Built-in ones are listed here; others come by entry point or as ``module:Class``. ``input.yaml``
names them under ``properties``.
"""

from __future__ import annotations

from mlip_autopipec.base.plugins import Plugins
from mlip_autopipec.science.properties.port import Property

__all__ = ["PROPERTIES", "property_class"]

_HERE = "mlip_autopipec.science.properties"
PROPERTIES = Plugins(
    "property",
    "properties",
    "mlip_autopipec.property",
    {
        "equation_of_state": f"{_HERE}.equation_of_state:LatticeAndBulkModulus",
        "molecule": f"{_HERE}.molecule:MoleculeAtRest",
        "elastic": f"{_HERE}.elastic:ElasticConstants",
    },
)


def property_class(name: str) -> type[Property]:
    """The property called ``name`` or at ``module:Class``.

    Raises InputError with the nearest known name where there is none.
    """
    found: type[Property] = PROPERTIES.find(name)
    return found
