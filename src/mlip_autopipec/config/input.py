"""``input.yaml``: the few lines a user writes. Closed, checked before anything is done, errors of
one line.

The smallest valid file is ``material: Si``. Every key is described in ``docs/reference/input.md``.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from ase import Atoms
from ase.formula import Formula
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from mlip_autopipec.base.errors import InputError, nearest
from mlip_autopipec.base.problems import validate
from mlip_autopipec.base.values import Json
from mlip_autopipec.config.executors import ExecutorInput
from mlip_autopipec.config.formulas import check_symbol, fractions_of_formula
from mlip_autopipec.config.plan import Material
from mlip_autopipec.config.sections import (
    BudgetInput,
    Closed,
    DftInput,
    ExplorationInput,
    StrategyInput,
    SurrogateInput,
    TrainingInput,
    bad,
)
from mlip_autopipec.config.yaml import read_yaml_mapping
from mlip_autopipec.engines import registry
from mlip_autopipec.science.generation import molecule_names
from mlip_autopipec.science.properties import PROPERTIES
from mlip_autopipec.science.reading import read_start

__all__ = ["UserInput", "load_user_input", "material_of", "schema"]

Goal = Literal["general", "crystal", "liquid"]
SYSTEMS = ("material", "composition", "molecule", "structure")

_MAX_TEMPERATURE_K = 20_000.0
_MAX_PRESSURE_GPA = 500.0
_SUM_TOLERANCE = 2e-3  # thirds written with three digits are accepted, then normalised


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


def _alone_as_it_is(value: list[float]) -> float | list[float]:
    """One number is written without a list, as it was before lists were allowed."""
    return value[0] if len(value) == 1 else value


def _as_engine(value: Any) -> Any:
    return {"engine": value} if isinstance(value, str) else value


def _as_executor(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _as_trainer(value: Any) -> Any:
    return {"trainer": value} if isinstance(value, str) else value


class UserInput(Closed):
    """Everything a user may say; exactly one of the four of SYSTEMS is needed."""

    model_config = ConfigDict(
        title="mlip-auto input.yaml",
        json_schema_extra={"oneOf": [{"required": [key]} for key in SYSTEMS]},
    )

    material: str | None = Field(None, description="An element or a formula: Si, NaCl, Al2O3.")
    composition: dict[str, float] | None = Field(
        None, description="A solid solution: atomic fractions that sum to 1."
    )
    molecule: str | None = Field(
        None,
        description=(
            "A molecule: its name (ethanol), formula (H2O), SMILES (CCO), or a file of its"
            " geometry."
        ),
    )
    structure: str | None = Field(
        None, description="A structure file (CIF, POSCAR, extended XYZ ...) to start from."
    )
    goal: Goal = Field(
        "general",
        description=(
            "general: crystal, defects, strain and melt; crystal: the solid alone; liquid: the melt"
            " first."
        ),
    )
    name: str | None = Field(None, description="Name of the run folder; by default the formula.")
    temperatures_k: Annotated[
        list[float] | None,
        BeforeValidator(_as_list),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "number"},
                    {"type": "array", "items": {"type": "number"}, "minItems": 1},
                ]
            },
        ),
    ] = Field(
        None,
        description="Temperatures in K that molecular dynamics has to visit: a number or a list.",
    )
    pressure_gpa: Annotated[
        list[float],
        BeforeValidator(_as_list),
        PlainSerializer(_alone_as_it_is),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "number"},
                    {"type": "array", "items": {"type": "number"}, "minItems": 1},
                ]
            },
        ),
    ] = Field([0.0], description="Pressure in GPa at every temperature: a number or a list.")
    properties: list[str] | None = Field(
        None,
        description=(
            "What the potential is held against our own DFT by; by default equation_of_state, for a"
            " molecule molecule."
        ),
    )
    budget: BudgetInput = Field(default_factory=lambda: BudgetInput.model_validate({}))
    dft: DftInput = Field(default_factory=lambda: DftInput.model_validate({}))
    surrogate: Annotated[SurrogateInput, BeforeValidator(_as_engine)] = Field(
        default_factory=lambda: SurrogateInput.model_validate({}),
        description="The surrogate: a name, or engine and model.",
    )
    strategies: list[StrategyInput] = Field(
        default_factory=list,
        description="Generation strategies to be used besides the derived ones.",
    )
    training: Annotated[TrainingInput, BeforeValidator(_as_trainer)] = Field(
        default_factory=lambda: TrainingInput.model_validate({}),
        description="What fits the potential: a trainer.",
    )
    exploration: Annotated[ExplorationInput, BeforeValidator(_as_engine)] = Field(
        default_factory=lambda: ExplorationInput.model_validate({}),
        description="What runs the molecular dynamics: an engine.",
    )
    executor: Annotated[ExecutorInput, BeforeValidator(_as_executor)] = Field(
        default_factory=lambda: ExecutorInput.model_validate({}),
        description="Where tasks run: local, slurm or pbs with their keys, or module:Class.",
    )
    seed: int = Field(1, ge=0, le=2**31 - 1, description="Seed of every random choice.")

    @model_validator(mode="before")
    @classmethod
    def _one_system(cls, data: Any) -> Any:
        given = [key for key in SYSTEMS if data.get(key) is not None]
        unknown = set(data) - set(cls.model_fields)
        if len(given) != 1 and not unknown:
            what = "more than one system is given" if given else "no system is given"
            hint = (
                "give exactly one of 'material: Si', 'composition: {Al: 0.75, Cu: 0.25}',"
                " 'molecule: ethanol' and 'structure: file'"
            )
            raise bad(what, hint, value=given or None)
        return data

    @field_validator("material")
    @classmethod
    def _material(cls, value: str | None) -> str | None:
        if value is not None:
            fractions_of_formula(value)
        return value

    @field_validator("composition")
    @classmethod
    def _composition(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is None:
            return None
        if not value:
            raise bad("is empty", "write fractions, for example {Al: 0.75, Cu: 0.25}")
        for symbol, fraction in value.items():
            check_symbol(symbol)
            if not fraction > 0:
                raise bad(
                    f"the fraction of {symbol} must be above 0",
                    "leave the element out",
                    value=fraction,
                )
        total = math.fsum(value.values())
        if abs(total - 1) > _SUM_TOLERANCE:
            right = ", ".join(
                f"{symbol}: {fraction / total:.6g}" for symbol, fraction in value.items()
            )
            raise bad(
                f"the fractions sum to {total:.6g}, not to 1",
                f"did you mean {{{right}}}?",
                value=value,
            )
        return {symbol: fraction / total for symbol, fraction in value.items()}

    @field_validator("name")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", value):
            raise bad(
                "not usable as a folder name", "letters, digits, '.', '_' and '-', at most 80"
            )
        return value

    @field_validator("temperatures_k")
    @classmethod
    def _temperatures(cls, value: list[float] | None) -> list[float] | None:
        if value is None:
            return None
        if not 1 <= len(value) <= 8:
            raise bad("wrong number of temperatures", "give one to eight, for example [300, 900]")
        for temperature in value:
            if not 0 < temperature <= _MAX_TEMPERATURE_K:
                raise bad(
                    "impossible temperature",
                    f"above 0 and up to {_MAX_TEMPERATURE_K:g} K",
                    value=temperature,
                )
        return sorted(set(value))

    @field_validator("properties")
    @classmethod
    def _properties(cls, value: list[str] | None) -> list[str] | None:
        if value is None:
            return None
        if not value or len(set(value)) < len(value):
            raise bad(
                "no property is named" if not value else "a property is named twice",
                "for example [equation_of_state, elastic], or leave it out",
                value=value,
            )
        for name in value:
            try:
                PROPERTIES.find(name)
            except InputError as error:
                raise bad(error.message, error.hint or "", value=name) from None
        return value

    @field_validator("pressure_gpa")
    @classmethod
    def _pressure(cls, value: list[float]) -> list[float]:
        if not 1 <= len(value) <= 8:
            raise bad("wrong number of pressures", "give one to eight, for example [0, 10]")
        for pressure in value:
            if not abs(pressure) <= _MAX_PRESSURE_GPA:
                right = f"-{_MAX_PRESSURE_GPA:g} to {_MAX_PRESSURE_GPA:g} GPa"
                raise bad("impossible pressure", right, value=pressure)
        return sorted(set(value))

    @model_validator(mode="after")
    def _liquid_needs_temperatures(self) -> UserInput:
        if self.goal == "liquid" and self.temperatures_k is None:
            raise bad(
                "goal 'liquid' needs temperatures_k",
                "give temperatures above the melting point, for example [1700, 2000] for Si",
                value=None,
            )
        return self


def load_user_input(path: Path) -> UserInput:
    """The checked content of an ``input.yaml``; ``structure`` is made absolute (relative to the
    file's folder).

    Raises InputError (one line: file, key, what, value, what would be right).
    """
    return parse_user_input(read_yaml_mapping(path), path)


def parse_user_input(data: Json, path: Path) -> UserInput:
    """As :func:`load_user_input`, for content that was read already."""
    user = validate(UserInput, data, path)
    if user.structure is not None:
        file = (path.parent / user.structure).expanduser().resolve()
        if not file.is_file():
            known = [
                entry.name for entry in path.parent.iterdir() if entry.is_file() and entry != path
            ]
            hint = (
                nearest(Path(user.structure).name, known)
                if len(known) in range(1, 30)
                else "check the path"
            )
            raise InputError(
                "no such file", file=path, key="structure", value=user.structure, hint=hint
            )
        user = user.model_copy(update={"structure": str(file)})
        material_of(user, file=path)
    if user.molecule is not None:
        file = (path.parent / user.molecule).expanduser().resolve()
        user = user.model_copy(update={"molecule": str(file)}) if file.is_file() else user
        material_of(user, file=path)
    return user


def material_of(user: UserInput, *, file: str | Path | None = None) -> Material:
    """Formula and atomic fractions; for a structure file those of its first structure.

    Raises InputError when the structure file cannot be read as a structure.
    """
    if user.molecule is not None:
        return _molecule(user.molecule, file)
    if user.structure is not None:
        counts = Counter(str(symbol) for symbol in _read_one(Path(user.structure), file).symbols)
        return Material(**_composed(counts), structure_file=user.structure)
    if user.composition is not None:
        fractions = dict(sorted(user.composition.items()))
        formula = "".join(f"{symbol}{part:.4g}" for symbol, part in fractions.items())
        return Material(
            formula=formula,
            fractions=fractions,
            kind="solid_solution" if len(fractions) > 1 else "crystal",
        )
    assert user.material is not None  # the model guarantees one of the four
    if molecule_names.is_molecular(user.material):
        return _molecule(user.material, file)
    return Material(
        formula=user.material, fractions=dict(sorted(fractions_of_formula(user.material).items()))
    )


def _molecule(text: str, file: str | Path | None) -> Material:
    """A molecule given by name or SMILES, or by a file."""
    counts = molecule_names.formula_of(text, file=file)
    formula = Formula.from_dict(counts).format("hill")
    total = sum(counts.values())
    fractions = {symbol: number / total for symbol, number in sorted(counts.items())}
    place = text if Path(text).is_file() else None
    return Material(
        formula=formula,
        fractions=fractions,
        structure_file=place,
        kind="molecule",
        molecule=None if place else text,
    )


def _composed(counts: Mapping[str, int]) -> dict[str, Any]:
    """Reduced formula and atomic fractions."""
    total = sum(counts.values())
    formula = Formula.from_dict(dict(sorted(counts.items()))).reduce()[0].format("metal")
    return {
        "formula": formula,
        "fractions": {symbol: count / total for symbol, count in sorted(counts.items())},
    }


def _read_one(path: Path, file: str | Path | None) -> Atoms:
    return read_start(path, file=file, key="structure")[0]


def schema() -> Json:
    """JSON schema of ``input.yaml``, for editors that complete and check while one types."""
    content = UserInput.model_json_schema()
    section = content["$defs"]["DftInput"]["properties"]
    for name in registry.PORTS["dft"].built_in:
        wishes = registry.dft_engine(name).Wishes.model_json_schema()
        for key, part in wishes["properties"].items():
            section.setdefault(key, part)
    json.dumps(content)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **content}
