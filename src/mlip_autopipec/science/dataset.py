"""The training set: which structures are held out, and which forces count."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlip_autopipec.base.labels import LabelledStructure

__all__ = ["Split", "core_mask", "group_split", "never_held_out", "one_method", "refusal"]

# Of the groups that may be held out: the rest teaches their kind.
MOST_HELD_OUT = 0.6
Split = tuple[tuple[LabelledStructure, ...], tuple[LabelledStructure, ...]]


def group_split(
    items: Sequence[LabelledStructure],
    fraction: float,
    seed: int,
    *,
    train_only: Collection[str] = (),
    keep_test: Collection[str] = (),
) -> Split:
    """(train, test): whole groups (``provenance.group``) on one side, about ``fraction`` of the
    groups held out.

    A group with a member in ``train_only`` (names: prototypes, equation-of-state points, what a
    selector chose) is never held out. Each other group draws a number in [0, 1) from the hash of
    its name and the seed; the lowest are held out until ``fraction`` of *all* groups is reached (at
    least one, at most MOST_HELD_OUT of those that may be), but never more than half of the groups
    of one strategy: an error on a kind that was not taught at all tells of the draw, not of the
    potential. Groups that were held out before (``keep_test``: names of structures) come first and
    stay, so the split is stable while data arrive. At least one group stays in training; with a
    single group the test set is empty.
    """
    strategy_of = {item.provenance.group: item.provenance.strategy for item in items}
    pinned = {item.provenance.group for item in items if item.name in train_only}
    earlier = {item.provenance.group for item in items if item.name in keep_test} - pinned
    draws = {group: _draw(group, seed) for group in sorted(set(strategy_of) - pinned)}
    wanted = min(
        max(1, round(fraction * len(strategy_of))),
        max(1, int(MOST_HELD_OUT * len(draws))),
        len(strategy_of) - 1,
    )
    order = sorted(draws, key=lambda group: (group not in earlier, draws[group]))
    held_out = _held_out(order, earlier, wanted, strategy_of)
    if held_out == set(strategy_of):
        held_out.discard(order[-1])
    train = tuple(item for item in items if item.provenance.group not in held_out)
    test = tuple(item for item in items if item.provenance.group in held_out)
    return train, test


def _held_out(
    order: Sequence[str], earlier: Collection[str], wanted: int, strategy_of: Mapping[str, str]
) -> set[str]:
    """``earlier``, and the first of ``order`` up to ``wanted`` that take no more than half of a
    strategy's groups.
    """
    if not order or wanted < 1:
        return set()
    groups_of, taken = (
        Counter(strategy_of.values()),
        Counter(strategy_of[group] for group in earlier),
    )
    held_out = set(earlier)
    for group in order:
        strategy = strategy_of[group]
        if (
            len(held_out) < wanted
            and group not in held_out
            and 2 * (taken[strategy] + 1) <= groups_of[strategy]
        ):
            taken[strategy] += 1
            held_out.add(group)
    return held_out or {order[0]}


def never_held_out(items: Sequence[LabelledStructure]) -> set[str]:
    """Names for ``train_only``: single atoms, which are references, and of each element the largest
    group that has it, so that no test set holds an element that is then unknown.
    """
    pinned = {item.name for item in items if len(item.atoms) == 1}
    groups = Counter(item.provenance.group for item in items)
    members: dict[str, set[str]] = {}
    for item in items:
        for symbol in set(item.atoms.get_chemical_symbols()):
            members.setdefault(symbol, set()).add(item.provenance.group)
    largest = {max(sorted(names), key=groups.__getitem__) for names in members.values()}
    return pinned | {item.name for item in items if item.provenance.group in largest}


def _draw(group: str, seed: int) -> float:
    """A number in [0, 1) that depends on group and seed alone, the same in every process and on
    every machine.
    """
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def one_method(items: Sequence[LabelledStructure]) -> bool:
    """Whether every label was made by the same DFT method: labels of two methods never meet in one
    training set.
    """
    return len({item.label.method_hash for item in items}) <= 1


def core_mask(item: LabelledStructure) -> NDArray[np.bool_]:
    """(n_atoms,) True where forces count: core atoms of a cutout, every atom of a whole cell."""
    mask = np.full(len(item.atoms), item.core is None)
    if item.core is not None:
        mask[list(item.core)] = True
    return mask


def refusal(item: LabelledStructure) -> str | None:
    """Why a label cannot be learned by any trainer, or None."""
    if np.shape(item.label.forces) != (len(item.atoms), 3):
        return "not one force for each atom"
    numbers = [item.atoms.positions, item.atoms.cell.array, item.label.forces]
    if not all(np.isfinite(part).all() for part in numbers):
        return "positions, cell or forces are not finite"
    if not np.isfinite(item.label.energy_ev):
        return "the energy is not finite"
    return None
