"""Every number that stands in the code alone, with its reason: docs/reference/constants.md.

``python docs/constants_page.py`` writes the page from the code: module constants of the rooms that
decide what a campaign does. The reason is the comment at the constant. A test fails while the page
and the code differ, or where a constant has no reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "mlip_autopipec"
PAGE = ROOT / "docs" / "reference" / "constants.md"
ROOMS = ("campaign", "config/derive", "proposing", "selecting", "science", "tasks")
#: Constants that decide nothing: tables of nature and of symmetry, versions of files, how often a
#: person is told something.
NO_DECISION = frozenset(
    {
        "FIRST_CUBIC_SPACE_GROUP",
        "LINE_EVERY_S",
        "LOG_VERSION",
        "POLL_S",
        "REPORT_EVERY_S",
        "VOIGT",
        "_ANIONS",
        "_CATIONS",
        "_MOMENTS",
        "_ROUNDING",
    }
)
HEAD = """# Numbers that stand in the code

The plan names every number that depends on the material or that a user may want to change
(`mlip-auto plan`, `plan.yaml`). The numbers below are the same for every material and stand in the
code alone, each at the place that uses it. They are listed so that nothing that decides what a
campaign does is hidden. This page is written by `python docs/constants_page.py`.
"""


@dataclass(frozen=True)
class Constant:
    """One assignment of a module: its names, the value as it is written, the comment at it."""

    file: str
    names: str
    value: str
    reason: str


def constants() -> Iterator[Constant]:
    """All of them, room by room, in the order of the code."""
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            yield from _of_module(path)


def _of_module(path: Path) -> Iterator[Constant]:
    source = path.read_text()
    lines, body = source.splitlines(), ast.parse(source).body
    for index, node in enumerate(body):
        target, value = _assigned(node)
        names = [] if target is None else _names(target)
        if value is None or not names or set(names) & NO_DECISION or not _is_number(value):
            continue
        following = body[index + 1] if index + 1 < len(body) else None
        reason = _comment(lines, node) or _docstring(following)
        text = " ".join((ast.get_source_segment(source, value) or "").split())
        file = str(path.relative_to(PACKAGE))
        yield Constant(file, ", ".join(names), text, reason)


def _assigned(node: ast.stmt) -> tuple[ast.expr | None, ast.expr | None]:
    if isinstance(node, ast.Assign):
        return node.targets[0], node.value
    return (node.target, node.value) if isinstance(node, ast.AnnAssign) else (None, None)


def _names(target: ast.expr) -> list[str]:
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    return names if names and all(name.isupper() for name in names) else []


def _is_number(value: ast.expr) -> bool:
    """A number, arithmetic of numbers, or a tuple, list or dict of such."""
    match value:
        case ast.Constant(value=bool() | str() | bytes() | None):
            return False
        case ast.Constant():
            return True
        case ast.UnaryOp(operand=operand):
            return _is_number(operand)
        case ast.BinOp(left=left, right=right):
            return _is_number(left) and _is_number(right)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Dict(values=parts):
            return bool(parts) and all(_is_number(part) for part in parts)
    return False


def _comment(lines: list[str], node: ast.stmt) -> str:
    """The comment lines right above, and what follows on the last line."""
    above: list[str] = []
    at = node.lineno - 2
    while at >= 0 and lines[at].startswith("#"):
        above.insert(0, lines[at].lstrip("#: "))
        at -= 1
    last = lines[(node.end_lineno or node.lineno) - 1]
    beside = [last.split("#", 1)[1].strip()] if "#" in last else []
    return " ".join([*above, *beside]).strip()


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""


def page() -> str:
    """The content of the page."""
    text = HEAD
    for room in ROOMS:
        rows = [item for item in constants() if item.file.startswith(f"{room}/")]
        text += f"\n## {room}\n\n| name | value | file | why |\n|---|---|---|---|\n"
        for item in rows:
            cells = (f"`{item.names}`", f"`{item.value}`", f"`{item.file}`", item.reason)
            text += "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE.relative_to(ROOT)}: {sum(1 for _ in constants())} constants")
