"""What is drawn to judge the fits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mlip_autopipec.science.selection import hold_out

FAMILIES = ["prototypes"] * 4 + ["strain"] * 40 + ["thermal"] * 24 + ["vacancy"] * 9 + ["interstitial"] * 4
#: Groups of one, two, four (a stretch of a trajectory), three and two (the two voids of diamond) rows.
GROUPS = [
    *[f"p{n}" for n in range(4)], *[f"s{n // 2}" for n in range(40)], *[f"t{n // 4}" for n in range(24)],
    *[f"v{n // 3}" for n in range(9)], *[f"i{n // 2}" for n in range(4)],
]  # fmt: skip
PINNED = (0, 1, 2, 3, 44, 52)  # all prototypes, and a frame of two stretches


def drawn(count: int, seed: int = 0) -> tuple[int, ...]:
    return hold_out(GROUPS, FAMILIES, count, np.random.default_rng(seed), pinned=PINNED)


@pytest.mark.parametrize("seed", range(20))
def test_one_of_a_group_evenly_from_families_that_have_enough(seed: int) -> None:
    rows = drawn(6, seed)
    groups = [GROUPS[row] for row in rows]
    assert len(set(groups)) == len(groups) == 6
    assert not {GROUPS[row] for row in PINNED} & set(groups)
    assert Counter(FAMILIES[row] for row in rows) == {"strain": 3, "thermal": 2, "vacancy": 1}


def test_a_family_of_two_groups_is_never_held_out_and_fewer_come_than_were_asked_for() -> None:
    held_out = Counter(FAMILIES[row] for row in drawn(1000))
    assert held_out == {"strain": 6, "thermal": 2, "vacancy": 1}


def test_chance_decides_which_and_the_seed_decides_chance() -> None:
    assert drawn(5, 3) == drawn(5, 3)
    assert len({drawn(5, seed) for seed in range(10)}) == 10
    assert drawn(0) == () and hold_out([], [], 3, np.random.default_rng(0)) == ()
