"""Every selector against its definition, tables read in parts against arrays, and the composition
of a batch.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

from mlip_autopipec.science.selection import (
    METHODS,
    Method,
    cluster_points,
    d_optimal_points,
    farthest_environments,
    farthest_points,
    nearest_distances,
    numbers_per_second,
    principal_components,
    rows,
    select,
)
from mlip_autopipec.selecting.table import RowTable


def _brute_force(points: np.ndarray, count: int, seeds: list[int]) -> list[int]:
    picked = list(seeds)
    for _ in range(count):
        scores = [
            -1.0
            if index in picked
            else np.linalg.norm(points[index] - points[picked], axis=1).min()
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


@pytest.mark.parametrize("method", METHODS)
def test_whatever_the_method_a_batch_is_forced_ones_then_its_picks_then_chance(
    method: Method,
) -> None:
    points = np.random.default_rng(1).normal(size=(60, 4))
    found = [
        select(
            points,
            20,
            np.random.default_rng(seed),
            forced=[50, 3, 50],
            method=method,
            random_fraction=0.33,
        )
        for seed in (2, 2, 3)
    ]
    picked = found[0]
    assert picked == found[1] and picked.all != found[2].all
    assert picked.all[:2] == picked.forced == (50, 3)
    assert len(set(picked.all)) == len(picked.all) == len(picked.reasons) == 20
    directed = 0 if method == "random" else 12  # of 18 that are free a third is drawn
    assert (len(picked.directed), len(picked.random)) == (directed, 18 - directed)
    middle = {"clusters": "cluster", "d_optimal": "d_optimal"}.get(method, "farthest")
    assert list(picked.reasons) == ["forced"] * 2 + [middle] * directed + ["random"] * (
        18 - directed
    )


@pytest.mark.parametrize("method", ["fps", "environments", "clusters", "d_optimal"])
def test_no_method_asks_again_for_what_is_labelled(method: Method) -> None:
    """Three kinds of rows in orthogonal directions; two kinds are labelled, so the picks are all of
    the third.
    """
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.eye(3) * 10, 12, axis=0)
    points = kinds + rng.normal(size=kinds.shape) * 0.1
    existing = np.repeat(np.eye(3)[:2] * 10, 5, axis=0) + rng.normal(size=(10, 3)) * 0.1
    picked = select(points, 2, rng, method=method, random_fraction=0.0, existing=existing)
    assert picked.directed[0] >= 24
    alone = select(points, 3, rng, method=method, random_fraction=0.0)
    assert {index // 12 for index in alone.directed} == {0, 1, 2}


def test_farthest_points_cover_better_than_chance() -> None:
    """The reason to have it: the largest hole left is smaller than after a random draw of the same
    size.
    """
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


def test_many_seeds_and_shielded_rows_change_no_pick() -> None:
    """Rows near their seed are not looked at again; the picks are those of the definition, on
    clustered points.
    """
    rng = np.random.default_rng(6)
    points = (rng.normal(size=(12, 1, 5)) * 5 + rng.normal(size=(12, 30, 5)) * 0.2).reshape(-1, 5)
    assert farthest_points(points, 40, taken=[7]) == _brute_force(points, 40, [7])
    existing = rng.normal(size=(300, 5)) * 4  # more than are taken in at once
    expected = _brute_force(np.concatenate([points, existing]), 5, list(range(360, 660)))
    assert farthest_points(points, 5, existing=existing) == expected


def test_distances_of_picks_are_those_of_the_sampling() -> None:
    line = np.array([[0.0], [1.0], [2.0], [10.0]])
    assert nearest_distances(line, [3, 0, 2]) == [np.inf, 10.0, 2.0]
    assert nearest_distances(line, [3, 0, 2], existing=np.array([[9.0], [2.5]])) == [1.0, 2.5, 0.5]
    picks = farthest_points(line, 3, existing=np.array([[9.0]]))
    found = nearest_distances(line, picks, existing=np.array([[9.0]]))
    assert found == sorted(found, reverse=True)


def test_the_strangest_atom_decides_and_brings_its_whole_structure() -> None:
    """Structure means hide one odd atom; environments show it, and all atoms of a pick are known
    afterwards.
    """
    environments = np.array(
        [[0.0], [0.0], [0.0], [1.0], [1.0], [1.0], [0.0], [0.0], [9.0], [9.2], [0.5], [0.0]]
    )
    starts = np.array([0, 3, 6, 9, 12])
    existing = np.array([[0.0]])
    assert farthest_environments(environments, starts, 1, existing) == [3]
    # 9.2 is known by now, so 9.0 is news no more: the atoms at 1.0 are farther
    assert farthest_environments(environments, starts, 2, existing) == [3, 1]
    means = np.array([environments[a:b].mean(axis=0) for a, b in pairwise(starts)])
    assert farthest_environments(means, np.arange(5), 3, existing) == farthest_points(
        means, 3, existing
    )
    assert nearest_distances(environments, [3, 1], existing, starts) == pytest.approx([9.2, 0.5])


def test_one_pick_of_each_separate_cluster_nearest_its_centre() -> None:
    rng = np.random.default_rng(8)
    centres = rng.permutation(np.eye(7, 9))[:6] * 50
    points = np.concatenate(
        [rng.normal(size=(20 + 5 * number, 9)) + centre for number, centre in enumerate(centres)]
    )
    owner = np.repeat(np.arange(6), [20 + 5 * number for number in range(6)])
    picks = cluster_points(points, 6, np.random.default_rng(0))
    assert owner[picks].tolist() == [5, 4, 3, 2, 1, 0]  # the largest first
    mean, directions = principal_components(points)
    projected = (points - mean) @ directions
    for pick in picks:
        members = np.flatnonzero(owner == owner[pick])
        away = np.linalg.norm(projected[members] - projected[members].mean(axis=0), axis=1)
        assert pick == members[np.argmin(away)]
    # what is labelled speaks for its cluster
    others = cluster_points(points, 4, np.random.default_rng(0), existing=centres[[1, 3]])
    assert sorted(owner[others].tolist()) == [0, 2, 4, 5]
    forced = [int(np.flatnonzero(owner == 5)[0])]
    assert 5 not in owner[cluster_points(points, 5, np.random.default_rng(0), taken=forced)]


def test_clusters_give_as_many_as_asked_even_of_few_different_points() -> None:
    points = np.repeat(np.array([[0.0, 0], [1, 0], [0, 5]]), 4, axis=0)
    picks = cluster_points(points, 7, np.random.default_rng(0))
    assert len(set(picks)) == 7 and {tuple(points[pick]) for pick in picks[:3]} == {
        (0, 0),
        (1, 0),
        (0, 5),
    }
    families = ["a"] * 4 + ["b"] * 8
    few = cluster_points(points, 7, np.random.default_rng(0), families=families, most_per_family=2)
    assert sorted(families[pick] for pick in few) == ["a", "a", "b", "b"]


def test_principal_components_span_the_variance() -> None:
    rng = np.random.default_rng(3)
    plane = np.linalg.qr(rng.normal(size=(20, 2)))[0]
    points = rng.normal(size=(300, 2)) * [5, 2] @ plane.T + 1e-3 * rng.normal(size=(300, 20)) + 7
    mean, directions = principal_components(points)
    assert mean == pytest.approx(points.mean(axis=0))
    assert directions.shape == (20, 2)
    assert np.linalg.norm(plane.T @ directions, ord=-2) == pytest.approx(1.0, abs=1e-3)


def _volume(matrix: np.ndarray, picks: tuple[int, ...] | list[int]) -> float:
    return float(abs(np.linalg.det(matrix[list(picks)])))


def test_maxvol_finds_the_planted_submatrix() -> None:
    """As many picks as columns and no ridge: the square submatrix of largest volume."""
    rng = np.random.default_rng(5)
    matrix = rng.uniform(-1, 1, size=(60, 4))
    matrix[[11, 23, 37, 48]] = 3 * np.linalg.qr(rng.normal(size=(4, 4)))[0]
    assert sorted(d_optimal_points(matrix, 4, ridge=1e-12)) == [11, 23, 37, 48]


@pytest.mark.parametrize("seed", range(5))
def test_maxvol_is_near_the_best_of_all_submatrices(seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(16, 3))
    best = max(_volume(matrix, picks) for picks in combinations(range(16), 3))
    picks = d_optimal_points(matrix, 3, ridge=1e-12, gain=1.0001)
    found = _volume(matrix, picks)
    assert found > 0.8 * best
    inside = [
        _volume(matrix, [*picks[:place], row, *picks[place + 1 :]])
        for place in range(3)
        for row in range(16)
    ]
    assert found >= max(inside) * (1 - 1e-3)  # no single exchange helps: the property of MaxVol


@pytest.mark.parametrize("count", [5, 12, 40])
def test_d_optimal_picks_say_more_than_random_ones(count: int) -> None:
    """Fewer picks than columns, as many and more: the determinant of the information is larger than
    by chance.
    """
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(300, 12)) * np.geomspace(1, 1e-2, 12) + 1.0
    existing = matrix[:3]

    def information(picks: list[int]) -> float:
        own = np.concatenate([existing, matrix[picks]])
        return float(np.linalg.slogdet(own.T @ own + 1e-6 * np.eye(12))[1])

    picks = d_optimal_points(matrix, count, existing, taken=[0, 1, 2])
    assert len(set(picks)) == count and not {0, 1, 2} & set(picks)
    chance = [information(rng.choice(300, count, replace=False).tolist()) for _ in range(50)]
    assert information(picks) > max(chance)
    assert information(picks) > information(
        farthest_points(matrix, count, existing, taken=[0, 1, 2])
    )


def test_d_optimal_does_not_ask_what_is_known() -> None:
    axes = np.array([[3.0, 0, 0], [0, 2, 0], [0, 0, 1], [1, 1, 0]])
    assert d_optimal_points(axes, 1, existing=np.array([[5.0, 0, 0], [0, 5, 0]])) == [2]
    two = d_optimal_points(axes, 2, families=["a", "b", "b", "b"], most_per_family=1)
    assert sorted(["a", "b", "b", "b"][pick] for pick in two) == ["a", "b"]


@pytest.mark.parametrize("method", ["fps", "environments", "clusters", "d_optimal"])
def test_a_table_on_disk_gives_the_picks_of_the_array(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading in blocks of any size, from anywhere in a file, changes nothing."""
    array = np.random.default_rng(2).normal(size=(500, 6)).astype(np.float32)
    table = RowTable(tmp_path, {"kind": "test"}, 6)
    keys = [number.to_bytes(16, "little") for number in range(500)]
    order = np.random.default_rng(3).permutation(500)
    for part in np.split(order, 4):
        table.add(
            [keys[number] for number in part], [array[number : number + 1] for number in part]
        )
    stored, starts = RowTable(tmp_path, {"kind": "test"}, 6).rows(keys)
    assert np.array_equal(stored[:], array) and starts.tolist() == list(range(501))
    existing, forced = array[:9] + 1, [4, 77]
    found = []
    for source, size in ((array, 8 * 2**20), (stored, 8 * 2**20), (stored, 8 * 6 * 37)):
        monkeypatch.setattr(rows, "BLOCK_BYTES", size)
        rng = np.random.default_rng(0)
        found.append(select(source, 60, rng, method=method, forced=forced, existing=existing))  # type: ignore[arg-type]
    assert found[0] == found[1] == found[2]
    assert len(set(found[0].all)) == 60
    assert found[0].reasons[:2] == ("forced", "forced") and found[0].reasons.count("random") == len(
        found[0].random
    )


@pytest.mark.parametrize("method", ["clusters", "d_optimal"])
def test_every_method_keeps_families_within_their_share(method: str) -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(50, 3)) * 10, rng.normal(size=(50, 3)) * 0.1])
    families = ["melt"] * 50 + ["rattle"] * 25 + ["strain"] * 25
    picked = select(points, 20, rng, random_fraction=0.4, families=families, method=method)  # type: ignore[arg-type]
    assert len(set(picked.all)) == 20
    assert (
        max([families[index] for index in picked.directed].count(name) for name in set(families))
        <= 4
    )
    assert set(picked.reasons) == {{"clusters": "cluster"}.get(method, method), "random"}


def test_information_is_weighed_by_what_it_costs() -> None:
    """On a line: far and dear against near and cheap."""
    points = np.array([[0.0], [1.0], [2.0], [3.0]])
    known = np.array([[0.0]])
    assert farthest_points(points, 1, known) == [3]
    assert farthest_points(points, 1, known, worth=np.array([1.0, 1.0, 1.0, 0.6])) == [2]
    assert farthest_points(points, 1, known, worth=np.array([1.0, 1.0, 1.0, 0.7])) == [3]
    even = np.full(4, 0.2)
    assert farthest_points(points, 3, known, worth=even) == farthest_points(points, 3, known)
    dear = np.array([9.0, 1e-6, 1e-6, 1e-6])
    assert farthest_points(points, 4, worth=dear, taken=[0]) == [3, 1, 2]  # none is picked twice
    picked = select(
        points,
        2,
        np.random.default_rng(0),
        existing=known,
        random_fraction=0.0,
        worth=np.array([1.0, 1.0, 1.0, 0.6]),
    )
    assert picked.directed[0] == 2


def test_small_cells_give_the_most_numbers_for_a_second() -> None:
    worth = numbers_per_second([2, 4, 8, 16], [3.5, 9.0, 28.0, 52.0])  # silicon, measured
    assert list(worth) == sorted(worth, reverse=True)
    assert worth[1] == pytest.approx(19 / 9)
    assert np.isfinite(numbers_per_second([1], [0.0])).all()
