"""Chemical symbols and formulas as a user writes them; an error names what was probably meant."""

from __future__ import annotations

import re

from ase.data import atomic_names, chemical_symbols
from ase.formula import Formula

from mlip_autopipec.config.sections import bad

__all__ = ["check_symbol", "fractions_of_formula"]

_SYMBOLS = frozenset(chemical_symbols[1:])


def _symbol_hint(word: str) -> str:
    """The symbol that was probably meant by ``word`` (a misspelt symbol or an element's name)."""
    word = str(word)
    if word.capitalize() in _SYMBOLS:
        return f"did you mean {word.capitalize()!r}?"
    names = {
        name.lower(): symbol
        for name, symbol in zip(atomic_names[1:], chemical_symbols[1:], strict=True)
    }
    names |= {"aluminum": "Al", "sulphur": "S", "caesium": "Cs"}
    if word.lower() in names:
        return f"did you mean {names[word.lower()]!r}?"
    best = max(
        chemical_symbols[1:], key=lambda symbol: _likeness(word, symbol)
    )  # ties: the lightest
    return (
        f"did you mean {best!r}?"
        if _likeness(word, best) >= 0.5
        else "write a chemical symbol, for example 'Si'"
    )


def _likeness(word: str, symbol: str) -> float:
    """About 1 for equal words: letters in their places count, the first one more than the rest."""
    shared = sum(one == other for one, other in zip(word.lower(), symbol.lower(), strict=False))
    bonus = 0.2 * (word[:1].upper() == symbol[:1]) + 0.1 * (len(word) == len(symbol))
    return (shared + bonus) / max(len(word), len(symbol))


def check_symbol(word: str) -> None:
    """Raises a validation error, with the likely symbol, for what is no chemical element."""
    if word not in _SYMBOLS:
        raise bad("not a chemical element", _symbol_hint(word), value=word)


def fractions_of_formula(text: str) -> dict[str, float]:
    """``NaCl`` -> ``{"Na": 0.5, "Cl": 0.5}``. Raises a validation error that names the wrong
    part.
    """
    if text.lower() in {name.lower() for name in atomic_names[1:]}:
        raise bad("not a chemical formula", _symbol_hint(text), value=text)
    for word in re.findall(r"[A-Z][a-z]*|[a-z]+", text):
        if word not in _SYMBOLS:
            raise bad(
                "not a chemical formula", f"no element {word!r}: {_symbol_hint(word)}", value=text
            )
    try:
        counts = {
            symbol: float(count) for symbol, count in Formula(text, strict=True).count().items()
        }
    except (ValueError, TypeError, KeyError):
        counts = {}
    total = sum(counts.values())
    if not total:
        hint = (
            "use 'composition' for fractions"
            if "." in text
            else "write for example 'Si', 'NaCl' or 'Al2O3'"
        )
        raise bad("not a chemical formula", hint, value=text)
    return {symbol: count / total for symbol, count in counts.items() if count}
