"""From the few lines of ``input.yaml`` to a whole plan, with the reason for each derived number.

Every rule looks at the material, the goal and the seed alone: neither the machine's cores nor a
budget that pays for the first labels change what is calculated, so both may be raised later and the
campaign goes on.
"""

from __future__ import annotations

from mlip_autopipec.config.derive.dft import derive_dft, with_walltime
from mlip_autopipec.config.derive.embedding import derive_embedding
from mlip_autopipec.config.derive.executor import derive_executor
from mlip_autopipec.config.derive.exploration import derive_exploration
from mlip_autopipec.config.derive.generation import derive_generation
from mlip_autopipec.config.derive.reasons import Reasons, given
from mlip_autopipec.config.derive.selection import derive_selection
from mlip_autopipec.config.derive.stop import UNLIMITED, derive_budget, derive_limits
from mlip_autopipec.config.derive.surrogate import derive_surrogate
from mlip_autopipec.config.derive.training import derive_training
from mlip_autopipec.config.derive.validation import derive_validation
from mlip_autopipec.config.input import UserInput, material_of
from mlip_autopipec.config.plan import Plan

__all__ = ["derive"]


def derive(user: UserInput, *, cores: int) -> tuple[Plan, dict[str, str]]:
    """The plan of a campaign and dotted key -> reason for every derived number.

    ``cores``: cores of this machine that may work at once (recorded under ``executor``, changes
    nothing else). Raises InputError for a material that the DFT code or the surrogate
    does not know.
    """
    why = Reasons()
    material = material_of(user)
    dft = derive_dft(user, material, why)
    embedding = derive_embedding(material, dft, user.dft.max_atoms, why)
    validation = derive_validation(user, material, why)
    selection = derive_selection(user, material, validation.calls, why)
    training = derive_training(user, material, why)
    plan = Plan(
        name=why.because(
            "name", user.name or material.formula, "given" if user.name else "the formula"
        ),
        goal=why.because("goal", user.goal, given(user, "goal")),
        seed=why.because(
            "seed", user.seed, f"{given(user, 'seed')}; every random choice follows from it"
        ),
        material=why.because("material", material, "atomic fractions of what was given"),
        dft=with_walltime(material, dft, embedding.largest_atoms, why),
        generation=derive_generation(user, material, embedding, selection.initial_count, why),
        surrogate=derive_surrogate(user, material, why),
        selection=selection,
        training=training,
        exploration=derive_exploration(user, material, dft, embedding, training, why),
        embedding=embedding,
        validation=validation,
        convergence=derive_limits(why),
        budget=UNLIMITED,
        executor=derive_executor(user, cores, why),
    )
    return plan.model_copy(update={"budget": derive_budget(user, plan, why)}), why.found
