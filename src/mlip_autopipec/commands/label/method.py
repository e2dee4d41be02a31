"""One DFT method for all structures of a call, from the structures alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms
from pydantic import ValidationError

from mlip_autopipec.base.errors import InputError, nearest
from mlip_autopipec.config import cost
from mlip_autopipec.config.dft_plan import ASE_CALCULATOR, QUANTUM_ESPRESSO, DftPlan
from mlip_autopipec.config.yaml import to_input_error
from mlip_autopipec.engines.dft.ase_calculator.engine import method_of
from mlip_autopipec.engines.dft.quantum_espresso import pseudos
from mlip_autopipec.science import dft_rules
from mlip_autopipec.science.dft_rules import Choice
from mlip_autopipec.science.kpoints import choose_grid

__all__ = [
    "DEFAULT_ENGINE",
    "Parameters",
    "derive_dft",
    "elements_of",
    "expected_cpu_s",
    "least",
    "with_walltime",
]

DEFAULT_ENGINE = QUANTUM_ESPRESSO
#: Keys with an option of their own, or none.
_NOT_SETTINGS = {
    "engine",
    "calculator",
    "arguments",
    "calculator_version",
    "pseudo_family",
    "pseudos",
    "pseudo_sha256",
    "convergence",
    "max_attempts",
}
_MIXED_SMEARING = Choice(
    ("gaussian", dft_rules.DEGAUSS_RY),
    "metals and cells with a gap in one method: Gaussian, whose Fermi energy is unique in both",
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """``dft`` and why: dotted key -> reason."""

    dft: DftPlan
    reasons: dict[str, str]


def elements_of(structures: Iterable[Atoms]) -> tuple[str, ...]:
    return tuple(
        sorted({symbol for atoms in structures for symbol in atoms.get_chemical_symbols()})
    )


def derive_dft(
    structures: Sequence[Atoms],
    *,
    family: str | None = None,
    elements: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    engine: str = DEFAULT_ENGINE,
    calculator: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Parameters:
    """The method that serves every structure, and ``elements`` besides.

    Cutoffs: the largest over all elements. k-point spacing: the densest that any periodic structure
    needs, because labels of one set must share it. Cold smearing where all are metals, Gaussian
    otherwise. Spin where an element is magnetic, or a structure is pure oxygen. ``settings``
    replace derived values (keys of the plan's ``dft`` section).
    ``calculator`` and ``arguments`` are the method of the engine ``ase_calculator``; only spin is
    derived there. Raises InputError for unknown families, elements or settings, and for a
    calculator without that engine.
    """
    symbols = sorted({*elements, *elements_of(structures)})
    kinds = {_composition(atoms): atoms for atoms in structures}
    reasons: dict[str, str] = {}

    def because(keys: str, choice: Choice[Any]) -> Any:
        reasons.update(dict.fromkeys((f"dft.{key}" for key in keys.split()), choice.reason))
        return choice.value

    moments = because("starting_moments spin_polarized", _moments(symbols, kinds))
    values: dict[str, Any] = {
        "engine": engine,
        "spin_polarized": bool(moments),
        "starting_moments": moments,
    }
    if engine == ASE_CALCULATOR:
        values |= _calculator_values(family, calculator, arguments or {})
    elif calculator or arguments:
        raise InputError(
            f"the engine {engine} takes no ASE calculator",
            key="--calculator",
            hint=f"--engine {ASE_CALCULATOR}",
        )
    else:
        values |= _plane_wave_values(
            symbols, kinds, family or pseudos.DEFAULT_FAMILY, engine, because
        )
    given = _checked(settings or {})
    if "cutoff_ry" in given and "cutoff_ry" in values:
        values["rho_cutoff_ry"] = (
            values["rho_cutoff_ry"] / values["cutoff_ry"] * _number(given["cutoff_ry"])
        )
    reasons |= {f"dft.{key}": "given" for key in given}
    try:
        dft = DftPlan.model_validate({**values, **given})
    except ValidationError as error:
        raise to_input_error(error, DftPlan, "--set") from None
    return Parameters(dft if "walltime_s" in given else with_walltime(dft, structures), reasons)


def _number(value: Any) -> float:
    """As pydantic will read it; what is no number is left to its complaint."""
    try:
        return float(value)
    except ValueError:
        return 1.0


def _calculator_values(
    family: str | None, calculator: str | None, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """The method of an ASE calculator, with the version of its package."""
    if family:
        raise InputError(
            "an ASE calculator has no pseudopotential family", key="--family", value=family
        )
    if not calculator:
        hint = "write MODULE:CLASS, for example tblite.ase:TBLite"
        raise InputError(
            f"the engine {ASE_CALCULATOR} needs a calculator", key="--calculator", hint=hint
        )
    return method_of(calculator, arguments)


def _plane_wave_values(
    symbols: Sequence[str], kinds: Kinds, family: str, engine: str, because: Any
) -> dict[str, Any]:
    smearing, degauss_ry = because("smearing degauss_ry", _smearing(kinds))
    return {
        "kspacing_per_a": because("kspacing_per_a", _spacing(kinds)),
        "kmesh_shifted": because("kmesh_shifted", _shifted(kinds)),
        "smearing": smearing,
        "degauss_ry": degauss_ry,
        **_family_values(symbols, family, engine, because),
    }


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    allowed = set(DftPlan.model_fields) - _NOT_SETTINGS
    for key in settings:
        if key not in allowed:
            raise InputError("unknown setting", key=f"--set {key}", hint=nearest(key, allowed))
    return dict(settings)


def _composition(atoms: Atoms) -> tuple[tuple[str, int], ...]:
    """Reduced composition, with no entry for what is not periodic (a molecule needs no
    k-points).
    """
    counts: dict[str, int] = {}
    for symbol in atoms.get_chemical_symbols():
        counts[symbol] = counts.get(symbol, 0) + 1
    divisor = math.gcd(*counts.values())
    marker = () if any(atoms.pbc) else (("molecule", 1),)
    return (*sorted((symbol, count // divisor) for symbol, count in counts.items()), *marker)


Kinds = Mapping[tuple[tuple[str, int], ...], Atoms]


def _crystals(kinds: Kinds) -> list[dict[str, float]]:
    return [dict(kind) for kind, atoms in kinds.items() if any(atoms.pbc)]


def _has_molecules(kinds: Kinds) -> bool:
    return any(not any(atoms.pbc) for atoms in kinds.values())


def _spacing(kinds: Kinds) -> Choice[float]:
    choices = [dft_rules.kspacing_per_a(composition) for composition in _crystals(kinds)]
    if not choices:
        return dft_rules.kspacing_per_a({"H": 1.0}, (False, False, False))
    densest = min(choices, key=lambda choice: choice.value)
    return (
        densest
        if len(choices) == 1
        else Choice(densest.value, f"the densest that is needed: {densest.reason}")
    )


def least(structures: Sequence[Atoms], cell: Atoms, family: str) -> dict[str, tuple[float, str]]:
    """Cutoff (Ry) and k-point spacing (1/Å) that the rules ask for what ``cell`` does not stand
    for, each with why.

    That is: elements that it lacks, and crystals of other compositions. Nothing of that kind, no
    entry.
    """
    found: dict[str, tuple[float, str]] = {}
    others = set(elements_of(structures)) - set(elements_of([cell]))
    if others:
        cutoff = dft_rules.wavefunction_cutoff_ry(
            {one: pseudos.cutoffs(family, one) for one in others}
        )
        found["cutoff_ry"] = cutoff.value, cutoff.reason
    rest = {
        _composition(atoms): atoms
        for atoms in structures
        if _composition(atoms) != _composition(cell)
    }
    if _crystals(rest):
        spacing = _spacing(rest)
        found["kspacing_per_a"] = spacing.value, spacing.reason
    return found


def _shifted(kinds: Kinds) -> Choice[bool]:
    choices = [dft_rules.kmesh_shifted(composition) for composition in _crystals(kinds)]
    if not choices:
        return dft_rules.kmesh_shifted({"H": 1.0}, (False, False, False))
    return next((choice for choice in choices if not choice.value), choices[0])


def _smearing(kinds: Kinds) -> Choice[tuple[Any, float]]:
    metals = [dft_rules.is_metal(composition).value for composition in _crystals(kinds)]
    if any(metals) and (not all(metals) or _has_molecules(kinds)):
        return _MIXED_SMEARING
    if metals:
        return dft_rules.smearing(_crystals(kinds)[0])
    return Choice(("gaussian", dft_rules.DEGAUSS_RY), "molecules: narrow, so that a bond may break")


def _moments(symbols: Sequence[str], kinds: Kinds) -> Choice[dict[str, float]]:
    moments = dft_rules.starting_moments(symbols)
    if not any({s for s, _ in kind if s != "molecule"} == {"O"} for kind in kinds):
        return moments
    oxygen = dft_rules.starting_moments(["O"])
    if not moments.value:
        return oxygen
    # Without a moment to start from, O2 beside iron would stay unpolarised in its own cell.
    return Choice({**moments.value, **oxygen.value}, f"{moments.reason}; {oxygen.reason}")


def _family_values(
    symbols: Sequence[str], family: str, engine: str, because: Any
) -> dict[str, Any]:
    """Functional, pseudopotentials and cutoffs; an engine without pseudopotentials gets empty
    ones.
    """
    if engine != DEFAULT_ENGINE:
        nothing = Choice(1.0, f"not used by {engine}")
        cutoff = because("cutoff_ry rho_cutoff_ry", nothing)
        return {
            "functional": "none",
            "pseudo_family": "none",
            "pseudos": {},
            "pseudo_sha256": {},
            "cutoff_ry": cutoff,
            "rho_cutoff_ry": cutoff,
        }
    facts = pseudos.family_facts(family)
    hints = {symbol: pseudos.cutoffs(family, symbol) for symbol in symbols}
    cutoff = because("cutoff_ry", dft_rules.wavefunction_cutoff_ry(hints))
    return {
        "functional": facts.functional,
        "pseudo_family": because(
            "pseudo_family", Choice(family, "one family and version for the whole folder")
        ),
        "pseudos": {symbol: f"{symbol}.upf" for symbol in symbols},
        "pseudo_sha256": {symbol: facts.elements[symbol].sha256 for symbol in symbols},
        "cutoff_ry": cutoff,
        "rho_cutoff_ry": because(
            "rho_cutoff_ry",
            dft_rules.rho_cutoff_ry(
                cutoff, facts.dual, pseudos.density_cutoffs_ry(family, symbols)
            ),
        ),
    }


def with_walltime(dft: DftPlan, structures: Sequence[Atoms]) -> DftPlan:
    """Wall time of one attempt: half an hour, or five times what the largest structure is expected
    to take.

    Nothing is expected of an ASE calculator: half an hour.
    """
    if not dft.plane_waves:
        return dft
    sizes = {(len(atoms), round(abs(atoms.cell.volume))): atoms for atoms in structures}
    largest = sorted(sizes, key=lambda size: size[0] ** 1.4 * size[1])[-3:]
    seconds = 5 * max((expected_cpu_s(sizes[size], dft) for size in largest), default=0.0)
    limit = max(DftPlan.model_fields["walltime_s"].default, 600.0 * math.ceil(seconds / 600))
    return dft.model_copy(update={"walltime_s": limit})


def expected_cpu_s(atoms: Atoms, dft: DftPlan) -> float:
    """CPU seconds of one calculation by the scaling law of :mod:`mlip_autopipec.config.cost`."""
    electrons = sum(cost.valence_electrons(symbol) for symbol in atoms.get_chemical_symbols())
    grid = choose_grid(
        atoms.cell.array,
        tuple(bool(flag) for flag in atoms.pbc),
        dft.kspacing_per_a,
        dft.kmesh_shifted,
    )
    bands = float((electrons / cost.ANCHOR_ELECTRONS) ** 1.4)
    waves = (
        abs(atoms.cell.volume)
        / cost.ANCHOR_VOLUME_A3
        * float((dft.cutoff_ry / cost.ANCHOR_RY) ** 1.5)
    )
    points = len(grid.points()) / cost.ANCHOR_KPOINTS
    spin = 2.0 if dft.spin_polarized else 1.0
    return float(cost.START_S + cost.ANCHOR_S * points * bands * waves * spin)
