"""One method for all structures of a call, from the structures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from mlip_autopipec.base.errors import InputError, nearest
from mlip_autopipec.base.problems import UNKNOWN_KEY, validate
from mlip_autopipec.config import cost
from mlip_autopipec.config.dft_plan import DftPlan, checked_wishes
from mlip_autopipec.engines import registry
from mlip_autopipec.engines.dft_port import CellSize
from mlip_autopipec.science.label_set import label_set_of

__all__ = ["OPTIONS", "Parameters", "derive_dft", "on_the_command_line", "time_for"]

#: Wishes that have an option of their own on the command line.
OPTIONS = {"family": "--family", "calculator": "--calculator", "arguments": "--argument"}
#: Limits of the ``dft`` section that ``--set`` may change.
_LIMITS = ("cores", "threads", "walltime_s", "max_force_ev_per_a")
#: Structures of which the most expensive one is looked for by the engine's own law.
_LARGEST = 3


@dataclass(frozen=True, slots=True)
class Parameters:
    """``dft`` and why: dotted key -> reason."""

    dft: DftPlan
    reasons: dict[str, str]


def derive_dft(
    structures: Sequence[Atoms],
    *,
    engine: str = registry.DEFAULT_DFT,
    elements: Sequence[str] = (),
    wishes: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Parameters:
    """The method that serves every structure, and ``elements`` besides.

    ``wishes``: what has an option of its own (see ``OPTIONS``); ``settings``: further wishes of the
    engine, and limits of the plan's ``dft`` section. Raises InputError for what the engine cannot
    serve, or does not have.
    """
    settings = dict(settings or {})
    limits = {key: settings.pop(key) for key in _LIMITS if key in settings}
    try:
        asked = _checked(engine, wishes or {}, settings)
        found = registry.dft_engine(engine).method(label_set_of(structures, elements), asked)
    except InputError as error:
        raise on_the_command_line(error, engine) from None
    given = {"engine": engine, "method": found.method, **limits}
    dft = validate(DftPlan, given, "--set")
    reasons = {f"dft.method.{key}": reason for key, reason in found.reasons.items()}
    reasons |= {f"dft.{key}": "given" for key in limits}
    return Parameters(dft if "walltime_s" in limits else time_for(dft, structures), reasons)


def _checked(engine: str, wishes: Mapping[str, Any], settings: Mapping[str, Any]) -> Any:
    known = registry.dft_engine(engine).Wishes.model_fields
    for key in wishes:
        if key not in known:
            raise InputError(f"the engine {engine} takes no {key}", key=key, value=wishes[key])
    for key in settings:
        if key not in known or key in OPTIONS:
            raise InputError(UNKNOWN_KEY, key=key)
    return checked_wishes(engine, {**settings, **wishes})


def on_the_command_line(error: InputError, engine: str) -> InputError:
    """With the option that is meant for the key."""
    key, message, hint = error.key or "", error.message, error.hint
    if message == UNKNOWN_KEY:
        known = {*registry.dft_engine(engine).Wishes.model_fields, *_LIMITS} - set(OPTIONS)
        message, hint = "unknown setting", nearest(key, known)
    option = "--engine" if key == "dft.engine" else OPTIONS.get(key, f"--set {key}" if key else "")
    return InputError(message, file=error.file, key=option or None, value=error.value, hint=hint)


def time_for(dft: DftPlan, structures: Sequence[Atoms]) -> DftPlan:
    """With the wall time of one attempt: half an hour, or five times what the largest structure is
    expected to take.
    """
    sizes = {(len(atoms), round(abs(atoms.cell.volume))): atoms for atoms in structures}
    largest = sorted(sizes, key=lambda size: size[0] ** 1.4 * size[1])[-_LARGEST:]
    needed = cost.attempt_s(dft, [CellSize.of(sizes[size]) for size in largest])
    usual: float = DftPlan.model_fields["walltime_s"].default
    return dft.model_copy(update={"walltime_s": max(usual, needed)})
