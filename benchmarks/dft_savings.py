"""How many DFT calls a potential of given error costs, by where its labels come from.

``python benchmarks/dft_savings.py [Si|Al|NaCl] --out DIR [--run FOLDER [--relabel] | --campaign]
[--seeds 2] [--teacher chgnet] [--temperature-k 900] [--first 8] [--most 512] [--arms NAME...]``.
A pretrained potential stands for DFT.
Arms, all fitted by the product's linear trainer with nothing withheld:

- ``consecutive``: every step of MD by the teacher in the judged cell at the judged temperature;
- ``every 10th``: one step of ten of the same MD, each step of which is a call;
- ``random pool``: picks by chance among the candidates that the product generates;
- ``assyst``: random symmetric crystals of PyPI's ``assyst`` (left out, by name, without it), its
  relaxations not counted;
- ``this product``: the labels of a finished campaign in the order in which they came, with every
  attempt, validation, audit and convergence check of the whole run counted. ``--campaign`` runs
  one for each seed with the teacher as its DFT; ``--run`` reads one. Of a run by another DFT code,
  ``--relabel`` lets the teacher label its structures; they were chosen for another truth then,
  which is no help to them.

Each arm is fitted to 8, 16, 32 ... labels until both targets are reached (default 5 meV/atom and
90 meV/Å), and once in between. Judge: the fit runs MD of its own (16 atoms, 1 ps and then 10 frames
0.5 ps apart), and the teacher labels the frames; MD that explodes is not there yet.
Frames of AIMD are of the judged condition alone, which is to their advantage here: pool and product
also cover strain, defects, melts and the margin. The generator relaxes and screens by CHGNet, which
is to the advantage of pool and product where the teacher is CHGNet as well.

``--run`` of a campaign with real DFT, without ``--relabel``: no teacher can label new frames, so
the run's own on-policy labels judge, held out by group in turn (a fit to the first n labels without
the group). No other arm is there to compare with then.

Prints a table; ``savings-<material>.json`` in DIR has every point.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from savings_arms import (
    CRYSTALS,
    AimdArm,
    Arm,
    Dynamics,
    ListArm,
    Run,
    RunArm,
    Teacher,
    assyst_set,
    pool,
    read_run,
)
from savings_judge import Judge, Point, Targets, curve, first_to_reach, judged_by_itself

from mlip_autopipec.api import make_plan
from mlip_autopipec.config.plan import Plan

ARMS = ("consecutive", "every 10th", "random pool", "assyst", "this product")
MOST = 512
Row = dict[str, Any]


# ----- the arms


def campaign(plan: Plan, asked: argparse.Namespace, seed: int) -> Path:
    """A campaign of the product with the teacher as its DFT, in a folder of its own; one that has
    ended is only read.
    """
    folder = asked.out / f"campaign-{asked.material}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    question = {
        "material": asked.material,
        "temperatures_k": [300, asked.temperature_k],
        "name": asked.material,
        "seed": seed,
        "dft": {
            "engine": "ase_calculator",
            "calculator": "savings_arms:calculator",
            "arguments": {"teacher": asked.teacher},
        },
    }
    (folder / "input.yaml").write_text(yaml.safe_dump(question))
    here = os.pathsep.join([str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")])
    with (folder / "log.txt").open("a") as log:
        command = [sys.executable, "-m", "mlip_autopipec.cli", "run", "input.yaml", "--cores", "1"]
        subprocess.run(
            command, cwd=folder, stdout=log, stderr=log, check=False,
            env={**os.environ, "PYTHONPATH": here},
        )  # fmt: skip
    return Path(folder, "runs", asked.material)


def arms(
    plan: Plan,
    asked: argparse.Namespace,
    teacher: Teacher,
    start: Atoms,
    run: Run | None,
    seed: int,
) -> Iterator[Arm]:
    """Those that were asked for, one after the other."""
    dynamics = Dynamics(start, teacher.calculator, asked.temperature_k, seed)
    trajectory: list[Atoms] = []
    elements, others = plan.material.elements, asked.most // 2
    for name in asked.arms:
        if name == "consecutive":
            yield AimdArm(name, teacher, dynamics, trajectory, 1, asked.most)
        elif name == "every 10th":
            yield AimdArm(name, teacher, dynamics, trajectory, 10, asked.most // 4)
        elif name == "random pool":
            found = pool(plan, others, asked.out / f"pool-{asked.material}")
            yield _shuffled(name, teacher, found, seed)
        elif name == "assyst":
            try:
                yield _shuffled(name, teacher, assyst_set(elements, others, teacher, seed), seed)
            except ImportError as error:
                print(f"  assyst: left out ({error}); pip install assyst==1.0.0", flush=True)
        elif asked.campaign:
            yield RunArm(read_run(campaign(plan, asked, seed)).labels)
        elif run is not None:
            yield RunArm(run.labels, teacher if asked.relabel else None)


def _shuffled(name: str, teacher: Teacher, found: Sequence[Atoms], seed: int) -> ListArm:
    order = np.random.default_rng(seed).permutation(len(found))
    structures = [found[i] for i in order]
    return ListArm(name, teacher, structures, [str(atoms.info["name"]) for atoms in structures])


# ----- what is said of them


def summary(curves: dict[str, list[list[Point]]], targets: Targets) -> list[Row]:
    """A row for each arm: geometric means over the seeds that reached the targets; the ratio to
    consecutive frames, where those did not reach them at least as much as they were given.
    """

    def calls_of(points: Sequence[Point], goal: Targets) -> int | None:
        found = first_to_reach(points, goal)
        return None if found is None else found.calls

    goals = {
        "calls": targets,
        "calls_energy": Targets(targets.energy_mev_per_atom, np.inf),
        "calls_force": Targets(np.inf, targets.force_mev_per_a),
    }
    rows: list[Row] = []
    for name, found in curves.items():
        row: Row = {"arm": name, "seeds": len(found)}
        for key, goal in goals.items():
            row[key] = [calls_of(points, goal) for points in found]
        row["given"] = [points[-1].calls for points in found]
        rows.append(row)
    base = next((row for row in rows if row["arm"] == "consecutive"), None)
    for row in rows:
        row["ratio"], row["ratio_is_at_least"] = _ratio(base, row)
    return rows


def _ratio(base: Row | None, row: Row) -> tuple[float | None, bool]:
    """Geometric mean, and whether consecutive frames reached the targets too seldom to know."""
    if base is None or None in row["calls"]:
        return None, False
    pairs = zip(base["calls"], base["given"], strict=True)
    spent = [given if calls is None else calls for calls, given in pairs]
    logs = np.mean(np.log(spent)) - np.mean(np.log(row["calls"]))
    return float(np.exp(logs)), None in base["calls"]


def table(rows: Sequence[Row], targets: Targets) -> str:
    """Calls of each seed; ``>n``: not reached with n calls."""

    def cell(row: Row, key: str) -> str:
        values = zip(row[key], row["given"], strict=True)
        return ", ".join(f">{given}" if calls is None else str(calls) for calls, given in values)

    head = (
        f"| arm | calls to {targets.energy_mev_per_atom:g} meV/atom |"
        f" to {targets.force_mev_per_a:g} meV/Å | to both | fewer than consecutive AIMD |"
    )
    lines = [head, "|---|---|---|---|---|"]
    for row in rows:
        ratio = row["ratio"]
        sign = "> " if row["ratio_is_at_least"] else ""
        said = "" if ratio is None else f"{sign}{ratio:.1f} times"
        cells = (cell(row, key) for key in ("calls_energy", "calls_force", "calls"))
        lines.append(f"| {row['arm']} | {' | '.join(cells)} | {said} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("material", nargs="?", default="Si", choices=CRYSTALS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", default="chgnet")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--temperature-k", type=float, default=900.0)
    parser.add_argument("--frames", type=int, default=10, help="of the judge")
    parser.add_argument("--first", type=int, default=8, help="labels of the first fit")
    parser.add_argument("--most", type=int, default=MOST, help="consecutive frames, at most")
    parser.add_argument("--energy", type=float, default=5.0, help="target, meV/atom")
    parser.add_argument("--force", type=float, default=90.0, help="target, meV/Å")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    product = parser.add_mutually_exclusive_group()
    product.add_argument("--run", type=Path, help="folder of a finished campaign")
    product.add_argument("--campaign", action="store_true", help="run one for each seed")
    parser.add_argument("--relabel", action="store_true", help="its structures, by the teacher")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    targets = Targets(asked.energy, asked.force)
    run = None if asked.run is None else read_run(asked.run)
    if run is not None:
        print(f"{len(run.labels)} labels learned, {run.calls} DFT calls, {run.end_state}")
    file = asked.out / f"savings-{asked.material}.json"
    if run is not None and run.plan.dft.engine != "ase_calculator" and not asked.relabel:
        points = judged_by_itself(run, targets)
        file.write_text(json.dumps({"by_itself": [asdict(p) for p in points]}, indent=1))
        return
    plan = make_plan(material=asked.material, temperatures_k=[300, asked.temperature_k])
    teacher = Teacher(asked.teacher)
    start = teacher.crystal(asked.material)
    judge = Judge(plan, teacher, start, asked.temperature_k, asked.frames)
    curves: dict[str, list[list[Point]]] = {}
    for seed in range(1, asked.seeds + 1):
        print(f"{asked.material}, seed {seed}", flush=True)
        for arm in arms(plan, asked, teacher, start, run, seed):
            curves.setdefault(arm.name, []).append(
                curve(judge, arm, targets, asked.first, asked.most)
            )
            rows = summary(curves, targets)
            content = {
                "material": asked.material,
                "temperature_k": asked.temperature_k,
                "teacher": asked.teacher,
                "rows": rows,
                "curves": {k: [[asdict(p) for p in c] for c in v] for k, v in curves.items()},
            }
            file.write_text(json.dumps(content, indent=1))
    print(table(rows, targets))


if __name__ == "__main__":
    main()
