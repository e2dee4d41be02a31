"""What plans and tasks of a campaign say of its properties, as it is stored; also as it was stored
when the equation of state and the molecule were all that there was, and had no names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlip_autopipec.base.values import Json
from mlip_autopipec.science.properties.port import Comparison, Found

__all__ = [
    "NAMELESS",
    "comparisons",
    "comparisons_to_json",
    "labels_of",
    "molecule_of_summary",
    "nameless",
    "prepared",
    "source_of",
]

CRYSTAL, MOLECULE = "equation_of_state", "molecule"
NAMELESS = frozenset({CRYSTAL, MOLECULE})


def nameless(settings: Mapping[str, Any]) -> str:
    """The property that settings without a name are of, from the ``validation`` of a plan."""
    return MOLECULE if settings.get("modes") else CRYSTAL


def comparisons_to_json(found: Mapping[str, Comparison]) -> Json:
    """The result of a ``validate`` task."""
    return {"properties": {name: one.to_json() for name, one in found.items()}}


def comparisons(result: Mapping[str, Any]) -> dict[str, Comparison]:
    """Property -> DFT beside potential, from the result of a ``validate`` task."""
    if "properties" in result:
        stored = result["properties"]
        return {name: Comparison.from_json(data) for name, data in stored.items()}
    if "molecule" in result:
        return {MOLECULE: _molecule(result)}
    return {CRYSTAL: _crystal(result)}


def labels_of(payload: Mapping[str, Any]) -> dict[str, list[str]]:
    """Property -> ids of its labels, from the payload of a ``validate`` task."""
    if "labels" in payload:
        return {name: list(ids) for name, ids in payload["labels"].items()}
    if "molecule_labels" in payload:
        return {MOLECULE: list(payload["molecule_labels"])}
    return {CRYSTAL: list(payload["eos_labels"])}


def source_of(payload: Mapping[str, Any]) -> str | None:
    """The ``generate`` task of a ``validate`` task; None where it names none."""
    source: str | None = payload.get("source", payload.get("modes"))
    return source


def prepared(result: Mapping[str, Any]) -> dict[str, Json]:
    """Property -> what the surrogate found for it, from the result of a ``generate`` task."""
    if "modes" in result:
        return {MOLECULE: result["modes"]}
    return dict(result.get("prepared", {}))


def _crystal(result: Mapping[str, Any]) -> Comparison:
    eos = result.get("eos") or {}
    found = {}
    for source in ("dft", "potential"):
        fit = dict((eos.get("fits") or {}).get(source) or {})
        failure = fit.pop("failure", None)
        fit.pop("lattice_constant_a", None)
        found[source] = Found(
            {
                key: (result.get(key) or {}).get(source)
                for key in ("lattice_constant_a", "bulk_modulus_gpa")
            },
            {
                "volumes_a3_per_atom": eos.get("volumes_a3_per_atom") or [],
                "energies_ev_per_atom": eos.get(f"{source}_ev_per_atom") or [],
                "fit": fit or None,
            },
            failure,
        )
    return Comparison(found["dft"], found["potential"])


def _molecule(result: Mapping[str, Any]) -> Comparison:
    details = dict(result["molecule"])
    failure = details.pop("failure", None)
    frequencies = details.pop("frequencies_per_cm", None) or {}
    dft = {
        "frequencies_per_cm": frequencies.get("dft") or [],
        "surrogate_frequencies_per_cm": frequencies.get("surrogate") or [],
        "force_at_rest_ev_per_a": details.pop("dft_force_at_rest_ev_per_a", None),
        "last_step_a": details.pop("last_dft_step_a", None),
    }
    values = {key: result.get(key) for key in ("geometry_rmsd_a", "frequency_rmse_per_cm")}
    ours = {"frequencies_per_cm": frequencies.get("potential") or [], **details}
    return Comparison(Found(details=dft), Found(values, ours, failure))


def molecule_of_summary(result: Mapping[str, Any] | None) -> Json | None:
    """What ``summary.json`` holds of a molecule, in the form that its readers know."""
    found = ({} if result is None else comparisons(result)).get(MOLECULE, Comparison())
    if found.dft is None or found.potential is None:
        return None
    dft, ours = dict(found.dft.details), dict(found.potential.details)
    frequencies = {
        "dft": dft.get("frequencies_per_cm"),
        "potential": ours.pop("frequencies_per_cm", None),
        "surrogate": dft.get("surrogate_frequencies_per_cm"),
    }
    return {
        **found.potential.values,
        "failure": found.potential.failure,
        "frequencies_per_cm": frequencies if frequencies["dft"] else {},
        **ours,
        "dft_force_at_rest_ev_per_a": dft.get("force_at_rest_ev_per_a"),
        "last_dft_step_a": dft.get("last_step_a"),
    }
