"""Sections of ``input.yaml``: limits, DFT settings, the surrogate. Closed; an error names what
would be right.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mlip_autopipec.base.errors import InputError, nearest
from mlip_autopipec.base.problems import UNKNOWN_KEY, complaint_of
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.dft_plan import checked_wishes
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import Converges

__all__ = [
    "BudgetInput",
    "Closed",
    "DftInput",
    "ExplorationInput",
    "StrategyInput",
    "SurrogateInput",
    "TrainingInput",
    "bad",
]


def bad(what: str, hint: str, **context: Any) -> PydanticCustomError:
    """An error of one line: what is wrong, and what would be right."""
    return PydanticCustomError("mlip", "{what}", {"what": what, "hint": hint, **context})


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BudgetInput(Closed):
    """Limits that end a campaign, whatever it has reached by then; ``auto``: what the plan expects
    it to take, and half as much again (twice the time).
    """

    dft_calls: int | Literal["auto"] = Field(
        "auto",
        description="Largest number of DFT calculations, repairs and validation included; or auto.",
    )
    wall_minutes: float | Literal["auto"] = Field(
        "auto", description="Longest duration in minutes of wall-clock time; or auto."
    )

    @field_validator("dft_calls", "wall_minutes", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "auto":
            raise bad("neither a number nor 'auto'", "a number, or auto", value=value)
        return value

    @field_validator("dft_calls")
    @classmethod
    def _enough_calls(cls, value: int | Literal["auto"]) -> int | Literal["auto"]:
        if value != "auto" and not 20 <= value <= 1_000_000:
            raise bad(
                "impossible budget",
                "20 to 1000000 calls (7 are the equation of state, 13 a first fit)",
            )
        return value

    @field_validator("wall_minutes")
    @classmethod
    def _enough_time(cls, value: float | Literal["auto"]) -> float | Literal["auto"]:
        if value != "auto" and not 1.0 <= value <= 1e6:
            raise bad("impossible budget", "1 to 1e6 minutes")
        return value


class DftInput(Closed):
    """Which DFT code labels, and what is asked of its method.

    Further keys are those of the engine (its ``Wishes``: ``cutoff_ry``, say, for plane waves).
    """

    model_config = ConfigDict(extra="allow")

    engine: str = Field(
        registry.DEFAULT_DFT,
        description="The DFT code: a name, or module:Class.",
    )
    convergence: Literal["derived", "check"] = Field(
        "derived",
        description=(
            "check: choose cutoff and k-points by a series of calculations; derived: from rules"
            " alone."
        ),
    )
    max_atoms: int | None = Field(
        None, ge=4, le=512, description="Atoms of the largest cell that DFT is asked for."
    )

    @property
    def wishes(self) -> Json:
        """What is asked of the engine's method."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _wishes_of_the_engine(self) -> DftInput:
        try:
            checked_wishes(self.engine, self.wishes)
            engine = registry.dft_engine(self.engine)
        except InputError as error:
            raise complaint_of(self._told(error)) from None
        if self.convergence != "check":
            return self
        if not isinstance(engine, Converges):
            raise bad(f"{engine.title} has no settings to converge", "leave out 'convergence'")
        if given := [key for key in engine.chosen if self.wishes.get(key) is not None]:
            raise bad(
                f"{' and '.join(given)} is given and is to be chosen by a check",
                f"leave out 'convergence: check', or {' and '.join(given)}",
            )
        return self

    def _told(self, error: InputError) -> InputError:
        """An unknown key may be a misspelt one of ours; the engine's key needs no section."""
        key, hint = error.key or "", error.hint
        if error.message == UNKNOWN_KEY:
            hint = nearest(key, [*DftInput.model_fields, *self._keys_of_the_engine()])
        key = key.removeprefix("dft.")
        return InputError(error.message, key=key, value=error.value, hint=hint)

    def _keys_of_the_engine(self) -> list[str]:
        return list(registry.dft_engine(self.engine).Wishes.model_fields)


class SurrogateInput(Closed):
    """Which pretrained potential proposes and screens structures."""

    engine: str = Field(
        "auto",
        description=(
            "auto: MACE-MP where it is installed, else CHGNet; for molecules GFN2-xTB. Or the name"
            " of one, or module:Class."
        ),
    )
    model: str | None = Field(None, description="Which weights of that engine: a name or a file.")

    @model_validator(mode="after")
    def _model_of_an_engine(self) -> SurrogateInput:
        if self.engine == "auto" and self.model is not None:
            raise bad(
                "a model cannot be named with engine auto",
                "name the engine that it belongs to",
                value=self.model,
            )
        return self


class StrategyInput(Closed):
    """A generation strategy that is proposed besides the derived ones."""

    name: str = Field(description="A strategy of this package, of another one, or module:function.")
    count: int = Field(ge=1, le=100_000, description="How many candidates it proposes.")
    options: dict[str, float | int | str | bool] = Field(
        default_factory=dict, description="Options of the strategy."
    )


class TrainingInput(Closed):
    """What fits the potential."""

    trainer: str | None = Field(
        None,
        description=(
            "Who makes the released potential: auto (the default: linear), a name (linear,"
            " pacemaker, ace), or module:Class."
        ),
    )


class ExplorationInput(Closed):
    """What runs the molecular dynamics."""

    engine: str = Field(registry.DEFAULT_MD, description="The MD program: a name, or module:Class.")
