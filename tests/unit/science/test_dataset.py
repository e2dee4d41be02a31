"""Held-out groups and errors over unmasked atoms."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from mlip_autopipec.base.labels import Label, LabelledStructure
from mlip_autopipec.base.structures import Provenance
from mlip_autopipec.science.dataset import group_split, one_method


def structure(
    name: str,
    group: str,
    *,
    core: tuple[int, ...] | None = None,
    energy: float = -2.0,
    method: str = "m",
    strategy: str = "rattle",
) -> LabelledStructure:
    atoms = Atoms("Si2", positions=[[0, 0, 0], [2.3, 0, 0]], cell=[8, 8, 8], pbc=True)
    label = Label(energy, np.array([[1.0, 0, 0], [-1.0, 0, 0]]), None, method, 1, 0.0)
    return LabelledStructure(name, atoms, label, Provenance(strategy, group), core)


def family(groups: int, members: int = 3) -> list[LabelledStructure]:
    return [structure(f"{g}-{m}", f"group-{g}") for g in range(groups) for m in range(members)]


def names(items: tuple[LabelledStructure, ...]) -> set[str]:
    return {item.name for item in items}


@settings(max_examples=60, deadline=None)
@given(
    groups=st.integers(2, 40),
    members=st.integers(1, 4),
    fraction=st.floats(0.01, 0.49),
    seed=st.integers(0, 99),
)
def test_every_row_is_on_one_side_and_groups_stay_together(
    groups: int, members: int, fraction: float, seed: int
) -> None:
    items = family(groups, members)
    train, test = group_split(items, fraction, seed)
    assert train and test
    assert len(train) + len(test) == len(items)
    assert names(train) | names(test) == {item.name for item in items}
    assert not {item.provenance.group for item in train} & {item.provenance.group for item in test}


def test_a_held_out_group_stays_held_out_as_data_grow() -> None:
    before: set[str] = set()
    for groups in range(2, 60):
        _, test = group_split(family(groups), 0.1, 7, keep_test=before)
        assert before <= names(test)
        before = names(test)
    assert 3 <= len({name.split("-")[0] for name in before}) <= 12  # about a tenth of 59 groups


def test_what_was_held_out_once_is_never_taught_even_where_fewer_are_wanted_now() -> None:
    items = family(20)
    before = {item.name for item in items[:15]}  # five groups, where a tenth would be two
    train, test = group_split(items, 0.1, 7, keep_test=before)
    assert names(test) == before
    assert len(train) == 45


def test_the_split_follows_the_seed_and_nothing_else() -> None:
    items = family(50)
    first = names(group_split(items, 0.2, 1)[1])
    assert first == names(group_split(items[::-1], 0.2, 1)[1])
    assert first != names(group_split(items, 0.2, 2)[1])


def test_prototypes_are_never_held_out() -> None:
    items = family(6)
    for seed in range(20):
        _, test = group_split(items, 0.4, seed, train_only={"2-0", "3-1"})
        assert test
        assert not {item.provenance.group for item in test} & {"group-2", "group-3"}


def test_no_strategy_is_held_out_as_a_whole() -> None:
    items = [structure(f"t{g}", f"thermal-{g}", strategy="thermal") for g in range(3)]
    items += [structure(f"s{g}", f"strain-{g}", strategy="strain") for g in range(12)]
    chosen = {f"s{g}" for g in range(10)}  # by a selector: may not be held out
    for seed in range(30):
        train, test = group_split(items, 0.3, seed, train_only=chosen)
        held = [item.provenance.strategy for item in test]
        assert held.count("thermal") <= 1
        # Both strained cells that chance picked may go: ten others teach the kind.
        assert len(test) == 3
        assert names(train) >= chosen


def test_with_one_group_of_each_kind_one_is_still_held_out() -> None:
    items = [structure(kind, kind, strategy=kind) for kind in ("thermal", "strain", "vacancy")]
    train, test = group_split(items, 0.15, 1)
    assert (len(train), len(test)) == (2, 1)


def test_a_single_group_is_all_training() -> None:
    train, test = group_split(family(1), 0.4, 0)
    assert len(train) == 3
    assert test == ()


def test_training_keeps_a_group_even_when_all_draw_low() -> None:
    for seed in range(50):
        train, test = group_split(family(2), 0.49, seed, keep_test={"0-0", "1-0"})
        assert train
        assert test


def test_two_methods_are_seen() -> None:
    assert one_method([structure("a", "a"), structure("b", "b")])
    assert not one_method([structure("a", "a"), structure("b", "b", method="other")])
