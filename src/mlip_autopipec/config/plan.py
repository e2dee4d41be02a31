"""The plan: every number of a campaign, derived once, written to ``plan.yaml`` and executed as it
stands.

The models are closed (unknown keys are refused) and frozen. Defaults here are only those that no
material changes; everything else is derived in :mod:`mlip_autopipec.config.derive`, which also
gives the reason for each number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.section import Count, Positive, Section, complaint
from mlip_autopipec.base.values import content_hash
from mlip_autopipec.config.dft_plan import DftPlan
from mlip_autopipec.config.engine_settings import settings_of_engine
from mlip_autopipec.config.executors import ExecutorPlan
from mlip_autopipec.config.upgrade import in_first_form
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.ports import TrainerSettings
from mlip_autopipec.science.contacts import SCREEN_LIMIT
from mlip_autopipec.science.cutout_rules import MIN_CUTOUT_ATOMS
from mlip_autopipec.science.judgement import GAMMA_SELECT
from mlip_autopipec.science.properties import property_class
from mlip_autopipec.science.properties.port import Property
from mlip_autopipec.science.properties.stored import NAMELESS, nameless
from mlip_autopipec.science.stopping import Limits

__all__ = [
    "Budget",
    "Condition",
    "DftPlan",
    "Embedding",
    "ExecutorPlan",
    "Exploration",
    "Generation",
    "Material",
    "Plan",
    "Rules",
    "Selection",
    "StrategyPlan",
    "SurrogatePlan",
    "Training",
    "Validation",
]


class Material(Section):
    """What is simulated. ``fractions`` sum to 1; ``structure_file`` (absolute path) replaces the
    start prototypes; ``molecule``: the name or SMILES that the user gave, for that kind.
    """

    formula: str
    fractions: dict[str, float]
    structure_file: str | None = None
    kind: Literal["crystal", "solid_solution", "molecule"] = "crystal"
    molecule: str | None = None

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols, sorted."""
        return tuple(sorted(self.fractions))

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """``molecule`` is left out where it says nothing."""
        data: dict[str, Any] = handler(self)
        return {key: value for key, value in data.items() if key != "molecule" or value is not None}


class StrategyPlan(Section):
    """One generation strategy and how many candidates it proposes."""

    name: str
    count: Count
    options: dict[str, float | int | str | bool] = Field(default_factory=dict)


class Generation(Section):
    """Batches of strategies; each batch is one task, so that batches run side by side."""

    batches: list[list[StrategyPlan]]


class SurrogatePlan(Section):
    """The pretrained potential and the limits of the screen.

    ``model``: which of the engine's weights, a name or a path, for one that has several.
    ``high_energy_structures``: how many it labels itself, for fits to lean on.
    """

    engine: str
    model: str | None = None
    high_energy_structures: Annotated[int, Field(ge=0)] = 0
    max_force_ev_per_a: Positive = 25.0
    max_energy_above_lowest_ev_per_atom: Positive = 2.0
    min_distance_factor: Positive = SCREEN_LIMIT

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What says nothing is left out: plans from before it was there keep their hash."""
        data: dict[str, Any] = handler(self)
        return {key: value for key, value in data.items() if value not in (None, 0)}


SelectionMethod = Literal["fps", "clusters", "d_optimal", "random"]


class Selection(Section):
    """How candidates are thinned: ``method`` picks the first set (``initial_count``),
    ``later_method`` later batches.

    ``random_fraction``: of either, what is left to chance after the forced candidates.
    """

    method: SelectionMethod = "fps"
    later_method: SelectionMethod = "fps"
    initial_count: Count
    batch_count: Count
    random_fraction: Annotated[float, Field(ge=0, le=1)] = 0.33


class Training(Section):
    """``fast_trainer`` fits the first ``fast_rounds`` rounds, ``trainer`` the later ones and the
    released potential.

    ``settings`` and ``fast_settings`` belong to these two trainers, each of which has a schema of
    its own; where one trainer serves both, there are ``settings`` alone.
    """

    fast_trainer: str = registry.FAST_TRAINER
    trainer: str = registry.DEFAULT_TRAINER
    fast_rounds: Count = 1
    held_out_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    min_new_labels: Count = 6
    walltime_s: Positive = 3600.0
    cores: Count = 1
    settings: SerializeAsAny[TrainerSettings]
    fast_settings: SerializeAsAny[TrainerSettings] | None = Field(None, validate_default=True)

    @field_validator("settings", "fast_settings", mode="before")
    @classmethod
    def _of_the_trainer(cls, value: Any, info: ValidationInfo) -> Any:
        """The settings as the trainer's own model."""
        fast = info.field_name == "fast_settings"
        name = info.data.get("fast_trainer" if fast else "trainer")
        if not isinstance(name, str):
            return value  # the name itself is wrong, and told first
        if fast and name == info.data.get("trainer"):
            if value is not None:
                raise complaint("the same trainer has two sections", "leave this one out")
            return None
        if fast and value is None:
            raise complaint("is missing", f"the settings of the trainer {name}")
        return settings_of_engine(registry.trainer(name).schema, value)

    def settings_of(self, trainer: str) -> TrainerSettings:
        """The settings of one of the two trainers."""
        fast = trainer == self.fast_trainer and self.fast_settings is not None
        return self.fast_settings if fast and self.fast_settings else self.settings

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """``fast_settings`` are left out where one trainer serves both."""
        data: dict[str, Any] = handler(self)
        if self.fast_settings is None:
            data.pop("fast_settings", None)
        return data


class Condition(Section):
    """One thermodynamic condition that MD has to visit. ``ensemble`` npt needs ``pressure_gpa``.

    ``role``: ``asked`` by the user, a ``margin`` around that, or the ``check`` of it all in a large
    cell. ``start``: what the cell holds at first; ``phase``: another low crystal or decoration than
    the first. ``strain``: relative change of its volume. ``atoms``: of the MD cell, where they are
    not those of the exploration. Fields that say nothing are left out of what is stored.
    """

    name: str
    ensemble: Literal["nvt", "npt"]
    temperature_k: Positive
    pressure_gpa: float = 0.0
    role: Literal["asked", "margin", "check"] = "asked"
    start: Literal["crystal", "phase", "vacancy", "melt", "slab", "molecule"] = "crystal"
    strain: Annotated[float, Field(gt=-1)] = 0.0
    atoms: Count | None = None

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is as in plans from before there were roles is left out, so that it reads alike."""
        data: dict[str, Any] = handler(self)
        usual = {"role": "asked", "start": "crystal", "strain": 0.0, "atoms": None}
        return {key: value for key, value in data.items() if usual.get(key, ...) != value}


class Exploration(Section):
    """MD with the potential: at each condition ``equilibration_ps``, then ``run_ps`` under one
    potential, of which a frame is kept every ``sample_every_ps``.

    ``md_atoms``: of the cell, at most, where a condition gives no number. ``gamma_select``: an atom
    is unknown above it, where the trainer predicts no errors. The last three fields are those of
    plans from before MD ran for a fixed time (version 3).
    """

    engine: str = registry.DEFAULT_MD
    conditions: list[Condition]
    md_atoms: Count
    timestep_fs: Positive
    run_ps: Positive = 10.0
    equilibration_ps: Annotated[float, Field(ge=0)] = 1.0
    sample_every_ps: Positive = 0.25
    gamma_select: Positive = GAMMA_SELECT
    gamma_break: Positive
    gamma_every: Count = 10
    wait_s: Positive = 3600.0
    clean_ps: Positive | None = None
    max_ps: Positive | None = None
    max_candidates_per_potential: Count | None = None

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What earlier plans alone have is left out of others."""
        data: dict[str, Any] = handler(self)
        return {key: data[key] for key in data if key not in _OF_VERSION_3 or data[key] is not None}


_OF_VERSION_3 = frozenset({"clean_ps", "max_ps", "max_candidates_per_potential"})


class Embedding(Section):
    """Periodic cutouts (SCIENCE: periodic embedding with force masking).

    ``max_dft_atoms``: the largest cell that is labelled as it stands; ``cutout_atoms``: the largest
    cutout of a larger one, None where none are made; ``min_cutout_atoms``: the smallest.
    """

    max_dft_atoms: Count
    cutout_atoms: Count | None = None
    min_cutout_atoms: Count = MIN_CUTOUT_ATOMS
    core_radius_a: Positive
    buffer_a: Positive
    environment_a: Positive
    seam_force_ev_per_a: Positive = 2.0
    energy_weight: Annotated[float, Field(ge=0)] = 0.0

    @property
    def largest_atoms(self) -> int:
        """Atoms of the largest cell that DFT is asked for."""
        return max(self.max_dft_atoms, self.cutout_atoms or 0)

    @model_serializer(mode="wrap")
    def _only_what_counts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What earlier plans did not know is left out where it says nothing."""
        data: dict[str, Any] = handler(self)
        if self.cutout_atoms is None:
            data.pop("cutout_atoms", None)
        if self.min_cutout_atoms == MIN_CUTOUT_ATOMS:
            data.pop("min_cutout_atoms", None)
        return data


class Validation(Section):
    """What the potential is compared with our own DFT by: property -> the property, whose fields
    are its settings.

    A plan with the one property that its material usually has holds that one's settings alone, as
    plans did before properties had names.
    """

    properties: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _with_names(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "properties" in data:
            return data
        return {"properties": {nameless(data): data}}

    @field_validator("properties", mode="before")
    @classmethod
    def _as_properties(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or not value:
            raise complaint("no property is named", "write name: {settings}", value)
        return {name: _property(name, settings) for name, settings in value.items()}

    @property
    def calls(self) -> int:
        """DFT calculations that the comparison needs, at most."""
        return sum(item.calls for item in self.each.values())

    @property
    def each(self) -> dict[str, Property]:
        """The properties by name, in the order in which they were asked for."""
        return self.properties

    def key_of(self, name: str) -> str:
        """The dotted key of the plan under which the settings of a property stand."""
        return "validation" if self._nameless() else f"validation.properties.{name}"

    def _nameless(self) -> bool:
        return len(self.properties) == 1 and next(iter(self.properties)) in NAMELESS

    @model_serializer(mode="wrap")
    def _without_names(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        return next(iter(data["properties"].values())) if self._nameless() else data


def _property(name: str, settings: Any) -> Property:
    """The property called ``name`` with these settings (or as it is)."""
    try:
        found = property_class(name)
        return settings if isinstance(settings, found) else found.model_validate(settings)
    except InputError as error:
        raise complaint(error.message, error.hint or "", error.value) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in (name, *first["loc"]))
        raise complaint(
            f"{key}: {first['msg']}", "see the property's settings", first["input"]
        ) from None


class Rules(Section):
    """Numbers by which the loop decides what comes next, whatever the material is.

    ``exploration_share`` of the wall budget is for labels and MD; what is left is for the last fit,
    its validation and the report. ``quarantined_share``: with more of the labels given up than
    this, once ``fewest_judged`` have ended, a person has to look. ``failed_fits`` in a row by one
    trainer and ``failed_visits`` of MD at one condition are the last. Every ``cold_every``-th fit
    of the released trainer starts from scratch; ``backlog_batches`` x ``min_new_labels`` new labels
    are fitted though others are on their way. ``audited_share`` of the first labels, at most
    ``most_audited``, are made of structures that the screen rejected. ``on_policy_per_visit``
    frames are drawn by chance at each asked condition whose errors are not yet small for sure.
    """

    exploration_share: Annotated[float, Field(gt=0, lt=1)] = 0.85
    quarantined_share: Annotated[float, Field(gt=0, le=1)] = 0.3
    fewest_judged: Count = 8
    failed_fits: Count = 2
    failed_visits: Count = 2
    cold_every: Count = 4
    backlog_batches: Positive = 2.0
    audited_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    most_audited: Annotated[int, Field(ge=0)] = 3
    on_policy_per_visit: Count = 3


class Budget(Section):
    """``dft_calls`` counts every started attempt, repairs and validation included."""

    dft_calls: Count
    wall_minutes: Positive


class Plan(Section):
    """A whole campaign."""

    version: Literal[4] = 4
    name: str
    goal: str
    seed: int
    material: Material
    dft: DftPlan
    generation: Generation
    surrogate: SurrogatePlan
    selection: Selection
    training: Training
    exploration: Exploration
    embedding: Embedding
    validation: Validation
    convergence: Limits
    rules: Rules = Rules()
    budget: Budget
    executor: ExecutorPlan

    @property
    def hash(self) -> str:
        """Identity of the plan, apart from the limits that a user may raise and go on.

        Plans from before there was a section ``rules`` went by its defaults, and keep their hash;
        so do those from before trainers had settings of their own.
        """
        usual = self.rules in (Rules(), Rules(exploration_share=0.75))  # the latter to version 3
        left_out = {"budget", "executor", *(("rules",) if usual else ())}
        return content_hash(in_first_form(self.model_dump(mode="json", exclude=left_out)))
