"""The reference pages of the files that programs read, from the classes that write them.

``python docs/schema_pages.py`` writes ``docs/reference/{status,summary,labels,stream}.md``; a test
holds the pages to the classes. A field's meaning is the string below it, its unit the end of its
name.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from pathlib import Path
from typing import Any, Literal

from pydantic.fields import FieldInfo

from mlip_autopipec.campaign import events
from mlip_autopipec.commands.label.outputs import LabelSummary, Quarantined
from mlip_autopipec.report.values import Status, Summary

REFERENCE = Path(__file__).parent / "reference"

UNITS = (
    ("_mev_per_atom", "meV/atom"),
    ("_mev_per_a", "meV/Å"),
    ("_ev_per_a", "eV/Å"),
    ("_hours_lost", "core h"),
    ("_hours", "core h"),
    ("_minutes", "min"),
    ("_min", "min"),
    ("_gpa", "GPa"),
    ("_ps", "ps"),
    ("_ago", "s"),
    ("_s", "s"),
    ("_a", "Å"),
)
WORDS: dict[Any, str] = {
    float: "number",
    int: "integer",
    str: "text",
    bool: "true or false",
    Any: "anything",
    type(None): "null",
}

STATUS = """\
# status.json

The driver replaces this file in the run folder every few seconds. `mlip-auto status` shows it, and
`mlip-auto status --json` prints it with `driver` filled in. Keys may be added; those below keep
name and meaning while `version` stays the same.
"""
SUMMARY = """\
# summary.json

What a campaign came to, in `RUN/result/summary.json`; `mlip-auto run --json` prints it. What is
missing is null and named in `notes`. Keys may be added; those below keep name and meaning while
`version` stays the same.
"""
LABELS = """\
# Files of a folder of labels

`mlip-auto dft` leaves `summary.json` (also printed with `--json`) and `quarantine.json`, a list of
what was given up, beside [`dataset.db`](dataset.md) and `labels.extxyz`.
"""
STREAM = """\
# stream.jsonl

Running molecular dynamics appends one JSON object a line to `stream.jsonl` in its attempt folder,
`tasks/explore-.../attempt-N/`. The driver reads every complete line once and keeps it in the event
log (`campaign.db`, rows of the kind `MdReported`, the line under `report`); of progress lines in a
row only the newest. `type` says what happened. Lines of other types are kept without effect.
"""
MD_LINES = {
    "progress": events.MdProgressed,
    "candidate": events.MdStreamed,
    "break": events.MdBroke,
    "swap": events.MdSwapped,
    "resume": events.MdResumed,
}


def pages() -> dict[str, str]:
    """Name of a page -> its text."""
    lines = [_section(f"`{word}`", cls, own=True) for word, cls in MD_LINES.items()]
    return {
        "status.md": _page(STATUS, Status),
        "summary.md": _page(SUMMARY, Summary),
        "labels.md": _page(LABELS, LabelSummary, Quarantined),
        "stream.md": STREAM + "".join(lines),
    }


def _page(head: str, *roots: type) -> str:
    seen: list[type] = []
    for root in roots:
        _collect(root, seen)
    return head + "".join(_section(cls.__name__, cls) for cls in seen)


def _collect(cls: type, seen: list[type]) -> None:
    """``cls`` and every class that its fields are made of, in the order of reading."""
    if cls in seen:
        return
    seen.append(cls)
    for kind in typing.get_type_hints(cls).values():
        for part in _classes(kind):
            _collect(part, seen)


def _classes(kind: Any) -> list[type]:
    if dataclasses.is_dataclass(kind):
        return [typing.cast(type, kind)]
    return [part for argument in typing.get_args(kind) for part in _classes(argument)]


def _section(title: str, cls: type, *, own: bool = False) -> str:
    """Heading, docstring and table of a class; ``own``: without the fields of its base class."""
    hints, meanings = typing.get_type_hints(cls, include_extras=True), meanings_of(cls)
    names = [item.name for item in dataclasses.fields(cls)]
    if own:
        base = {item.name for item in dataclasses.fields(cls.__bases__[0])}
        names = [name for name in names if name not in base]
    rows = [
        f"| `{_key(hints[name], name)}` | {_type(hints[name])} | {unit_of(name)} |"
        f" {meanings.get(name, '')} |"
        for name in names
    ]
    text = inspect.cleandoc(cls.__doc__ or "").replace("``", "`")
    table = "\n".join(["| key | value | unit | meaning |", "|---|---|---|---|", *rows])
    return f"\n## {title}\n\n{text}\n\n{table}\n"


def _key(hint: Any, name: str) -> str:
    for note in getattr(hint, "__metadata__", ()):
        if isinstance(note, FieldInfo) and note.alias:
            return note.alias
    return name


def _type(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_type, arguments))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"object of {_type(arguments[1])}"
    if dataclasses.is_dataclass(kind):
        name = typing.cast(type, kind).__name__
        return f"[{name}](#{name.lower()})"
    return WORDS[kind]


def unit_of(name: str) -> str:
    """The unit that the end of a name says."""
    return next((unit for end, unit in UNITS if f"_{name}".endswith(end)), "")


def meanings_of(cls: type) -> dict[str, str]:
    """Field -> the string below it, in Markdown."""
    found: dict[str, str] = {}
    for base in reversed([item for item in cls.__mro__ if dataclasses.is_dataclass(item)]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for before, node in zip(tree.body, tree.body[1:], strict=False):
            match before, node:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                    value=ast.Constant(value=str(text))
                ):
                    found[name] = " ".join(text.split()).replace("``", "`")
    return found


if __name__ == "__main__":
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
