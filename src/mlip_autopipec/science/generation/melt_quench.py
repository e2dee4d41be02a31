"""Melt and quench by surrogate MD: liquid, undercooled and amorphous structures.

A crystal is heated in blocks until its atoms have left their sites, held as a liquid and quenched
in steps. The volume is drawn anew at each step, so that the potential sees the melt under pressure
and under tension.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science.generation.context import (
    Context,
    FloatArray,
    needs_surrogate,
    rattled,
    supercell,
)
from mlip_autopipec.science.generation.dynamics import Run, steps_in

__all__ = ["generate", "lindemann_ratio"]

# (stage, temperature as a fraction of the one that melted)
SEGMENTS = (
    ("liquid", 1.0),
    ("liquid", 0.75),
    ("undercooled", 0.5),
    ("undercooled", 0.35),
    ("amorphous", 0.2),
    ("amorphous", 0.08),
)
# A crystal melts near 0.1-0.15 of the neighbour distance; a small superheated cell vibrates up to
# 0.25.
LIQUID_RATIO = 0.4
# Steps between two looks at whether it has melted.
HEATING_BLOCK_STEPS = 50
# Then it is called unmelted, and its frames say so.
MAX_HEATING_BLOCKS = 10
# Above this a surrogate made for solids knows nothing.
MAX_TEMPERATURE_K = 8000.0
# After a change of temperature or volume, before frames are taken.
SETTLING_STEPS = 25
# Of one temperature and volume: more would resemble each other.
FRAMES_PER_SEGMENT = 2
# Between frames: at these temperatures an atom moves about half a bond.
APART_PS = 0.1


@needs_surrogate(evaluations=80, in_runs=True)
def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 16,
    every_steps: int = 0,
    melt_k: float = 0.0,
    volume_min: float = -0.12,
    volume_max: float = 0.08,
    **_: object,
) -> list[Candidate]:
    """Frames of runs of the lowest start, in cells of half of ``max_atoms`` and of all in turn.

    ``melt_k``: temperature of the first heating block; 0: three times the highest asked one, at
    least 2500 K. ``every_steps`` 0: 0.1 ps. Two frames at most come from a segment of one
    temperature and volume, which is a group; a run ends with its last frame, so that few frames
    are liquid ones, and more are of all stages. ``parameters`` hold stage,
    temperature, volume change and ``melted``, False where even the hottest block left the atoms on
    their sites (or the surrogate gave up). Raises ValueError without a calculator.
    """
    if context.calculator is None:
        raise ValueError("strategy 'melt_quench' needs a surrogate that knows every element")
    if not context.starts or not context.starts[0].atoms.pbc.all():
        return []  # a molecule in empty space does not melt
    hot = melt_k or max(3 * max(context.temperatures_k, default=0.0), 2500.0)
    largest = min(max_atoms, context.max_atoms)
    every_steps = every_steps or steps_in(context.starts[0].atoms, APART_PS)
    of_a_run = FRAMES_PER_SEGMENT * len(SEGMENTS)
    shares = [min(of_a_run, count - first) for first in range(0, count, of_a_run)]
    expected = len(shares) * 4 * HEATING_BLOCK_STEPS + count * (every_steps + SETTLING_STEPS)
    done = 0

    def told(steps: int) -> None:
        nonlocal done
        done += steps
        context.progress(min(done / expected, 1.0))

    made: list[Candidate] = []
    for index, share in enumerate(shares):
        made += _one_run(
            context,
            index=index,
            size=largest if index % 2 else max(2, largest // 2),
            count=share,
            hot_k=hot,
            every_steps=every_steps,
            volume_range=(volume_min, volume_max),
            rng=rng,
            told=told,
        )
    return made


def _one_run(
    context: Context,
    *,
    index: int,
    size: int,
    count: int,
    hot_k: float,
    every_steps: int,
    volume_range: tuple[float, float],
    rng: np.random.Generator,
    told: Callable[[int], None],
) -> list[Candidate]:
    start = context.starts[0]
    crystal = supercell(start.atoms, size)
    run = Run(rattled(crystal, 0.15, rng), context.calculator, hot_k, rng)
    hot_k, melted = _melt(
        run, crystal.positions, _neighbour_distance(crystal.get_volume(), len(crystal)), hot_k, told
    )
    made: list[Candidate] = []
    for number, (stage, fraction) in enumerate(SEGMENTS):
        share = -(-(count - len(made)) // (len(SEGMENTS) - number))
        if share <= 0:
            break
        change = float(rng.uniform(*volume_range))
        run.atoms.set_cell(crystal.cell.array * (1 + change) ** (1 / 3), scale_atoms=True)
        run.steps(SETTLING_STEPS, fraction * hot_k)
        told(SETTLING_STEPS)
        parameters = {
            "stage": stage,
            "melted": melted,
            "temperature_k": round(fraction * hot_k, 1),
            "volume_change": round(change, 6),
            "atoms": len(crystal),
        }
        group = f"melt_quench:{context.seed}:{index}:{number}"
        provenance = Provenance(
            "melt_quench", group, parameters, start.provenance.group, context.seed
        )
        made += [
            Candidate(frame, provenance)
            for frame in run.frames(share, every_steps, fraction * hot_k, told)
        ]
    return made


def _melt(
    run: Run, sites: FloatArray, neighbour_a: float, hot_k: float, told: Callable[[int], None]
) -> tuple[float, bool]:
    """Heat in blocks, each 15 % hotter, until atoms leave their sites: the last temperature, and
    whether they did.
    """
    for _ in range(MAX_HEATING_BLOCKS):
        if not run.steps(HEATING_BLOCK_STEPS, hot_k):
            break
        told(HEATING_BLOCK_STEPS)
        if lindemann_ratio(run.atoms.positions, sites, neighbour_a) > LIQUID_RATIO:
            return hot_k, True
        hot_k = min(1.15 * hot_k, MAX_TEMPERATURE_K)
    return hot_k, False


def lindemann_ratio(positions: FloatArray, sites: FloatArray, neighbour_a: float) -> float:
    """Root mean square displacement (drift taken out) from lattice sites over the neighbour
    distance.
    """
    step = positions - sites
    step = step - step.mean(axis=0)
    return float(np.sqrt((step**2).sum(axis=1).mean()) / neighbour_a)


def _neighbour_distance(volume_a3: float, atoms: int) -> float:
    """Mean distance (Å) per atom: the edge of the cube that holds one. Defined for any
    structure.
    """
    return float((volume_a3 / atoms) ** (1 / 3))
