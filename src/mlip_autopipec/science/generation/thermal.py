"""Crystal at the temperatures that are asked for, by surrogate MD: the correlated motions that a rattle lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlip_autopipec.science.generation.context import Context, deformed, random_strain, supercell
from mlip_autopipec.science.generation.dynamics import Run
from mlip_autopipec.types import Candidate, Provenance

__all__ = ["generate"]

FRAMES_PER_GROUP = 4


def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 16,
    every_steps: int = 20,
    equilibration_steps: int = 60,
    volume_spread: float = 0.02,
    forced: int = 0,
    **_: object,
) -> list[Candidate]:
    """One run of the lowest start for each temperature of the context, ``every_steps`` between frames.

    FRAMES_PER_GROUP frames in a row are a group: a few vibrations, after which frames resemble each other no more than
    those of two runs. ``forced``: so many of them are kept whatever their fingerprint, all from every second group, the
    hottest first; the other groups are left for the random share, which alone may be held out.
    Raises ValueError without a calculator.
    """
    if context.calculator is None:
        raise ValueError("strategy 'thermal' needs a surrogate that knows every element")
    temperatures = sorted(set(context.temperatures_k))
    if not context.starts or not temperatures:
        return []
    start = context.starts[0]
    cell = supercell(start.atoms, min(max_atoms, context.max_atoms))
    shares = [count // len(temperatures) + (index < count % len(temperatures)) for index in range(len(temperatures))]
    total = sum(equilibration_steps + share * every_steps for share in shares if share)
    done = 0

    def told(steps: int) -> None:
        nonlocal done
        done += steps
        context.progress(done / total)

    made: list[Candidate] = []
    to_force: list[tuple[int, float, int, int]] = []
    for index, (temperature, share) in enumerate(zip(temperatures, shares, strict=True)):
        if share == 0:
            continue
        strained = deformed(cell, random_strain(rng, (-volume_spread, volume_spread), 0.005))
        run = Run(strained, context.calculator, temperature, rng)
        run.steps(equilibration_steps, temperature)
        told(equilibration_steps)
        parameters = {"temperature_k": temperature, "atoms": len(cell)}
        for number, frame in enumerate(run.frames(share, every_steps, temperature, told)):
            block, place = divmod(number, FRAMES_PER_GROUP)
            group = f"thermal:{context.seed}:{index}:{block}"
            if block % 2 == 0 and place in (0, FRAMES_PER_GROUP - 1):
                to_force.append((place, -temperature, block, len(made)))
            made.append(
                Candidate(frame, Provenance("thermal", group, parameters, start.provenance.group, context.seed))
            )
    for *_order, position in sorted(to_force)[:forced]:
        made[position] = replace(made[position], forced=True)
    return made
