"""Farthest point sampling against its definition, and the composition of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from mlip_autopipec.science.selection import farthest_points, select


def _brute_force(points: np.ndarray, count: int, seeds: list[int]) -> list[int]:
    picked = list(seeds)
    for _ in range(count):
        scores = [
            -1.0 if index in picked else min(np.linalg.norm(points[index] - points[other]) for other in picked)
            for index in range(len(points))
        ]
        picked.append(int(np.argmax(scores)))
    return picked[len(seeds) :]


def test_picks_are_the_max_min_points() -> None:
    points = np.random.default_rng(0).normal(size=(40, 3))
    assert farthest_points(points, 8, taken=[5, 9]) == _brute_force(points, 8, [5, 9])


def test_existing_labels_repel() -> None:
    line = np.array([[0.0], [1.0], [2.0], [10.0]])
    assert farthest_points(line, 1, existing=np.array([[10.0]])) == [0]
    assert farthest_points(line, 1, existing=np.array([[0.0]])) == [3]


def test_ties_go_to_the_lower_index_and_nothing_is_picked_twice() -> None:
    points = np.array([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, 0]])
    assert farthest_points(points, 3, taken=[0]) == [1, 2, 3]
    assert sorted(farthest_points(points, 99)) == [0, 1, 2, 3, 4]


def test_without_a_seed_the_first_is_the_most_typical() -> None:
    points = np.array([[0.0], [4.0], [5.0], [11.0]])
    assert farthest_points(points, 2)[0] == 2


def test_a_batch_has_its_forced_random_and_farthest_share() -> None:
    points = np.random.default_rng(1).normal(size=(100, 4))
    picked = select(points, 30, np.random.default_rng(2), forced=[3, 50, 3], random_fraction=0.33)
    assert picked.forced == (3, 50)
    assert (len(picked.farthest), len(picked.random)) == (19, 9)
    assert len(set(picked.all)) == 30
    again = select(points, 30, np.random.default_rng(2), forced=[3, 50], random_fraction=0.33)
    assert picked == again
    other = select(points, 30, np.random.default_rng(3), forced=[3, 50], random_fraction=0.33)
    assert other.farthest == picked.farthest and other.random != picked.random


def test_farthest_points_cover_better_than_chance() -> None:
    """The reason to have it: the largest hole left is smaller than after a random draw of the same size."""
    rng = np.random.default_rng(4)
    points = np.concatenate([rng.normal(size=(180, 2)) * 0.1, rng.normal(size=(20, 2)) * 3])

    def hole(rows: tuple[int, ...]) -> float:
        return float(np.linalg.norm(points[:, None] - points[list(rows)], axis=2).min(axis=1).max())

    fps = select(points, 15, rng, random_fraction=0.0)
    assert fps.random == ()
    for seed in range(5):
        chance = select(points, 15, np.random.default_rng(seed), method="random")
        assert hole(fps.all) < 0.7 * hole(chance.all)


def test_method_random_is_even_and_keeps_the_forced() -> None:
    points = np.random.default_rng(1).normal(size=(20, 2))
    hits = np.zeros(20)
    for seed in range(400):
        picked = select(points, 5, np.random.default_rng(seed), forced=[7], method="random")
        assert picked.farthest == () and 7 in picked.all and len(picked.all) == 5
        hits[list(picked.random)] += 1
    assert hits[7] == 0
    # 400 draws of 4 of 19: 84 +- 8 each
    assert np.delete(hits, 7).min() > 50 and np.delete(hits, 7).max() < 120


def test_the_random_share_meets_every_family() -> None:
    rng = np.random.default_rng(0)
    crowd = rng.normal(size=(50, 2)) * 10
    quiet = rng.normal(size=(50, 2)) * 0.01
    families = ["melt"] * 50 + ["rattle"] * 25 + ["strain"] * 25
    points = np.concatenate([crowd, quiet])
    picked = select(points, 18, np.random.default_rng(5), random_fraction=1 / 3, families=families)
    names = [families[index] for index in picked.all]
    assert names.count("melt") <= 6  # a third at most, however far its points lie
    assert abs(names.count("rattle") - names.count("strain")) <= 1
    assert min(names.count("rattle"), names.count("strain")) >= 3


@pytest.mark.parametrize("count, expected", [(2, 3), (10, 6), (0, 3)])
def test_fewer_or_more_than_there_are(count: int, expected: int) -> None:
    """All forced ones stay even when they are more than asked; never more rows than there are."""
    points = np.random.default_rng(1).normal(size=(6, 2))
    assert len(select(points, count, np.random.default_rng(0), forced=[0, 1, 2]).all) == expected


def test_farthest_points_take_no_more_than_allowed_of_one_family() -> None:
    points = np.concatenate([np.arange(10.0)[:, None] * 100, np.arange(10.0)[:, None]])
    families = ["far"] * 10 + ["near"] * 10
    picks = farthest_points(points, 8, families=families, most_per_family=3)
    assert len(picks) == len(set(picks)) == 6
    assert [families[index] for index in picks].count("far") == 3
