"""What was validated, as values and figures for the pages: from the result of a ``validate`` task.

Everything after this file knows properties as lists of values and of things to show, none by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlip_autopipec.base.values import Json
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.report.words import number, off
from mlip_autopipec.science.properties.equation_of_state import EquationOfState
from mlip_autopipec.science.properties.port import Chart, Line, PropertyValue, Shown, Table

__all__ = ["property_values", "shown_properties"]


def property_values(plan: Plan, validation: Json | None) -> tuple[PropertyValue, ...]:
    """The numbers of the validation, each with its tolerance; also (as None) before it was done."""
    found, asked = validation or {}, plan.validation
    if asked.modes:
        return (
            PropertyValue("geometry_rmsd_a", "geometry", "Å", asked.geometry_tolerance_a,
                          found.get("geometry_rmsd_a"), kind="alone", measure="RMSD", digits=4),
            PropertyValue("frequency_rmse_per_cm", "frequencies", "1/cm",
                          asked.frequency_tolerance_per_cm, found.get("frequency_rmse_per_cm"),
                          kind="alone", measure="RMS", digits=1),
        )  # fmt: skip
    lattice, modulus = (found.get(key) or {} for key in ("lattice_constant_a", "bulk_modulus_gpa"))
    return (
        PropertyValue("lattice_constant_a", "lattice constant", "Å", asked.lattice_tolerance,
                      lattice.get("potential"), lattice.get("dft"), digits=4),
        PropertyValue("bulk_modulus_gpa", "bulk modulus", "GPa", asked.bulk_modulus_tolerance,
                      modulus.get("potential"), modulus.get("dft"), digits=1),
    )  # fmt: skip


def shown_properties(plan: Plan, validation: Json | None) -> tuple[Shown, ...]:
    """Figures and tables of the validation."""
    if plan.validation.modes:
        return (_molecule((validation or {}).get("molecule") or {}),)
    return (_equation_of_state((validation or {}).get("eos") or {}),)


def _equation_of_state(eos: Mapping[str, Any]) -> Shown:
    """Energies and fitted curves above the lowest DFT energy (meV/atom)."""
    caption = (
        "Energies at the same cells, Birch-Murnaghan fits (lines) and equilibrium volumes (dotted)."
    )
    fits = eos.get("fits") or {}
    notes = tuple(
        f"No value for {source}: {fit['failure']}."
        for source, fit in fits.items()
        if "failure" in fit
    )
    return Shown("Equation of state", _eos_chart(eos, fits), caption, notes=notes)


def _eos_chart(eos: Mapping[str, Any], fits: Mapping[str, Any]) -> Chart | None:
    volumes = np.asarray(eos.get("volumes_a3_per_atom") or [], dtype=float)
    if not len(volumes):
        return None
    zero = min(eos["dft_ev_per_atom"])
    fine = np.linspace(volumes.min(), volumes.max(), 200)
    lines: list[Line] = []
    for source in ("dft", "potential"):
        energies = np.asarray(eos[f"{source}_ev_per_atom"], dtype=float)
        lines.append(_line(source, "points", volumes, 1000 * (energies - zero)))
        curve = _curve(fits.get(source) or {})
        if curve is not None:
            lines.append(_line(source, "line", fine, 1000 * (curve.energy(fine) - zero)))
            lines.append(_line(source, "mark", np.array([curve.volume_a3_per_atom])))
    return Chart("volume (Å³/atom)", "energy above the DFT minimum (meV/atom)", tuple(lines))


def _line(source: Any, style: Any, x: Any, y: Any = ()) -> Line:
    return Line(source, style, np.asarray(x).tolist(), np.asarray(y).tolist())


def _curve(fit: Mapping[str, Any]) -> EquationOfState | None:
    if "volume_a3_per_atom" not in fit:
        return None
    return EquationOfState(**{name: fit[name] for name in EquationOfState.__slots__})


def _molecule(found: Mapping[str, Any]) -> Shown:
    """Bonds and vibrations of a molecule at rest, by the potential and by DFT."""
    bonds = found.get("bonds_a") or []
    frequencies = found.get("frequencies_per_cm") or {}
    rows = [
        (f"{row['bond']}, mean of {row['count']}", *_pair(row["potential"], row["dft"], "Å", 4))
        for row in bonds
    ]
    pairs = zip(frequencies.get("potential", []), frequencies.get("dft", []), strict=True)
    rows += [
        (f"vibration {place}", *_pair(ours, dft, "1/cm", 0))
        for place, (ours, dft) in enumerate(pairs, start=1)
    ]
    caption = "Bonds, each at its own minimum; vibrations, along the same modes"
    table = Table(caption, ("", "potential", "DFT", "off by"), tuple(rows)) if rows else None
    notes = [f"{found['failure']}."] if found.get("failure") else []
    if bonds:
        bond, angle, force = (
            number(found[key], "not known")
            for key in (
                "largest_bond_error_a",
                "largest_angle_error_deg",
                "dft_force_at_rest_ev_per_a",
            )
        )
        notes.append(
            f"Largest difference of a bond {bond} Å, of an angle {angle}°. Where DFT was asked"
            f" last, its largest force was {force} eV/Å."
        )
    return Shown("The molecule at rest", table=table, notes=tuple(notes))


def _pair(potential: float, dft: float, unit: str, digits: int) -> tuple[str, str, str]:
    return f"{potential:.{digits}f} {unit}", f"{dft:.{digits}f} {unit}", off(potential, dft)
