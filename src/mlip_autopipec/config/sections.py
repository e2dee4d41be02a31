"""Sections of ``input.yaml``: limits, DFT settings, the surrogate. Closed; an error names what
would be right.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

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
    """Limits that end a campaign, whatever it has reached by then."""

    dft_calls: int = Field(
        80, description="Largest number of DFT calculations, repairs and validation included."
    )
    wall_minutes: float = Field(60.0, description="Longest duration in minutes of wall-clock time.")

    @field_validator("dft_calls")
    @classmethod
    def _enough_calls(cls, value: int) -> int:
        if not 20 <= value <= 1_000_000:
            raise bad(
                "impossible budget",
                "20 to 1000000 calls (7 are the equation of state, 13 a first fit)",
            )
        return value

    @field_validator("wall_minutes")
    @classmethod
    def _enough_time(cls, value: float) -> float:
        if not 1.0 <= value <= 1e6:
            raise bad("impossible budget", "1 to 1e6 minutes")
        return value


class DftInput(Closed):
    """What a user may ask of the labelling method."""

    convergence: Literal["derived", "check"] = Field(
        "derived",
        description=(
            "check: choose cutoff and k-points by a series of calculations; derived: from rules"
            " alone."
        ),
    )
    cutoff_ry: float | None = Field(
        None, description="Plane-wave cutoff in Ry instead of the derived one."
    )
    kspacing_per_a: float | None = Field(
        None, description="k-point spacing in 1/Å, 2π included, instead of the derived one."
    )
    max_atoms: int | None = Field(
        None, ge=4, le=512, description="Atoms of the largest cell that DFT is asked for."
    )

    @field_validator("cutoff_ry")
    @classmethod
    def _usual_cutoff(cls, value: float | None) -> float | None:
        if value is not None and not 10.0 <= value <= 400.0:
            raise bad("impossible cutoff", "10 to 400 Ry; leave it out to have it derived")
        return value

    @field_validator("kspacing_per_a")
    @classmethod
    def _usual_spacing(cls, value: float | None) -> float | None:
        if value is not None and not 0.05 <= value <= 2.0:
            raise bad(
                "impossible k-point spacing", "0.05 to 2 1/Å; leave it out to have it derived"
            )
        return value

    @model_validator(mode="after")
    def _given_or_checked(self) -> DftInput:
        if self.convergence == "check" and (
            self.cutoff_ry is not None or self.kspacing_per_a is not None
        ):
            raise bad(
                "cutoff and k-points are given and are to be chosen by a check",
                "leave out 'convergence: check', or cutoff_ry and kspacing_per_a",
            )
        return self


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
            "Who makes the released potential: a name (pacemaker, linear), or module:Class; by"
            " default chosen for the material."
        ),
    )


class ExplorationInput(Closed):
    """What runs the molecular dynamics."""

    engine: str = Field("lammps", description="The MD program: a name, or module:Class.")
