"""Crystal at the temperatures that are asked for, by surrogate MD: the correlated motions that a
rattle lacks.
"""

from __future__ import annotations

import numpy as np

from mlip_autopipec.base.structures import Candidate, Provenance
from mlip_autopipec.science.generation.context import (
    Context,
    deformed,
    needs_surrogate,
    random_strain,
    supercell,
)
from mlip_autopipec.science.generation.dynamics import Run

__all__ = ["generate"]

# Frames in a row that stay on one side of the split: a few vibrations.
FRAMES_PER_GROUP = 4


@needs_surrogate(evaluations=20, in_runs=True)
def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 16,
    every_steps: int = 20,
    equilibration_steps: int = 60,
    volume_spread: float = 0.02,
    **_: object,
) -> list[Candidate]:
    """One run of the lowest start for each temperature of the context, ``every_steps`` between
    frames.

    FRAMES_PER_GROUP frames in a row are a group: a few vibrations, after which frames resemble each
    other no more than those of two runs. Raises ValueError without a calculator.
    """
    if context.calculator is None:
        raise ValueError("strategy 'thermal' needs a surrogate that knows every element")
    temperatures = sorted(set(context.temperatures_k))
    if not context.starts or not temperatures:
        return []
    start = context.starts[0]
    cell = supercell(start.atoms, min(max_atoms, context.max_atoms))
    shares = [
        count // len(temperatures) + (index < count % len(temperatures))
        for index in range(len(temperatures))
    ]
    total = sum(equilibration_steps + share * every_steps for share in shares if share)
    done = 0

    def told(steps: int) -> None:
        nonlocal done
        done += steps
        context.progress(done / total)

    made: list[Candidate] = []
    for index, (temperature, share) in enumerate(zip(temperatures, shares, strict=True)):
        if share == 0:
            continue
        strained = deformed(cell, random_strain(rng, (-volume_spread, volume_spread), 0.005))
        run = Run(strained, context.calculator, temperature, rng)
        run.steps(equilibration_steps, temperature)
        told(equilibration_steps)
        parameters = {"temperature_k": temperature, "atoms": len(cell)}
        for number, frame in enumerate(run.frames(share, every_steps, temperature, told)):
            group = f"thermal:{context.seed}:{index}:{number // FRAMES_PER_GROUP}"
            made.append(
                Candidate(
                    frame,
                    Provenance("thermal", group, parameters, start.provenance.group, context.seed),
                )
            )
    return made
