"""Where DFT's own volume lies: the surrogate's may be off by many per cent, so the cells of a
property follow from the first answers.

Volumes are in Å³ per atom, pressures in GPa, positive under compression.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from ase.units import GPa
from pydantic import SerializerFunctionWrapHandler, model_serializer

from mlip_autopipec.base.labels import Label
from mlip_autopipec.base.section import Section
from mlip_autopipec.science.lattices import bare, standard_cell
from mlip_autopipec.science.properties.port import Known

__all__ = [
    "SOFTEST_GPA",
    "FindsVolume",
    "UnderPressure",
    "pressure_gpa_of",
    "smallest_cell",
    "volume_at_pressure",
    "volume_per_atom",
]

#: B' of Murnaghan's equation where two pressures have to do: most solids lie between 3.5 and 5.5,
#: and between pressures that enclose the one asked for it hardly matters.
USUAL_B_PRIME = 4.0
#: Bulk modulus below which there is no crystal, but the noise of equal pressures.
SOFTEST_GPA = 0.05
#: An estimate is not believed farther than this outside the volumes that were calculated.
REACH = (0.8, 1.25)


class UnderPressure(Section):
    """A property of a crystal at ``pressure_gpa``."""

    pressure_gpa: float = 0.0

    @model_serializer(mode="wrap")
    def _without_usual_pressure(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        if not self.pressure_gpa:
            del data["pressure_gpa"]  # as plans were before there was one
        return data


@runtime_checkable
class FindsVolume(Protocol):
    """A property whose labels tell how far the surrogate's volume is off."""

    def volume_ratio(self, known: Known) -> float | None:
        """DFT's volume over that of ``known.start``; None as long as the labels do not tell."""
        ...


def volume_per_atom(atoms: Atoms) -> float:
    return float(atoms.get_volume()) / len(atoms)


def smallest_cell(start: Atoms) -> Atoms:
    """The primitive standard cell of a crystal, which costs least; one in which atoms of an element
    have different moments is kept as it is, since symmetry does not see their order.
    """
    moments = dict(zip(start.symbols, start.get_initial_magnetic_moments(), strict=True))
    ordered = [moments[symbol] for symbol in start.symbols]
    if not np.allclose(ordered, start.get_initial_magnetic_moments()):
        return bare(start)
    # Asked for after every event of a campaign: spglib's answer is looked up.
    cell: Atoms = _primitive(
        start.numbers.tobytes(),
        start.positions.tobytes(),
        start.cell.array.tobytes(),
        *map(bool, start.pbc),
    ).copy()
    if start.has("initial_magmoms"):
        cell.set_initial_magnetic_moments([moments[symbol] for symbol in cell.symbols])
    return cell


@lru_cache(maxsize=64)
def _primitive(numbers: bytes, positions: bytes, cell: bytes, *periodic: bool) -> Atoms:
    """The primitive standard cell of the atoms whose arrays these are."""
    atoms = Atoms(
        numbers=np.frombuffer(numbers, dtype=int),
        positions=np.frombuffer(positions).reshape(-1, 3),
        cell=np.frombuffer(cell).reshape(3, 3),
        pbc=periodic,
    )
    return standard_cell(atoms, primitive=True)


def pressure_gpa_of(label: Label) -> float | None:
    """A third of the trace of the stress, with the sign of a pressure; None without a stress."""
    if label.stress is None:
        return None
    return -float(np.mean(np.asarray(label.stress)[:3])) / GPa


def volume_at_pressure(
    volumes_a3: Sequence[float], pressures_gpa: Sequence[float], pressure_gpa: float
) -> float | None:
    """The volume at ``pressure_gpa``; None where they do not fall with the volume.

    Murnaghan's equation P = B/B' ((V0/V)^B' - 1) is linear in V^-B', so that two points determine
    it and more make a least-squares problem (F. D. Murnaghan, PNAS 30, 244, 1944).
    """
    volumes = np.asarray(volumes_a3, dtype=float)
    if len(np.unique(np.round(volumes, 6))) < 2:
        return None
    unit = float(np.mean(volumes))
    slope, constant = np.polyfit((volumes / unit) ** -USUAL_B_PRIME, pressures_gpa, deg=1)
    if not USUAL_B_PRIME * slope > SOFTEST_GPA or not pressure_gpa > constant:
        return None
    found = unit * float((pressure_gpa - constant) / slope) ** (-1 / USUAL_B_PRIME)
    return float(np.clip(found, REACH[0] * volumes.min(), REACH[1] * volumes.max()))
