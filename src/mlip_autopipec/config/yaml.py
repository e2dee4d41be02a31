"""``input.yaml``, ``plan.yaml`` and ``plan.json``: reading with one-line errors, writing with the
reasons beside.

YAML is read as version 1.2 (ruamel.yaml), so that ``No`` and ``Y`` stay the chemical symbols they
are.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mlip_autopipec.base.errors import InputError
from mlip_autopipec.base.files import atomic_write
from mlip_autopipec.base.problems import validate
from mlip_autopipec.base.values import content_hash
from mlip_autopipec.config.plan import Plan
from mlip_autopipec.config.upgrade import MOVED_KEYS, upgraded, upgraded_reasons

__all__ = [
    "is_plan",
    "is_untouched",
    "load_plan",
    "load_reasons",
    "plan_text",
    "read_yaml_mapping",
    "write_plan",
]

_COMMENT_COLUMN = 44
_FINGERPRINT = "as derived:"
_LINE = re.compile(
    r"^(?P<indent> *)(?:(?P<key>[\w.:-]+):(?= |$)|[- ]*- \{name: (?P<name>[\w.-]+),)(?P<rest>.*)$"
)


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises InputError when the file is absent, cannot be read, is no YAML (with the line) or holds
    no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            "no such file", file=path, hint="give the path of an input.yaml or a plan.yaml"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {_one_line(str(error))}", file=path) from None
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        what = _one_line(error.problem or error.context or "not understood")
        raise InputError(
            f"YAML syntax error{line}: {what}",
            file=path,
            hint="write 'key: value', indented with spaces",
        ) from None
    except YAMLError as error:
        raise InputError(f"YAML syntax error: {_one_line(str(error))}", file=path) from None
    if not isinstance(data, dict):
        raise InputError(
            "holds no 'key: value' lines", file=path, hint="for example 'material: Si'"
        )
    return {str(key): value for key, value in data.items()}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def is_plan(data: Mapping[str, Any]) -> bool:
    """True for the content of a plan.yaml, False for that of an input.yaml."""
    return "version" in data or {"dft", "training", "exploration"} <= set(data)


def plan_text(plan: Plan, reasons: Mapping[str, str]) -> str:
    """``plan.yaml``: every number of the plan, with the reason for it as the comment of its line.

    ``reasons``: dotted key (``dft.cutoff_ry``) -> why. Reading it back gives an equal plan.
    """
    data = _commented(plan.model_dump(mode="json"), reasons, "")
    data.yaml_set_start_comment(
        f"Plan of the campaign {plan.name!r}: `mlip-auto run` executes what stands here.\n"
        "Every number may be changed; a run folder belongs to one plan (budget and cores apart).\n"
        f"{_FINGERPRINT} {_fingerprint(plan.model_dump(mode='json'))}\n"
    )
    writer = YAML()
    writer.width = 100_000
    stream = io.StringIO()
    writer.dump(data, stream)
    return stream.getvalue()


def _commented(data: Mapping[str, Any], reasons: Mapping[str, str], prefix: str) -> CommentedMap:
    """A mapping with its reasons as comments at the ends of the lines."""
    result = CommentedMap()
    for key, value in data.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, dict) and any(reason.startswith(f"{dotted}.") for reason in reasons):
            result[key] = _commented(value, reasons, f"{dotted}.")
        else:
            result[key] = (
                _list(value, reasons, dotted) if isinstance(value, list) else _in_braces(value)
            )
        if dotted in reasons:
            result.yaml_add_eol_comment(_one_line(reasons[dotted]), key, column=_COMMENT_COLUMN)
    return result


def _list(values: list[Any], reasons: Mapping[str, str], dotted: str) -> CommentedSeq:
    """A list: in brackets, or a line for each mapping in it, with the reason for ``dotted.<its
    name>``.
    """
    if not any(isinstance(value, dict | list) for value in values):
        return cast(CommentedSeq, _in_braces(values))
    result = CommentedSeq()
    for index, value in enumerate(values):
        result.append(
            _list(value, reasons, dotted) if isinstance(value, list) else _in_braces(value)
        )
        reason = (
            reasons.get(f"{dotted}.{value['name']}")
            if isinstance(value, dict) and "name" in value
            else None
        )
        if reason:
            result.yaml_add_eol_comment(_one_line(reason), index, column=_COMMENT_COLUMN)
    return result


def _in_braces(value: Any) -> Any:
    """A value in one line."""
    node: Any = value
    if isinstance(value, dict):
        node = CommentedMap({key: _in_braces(part) for key, part in value.items()})
        node.fa.set_flow_style()
    elif isinstance(value, list):
        node = CommentedSeq([_in_braces(part) for part in value])
        node.fa.set_flow_style()
    return node


def write_plan(plan: Plan, reasons: Mapping[str, str], path: Path) -> None:
    """Write ``plan.yaml`` durably at ``path``.

    (``plan.json``, its form for workers, is written by the driver.)
    """
    atomic_write(path, plan_text(plan, reasons))


def is_untouched(path: Path) -> bool:
    """True when no number of a plan.yaml was changed since :func:`write_plan`."""
    found = re.search(rf"^# {_FINGERPRINT} (\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found is not None and found[1] == _fingerprint(read_yaml_mapping(path))


def _fingerprint(content: Mapping[str, Any]) -> str:
    """Of what stands in the file, in whichever version's form."""
    return content_hash(content)


def load_plan(path: Path) -> Plan:
    """The plan in a ``plan.yaml`` of any version so far.

    Raises InputError, one line, for anything that is not a plan, and CampaignStateError for a plan
    of a later version than this program knows.
    """
    return validate(Plan, upgraded(read_yaml_mapping(path), path), path)


def load_reasons(path: Path) -> dict[str, str]:
    """The reasons that stand as comments in a plan.yaml: dotted key -> text (a user's own comments
    included); those of an earlier version under today's keys.
    """
    reasons: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    version = 1
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        depth = len(match["indent"])
        if match[
            "name"
        ]:  # an item of a list stands below the key of the list and has nothing below itself
            here = [*(key for _, key in parents), match["name"]]
        else:
            parents = [*(part for part in parents if part[0] < depth), (depth, match["key"])]
            here = [key for _, key in parents]
        if here == ["version"]:
            version = int(re.sub(r"\D.*", "", match["rest"].strip()) or 1)
        comment = re.search(r"(?:^|\s)#\s?(.*)$", match["rest"])
        if comment:
            key = ".".join(here)
            reasons[MOVED_KEYS.get(key, key)] = comment[1].strip()
    return upgraded_reasons(reasons, version)
