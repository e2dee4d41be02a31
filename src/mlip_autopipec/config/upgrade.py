"""Stored plans of earlier versions, read as plans of today's.

A plan (``plan.json`` and ``plan.yaml``, of a campaign or of a folder of labels) carries the number
of its form under ``version``; 1 is also what carries none. Whoever changes the form of a plan

1. raises ``PLAN_VERSION`` by one and the ``version`` of ``Plan`` and ``LabelPlan`` with it;
2. adds the function that turns the form before into the new one to ``_STEPS``, which takes plain
   data, changes a copy, and looks at ``kind`` where plans of campaigns and labels differ;
3. stores a plan of the form before in ``tests/fixtures/plans``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlip_autopipec.base.errors import CampaignStateError
from mlip_autopipec.base.values import Json

__all__ = ["MOVED_KEYS", "PLAN_VERSION", "in_first_form", "upgraded", "upgraded_reasons"]

PLAN_VERSION = 4
"""The form that this program writes."""


def _trainers_own_their_settings(plan: Json) -> Json:
    """1 -> 2: the numbers of a fit move from ``training`` into the sections of its trainers."""
    if "training" not in plan:
        return plan
    training = dict(plan["training"])
    old = {key: training.pop(key) for key in _OLD_TRAINING if key in training}
    release = training.get("trainer", "pacemaker")
    early = training.get("fast_trainer", "linear")
    if not old or "settings" in training:
        return plan
    quick = {**old, "functions_per_element": old.get("fast_functions_per_element")}
    keys = {trainer: _KEYS_OF_TRAINERS.get(trainer, ()) for trainer in (release, early)}
    # One trainer for both took the functions of the fast one.
    numbers = quick if release == early else old
    training["settings"] = {key: numbers[key] for key in keys[release] if key in numbers}
    if release != early:
        training["fast_settings"] = {key: quick[key] for key in keys[early] if key in quick}
    return {**plan, "training": training}


_LINEAR = ("cutoff_a", "functions_per_element", "kappa")
_KEYS_OF_TRAINERS = {
    "linear": _LINEAR,
    "pacemaker": (*_LINEAR, "max_iterations", "warm_iterations"),
}
_OLD_TRAINING = (*_KEYS_OF_TRAINERS["pacemaker"], "fast_functions_per_element")


def in_first_form(plan: Json) -> Json:
    """A plan as version 1 wrote it, for its hash; unchanged where that had no words for it.

    One that version 3 could not have written is hashed as it stands.
    """
    plan = _in_third_form(_without_new_defaults(plan))
    training, dft = dict(plan["training"]), dict(plan["dft"])
    if (training["fast_trainer"], training["trainer"]) != ("linear", "pacemaker"):
        return plan
    slow, fast = training.pop("settings"), training.pop("fast_settings")
    if any(slow[key] != fast[key] for key in ("cutoff_a", "kappa")):
        return plan
    numbers = {**slow, "fast_functions_per_element": fast["functions_per_element"]}
    method = dft.pop("method")
    return {
        **plan,
        "version": 1,
        "dft": {**dft, **method},
        "training": {**training, **numbers},
    }


def _without_new_defaults(plan: Json) -> Json:
    """A plan without the values of ``training`` that say what was so before there were words."""
    training = {
        name: {key: value for key, value in part.items() if (key, value) != ("baseline", "none")}
        if isinstance(part, Mapping)
        else part
        for name, part in plan["training"].items()
    }
    return {**plan, "training": training}


#: Dotted keys of earlier plans whose comments are the reasons of other keys today.
MOVED_KEYS = {
    **{f"training.{key}": f"training.settings.{key}" for key in _KEYS_OF_TRAINERS["pacemaker"]},
    "training.fast_functions_per_element": "training.fast_settings.functions_per_element",
}

_DFT_LIMITS = frozenset(
    {
        "engine",
        "convergence",
        "max_force_ev_per_a",
        "walltime_s",
        "max_attempts",
        "cores",
        "threads",
    }
)
"""What is no part of the method in the ``dft`` section of versions 1 and 2."""


def _dft_codes_own_their_method(plan: Json) -> Json:
    """2 -> 3: the settings of the method moved from ``dft`` to ``dft.method``, whose form is the
    engine's.
    """
    old = plan.get("dft")
    if not isinstance(old, Mapping) or "method" in old:
        return plan  # validation has the better words for it
    limits = {key: value for key, value in old.items() if key in _DFT_LIMITS}
    method = {key: value for key, value in old.items() if key not in _DFT_LIMITS}
    return {**plan, "dft": {"engine": "quantum_espresso", **limits, "method": method}}


#: What a plan says of MD since version 4: a run of a fixed time, of which frames are kept.
_TIMES_OF_A_RUN = ("run_ps", "equilibration_ps", "sample_every_ps")
_OF_JUDGEMENT = ("on_policy_labels", "unknown_share", "unknown_factor", "margin_factor")
_OF_RULES = ("on_policy_per_visit",)
_MOST_CANDIDATES = 12  # the default of version 3, which plans written by hand left out


def _runs_have_a_fixed_time(plan: Json) -> Json:
    """3 -> 4: MD runs for a fixed time under one potential. What was asked to be clean in a row is
    that time; the fields of before stay, since the hash of the plan is made of them.
    """
    old = plan.get("exploration")
    if not isinstance(old, Mapping) or "run_ps" in old or "clean_ps" not in old:
        return plan
    kept = {"max_candidates_per_potential": _MOST_CANDIDATES, **old}
    return {**plan, "exploration": {**kept, "run_ps": old["clean_ps"]}}


def _in_third_form(plan: Json) -> Json:
    """A plan as version 3 wrote it, where one of that version was its origin."""
    if "max_ps" not in plan["exploration"]:
        return plan
    older = {"exploration": _TIMES_OF_A_RUN, "convergence": _OF_JUDGEMENT, "rules": _OF_RULES}
    sections = {
        name: {key: value for key, value in plan[name].items() if key not in new}
        for name, new in older.items()
        if name in plan
    }
    return {**plan, "version": 3, **sections}


_STEPS: dict[int, Callable[[Json], Json]] = {
    1: _trainers_own_their_settings,
    2: _dft_codes_own_their_method,
    3: _runs_have_a_fixed_time,
}
"""Version -> how a plan of that version becomes one of the next."""


def upgraded(data: Mapping[str, Any], file: str | Path) -> Json:
    """The content of a stored plan in today's form; content that is no plan comes back as it is.

    Raises CampaignStateError for a version that this program does not know yet.
    """
    found: Json = dict(data)
    version = found.get("version", 1)
    if not isinstance(version, int):
        return found  # validation has the better words for it
    if version > PLAN_VERSION:
        raise CampaignStateError(
            f"{file}: a plan of version {version}, and this mlip-auto knows versions up to"
            f" {PLAN_VERSION}; go on with the mlip-auto that wrote it, or a newer one"
        )
    for step in range(max(1, version), PLAN_VERSION):
        found = _STEPS[step](found)
    return {**found, "version": PLAN_VERSION}


def upgraded_reasons(reasons: Mapping[str, str], version: int) -> dict[str, str]:
    """The reasons of a stored plan of that version (dotted key -> text), by today's keys."""
    if version >= 3:
        return dict(reasons)
    found = {}
    for key, text in reasons.items():
        section, _, name = key.partition(".")
        moved = section == "dft" and name and name.partition(".")[0] not in _DFT_LIMITS
        found[f"dft.method.{name}" if moved else key] = text
    return found
