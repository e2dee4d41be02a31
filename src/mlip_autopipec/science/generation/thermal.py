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
from mlip_autopipec.science.generation.dynamics import Run, steps_in

__all__ = ["generate"]

# Frames of one run: more of it would resemble each other.
FRAMES_PER_RUN = 2
# Between frames, and before the first: some vibrations of a crystal. The thermostat takes a
# molecule's memory sooner.
APART_PS, APART_IN_MOLECULES_PS = 0.5, 0.2


@needs_surrogate(evaluations=400, in_runs=True)
def generate(
    context: Context,
    count: int,
    rng: np.random.Generator,
    *,
    max_atoms: int = 16,
    hottest_k: float = 0.0,
    every_steps: int = 0,
    equilibration_steps: int = 0,
    volume_spread: float = 0.02,
    **_: object,
) -> list[Candidate]:
    """Runs of the lowest start, two frames of each, at the temperatures of the context in turn, the
    highest first.

    ``hottest_k``: one temperature more, where it is above them. Every run has a volume and
    velocities of its own, and is a group. Steps 0: 0.5 ps (0.2 ps in a molecule), so that frames
    are decorrelated. Raises ValueError without a calculator.
    """
    if context.calculator is None:
        raise ValueError("strategy 'thermal' needs a surrogate that knows every element")
    temperatures = sorted({*context.temperatures_k, *([hottest_k] if hottest_k else [])})[::-1]
    if not context.starts or not temperatures:
        return []
    start = context.starts[0]
    cell = supercell(start.atoms, min(max_atoms, context.max_atoms))
    apart_ps = APART_PS if cell.pbc.any() else APART_IN_MOLECULES_PS
    every = every_steps or steps_in(cell, apart_ps)
    before = equilibration_steps or steps_in(cell, apart_ps)
    runs = -(-count // FRAMES_PER_RUN)
    total = runs * before + count * every
    done = 0

    def told(steps: int) -> None:
        nonlocal done
        done += steps
        context.progress(done / total)

    made: list[Candidate] = []
    for index in range(runs):
        temperature = temperatures[index % len(temperatures)]
        share = min(FRAMES_PER_RUN, count - index * FRAMES_PER_RUN)
        strained = deformed(cell, random_strain(rng, (-volume_spread, volume_spread), 0.005))
        run = Run(strained, context.calculator, temperature, rng)
        run.steps(before, temperature)
        told(before)
        parameters = {"temperature_k": temperature, "atoms": len(cell)}
        provenance = Provenance(
            "thermal",
            f"thermal:{context.seed}:{index}",
            parameters,
            start.provenance.group,
            context.seed,
        )
        made += [
            Candidate(frame, provenance) for frame in run.frames(share, every, temperature, told)
        ]
    return made
