"""Pieces of the report as HTML text: tables, figures, details."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

__all__ = ["details", "figure", "met", "table"]

MET = {True: ("met", "met"), False: ("unmet", "not met"), None: ("unknown", "not known")}


def met(value: bool | None) -> str:
    """Whether something that was asked for was reached, in colour."""
    return '<span class="{}">{}</span>'.format(*MET[value])


def figure(title: str, svg: str | None, missing: str, caption: str) -> str:
    """A figure with heading, alternative text and caption, or the reason why there is none."""
    if svg is None:
        return f'<h3>{title}</h3><p class="missing">Not available: {escape(missing)}.</p>'
    source = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    return (
        f'<h3>{title}</h3><figure><img src="{source}" alt="{escape(f"{title}. {caption}")}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers_from: int | None = None,
) -> str:
    """A table of ready HTML cells; the first cell of a row is its header; numbers stand right from
    a column on. Without rows nothing.
    """
    if not rows:
        return ""

    def kind(column: int) -> str:
        return ' class="number"' if numbers_from is not None and column >= numbers_from else ""

    head = "".join(f'<th scope="col"{kind(i)}>{text}</th>' for i, text in enumerate(heads))
    body = "".join(
        "<tr>"
        + f'<th scope="row">{row[0]}</th>'
        + "".join(f"<td{kind(i)}>{cell}</td>" for i, cell in enumerate(row[1:], start=1))
        + "</tr>"
        for row in rows
    )
    return (
        "<div"
        f' class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def details(content: str, title: str) -> str:
    """Content that opens when it is asked for; nothing for nothing."""
    return f"<details><summary>{title}</summary>{content}</details>" if content else ""
