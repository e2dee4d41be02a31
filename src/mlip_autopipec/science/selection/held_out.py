"""Which candidates judge the fits: drawn before anything else, so that no choice of training data depends on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

__all__ = ["MOST_OF_A_FAMILY", "hold_out"]

# Two voids of silicon take an interstitial. With one of them held out its energy was 12 meV/atom off, all else 3.
MOST_OF_A_FAMILY = 1 / 3


def hold_out(
    groups: Sequence[str],
    families: Sequence[str],
    count: int,
    rng: np.random.Generator,
    *,
    pinned: Collection[int] = (),
) -> tuple[int, ...]:
    """At most ``count`` rows to hold out, one of a group, drawn at random and spread evenly over the families.

    ``groups`` and ``families`` (one name per row): rows of a group resemble each other, so the caller leaves the whole
    group out of the training set; a family is what one strategy made. A group with a row in ``pinned`` stays in the
    training set, and of a family at most MOST_OF_A_FAMILY of its groups are held out: errors on a kind that was hardly
    taught would tell of the draw, not of the potential. Fewer than ``count`` where that leaves fewer.
    """
    staying = {groups[index] for index in pinned}
    family_of = dict(zip(groups, families, strict=True))
    groups_of = Counter(family_of.values())
    held_out: list[int] = []
    taken: Counter[str] = Counter()
    waiting = [int(index) for index in rng.permutation(len(groups)) if groups[index] not in staying]
    while len(held_out) < count:
        used = {groups[index] for index in held_out}
        able = [
            index
            for index in waiting
            if groups[index] not in used
            and taken[families[index]] + 1 <= MOST_OF_A_FAMILY * groups_of[families[index]] + 1e-9
        ]
        if not able:
            break
        index = min(able, key=lambda index: taken[families[index]])
        taken[families[index]] += 1
        held_out.append(index)
    return tuple(held_out)
