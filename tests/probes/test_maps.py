"""Maps on shared axes, the neighbours beside them, and what cannot be mapped. The layout itself is slow: numba compiles it first."""

from __future__ import annotations

import numpy as np
import pytest

from probes import maps
from probes.maps import EXACT, ROWS, aligned_maps, kept_shares, nearest, nearest_on_map, neighbours_of


def test_nearest_are_the_nearest_and_never_oneself():
    points = np.array([[0.0, 0], [1, 0], [3, 0], [7, 0]])

    np.testing.assert_array_equal(nearest(points, 2), [[1, 2], [0, 2], [1, 0], [2, 1]])


def test_nearest_over_several_blocks_of_rows_are_those_of_the_whole_matrix():
    points = np.random.default_rng(0).normal(size=(2 * ROWS + 7, 3))
    away = ((points[:, None] - points) ** 2).sum(axis=2)
    np.fill_diagonal(away, np.inf)

    np.testing.assert_array_equal(nearest(points, 4), np.argsort(away, axis=1)[:, :4])


def test_neighbours_come_with_their_distances():
    space = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    near, away = neighbours_of(space, 3, seed=0)

    np.testing.assert_array_equal(near, nearest(space, 3))
    np.testing.assert_allclose(away, np.linalg.norm(space[:, None] - space[near], axis=2), rtol=1e-5)
    assert (np.diff(away, axis=1) >= 0).all()


@pytest.mark.slow
def test_neighbours_beyond_the_exact_are_found_and_twins_do_not_hide_them():
    rng = np.random.default_rng(2)
    angles = rng.normal(size=(EXACT + 500, 3)) @ rng.normal(size=(3, 32))
    space = np.sin(angles).astype(np.float32)
    near, away = neighbours_of(space, 10, seed=0)
    again, _ = neighbours_of(space, 10, seed=0)

    assert kept_shares(near, nearest(space, 10)).mean() > 0.95
    assert not (near == np.arange(len(space))[:, None]).any()
    assert (np.diff(away, axis=1) >= 0).all()
    np.testing.assert_array_equal(near, again)
    same, none = neighbours_of(np.repeat(np.eye(3, 8, dtype=np.float32), 2000, axis=0), 10, seed=0)
    assert none.max() < 1e-3
    assert not (same == np.arange(6000)[:, None]).any()


def test_places_on_a_map_are_found_among_twins():
    found = nearest_on_map(np.zeros((40, 2)), 5)

    assert found.shape == (40, 5)
    assert not (found == np.arange(40)[:, None]).any()
    np.testing.assert_array_equal(nearest_on_map(np.array([[0.0, 0], [1, 0], [3, 0], [7, 0]]), 2), [[1, 2], [0, 2], [1, 0], [2, 1]])


def test_kept_shares_count_what_both_lists_hold():
    np.testing.assert_allclose(kept_shares(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[3, 1, 9], [7, 8, 9]])), [2 / 3, 0])


@pytest.fixture
def flat(monkeypatch):
    """A layout that takes two coordinates of the embedding: tests the bookkeeping around the library, not the library."""
    monkeypatch.setattr(maps, "lay_out", lambda space, *_, **__: space[:, :2].copy())


def test_every_map_has_its_images_and_their_true_neighbours(flat, make_pair):
    student, teacher, _ = make_pair(200)

    result = aligned_maps({"teacher": teacher, "student": student}, max_images=100, neighbours=5)

    rows = result.arrays["rows"]
    assert result.arrays["names"].tolist() == ["teacher", "student"]
    assert (result.arrays["domain"] == "real").sum() == 50
    np.testing.assert_array_equal(result.arrays["ids"], student.ids[rows])
    np.testing.assert_array_equal(result.arrays["neighbours/1"], nearest(student.unit()[rows], 5))
    share = [
        len(set(a) & set(b)) / 5 for a, b in zip(nearest(student.unit()[rows], 5), nearest(student.unit()[rows][:, :2], 5), strict=True)
    ]
    assert result.scores["kept/student"].value == pytest.approx(np.mean(share))
    assert result.scores["kept/student"].chance == pytest.approx(5 / 99)


def test_a_map_that_is_the_space_keeps_every_neighbour(flat, make_table):
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 120)
    circle = make_table(np.stack([np.cos(angle), np.sin(angle)], axis=1), np.zeros(120, int), np.arange(120) % 2 == 1)

    assert aligned_maps({"a": circle, "b": circle}, max_images=100, neighbours=5).scores["kept/a"].value == pytest.approx(1.0, abs=0.01)


def test_what_cannot_be_aligned_is_refused(flat, make_pair):
    student, teacher, _ = make_pair(200)

    with pytest.raises(ValueError, match="at least 2 encoders to align, got 1"):
        aligned_maps({"teacher": teacher})
    with pytest.raises(ValueError, match="`max_images` must be from 60 to 50000, got 60000"):
        aligned_maps({"teacher": teacher, "student": student}, max_images=60_000)
    with pytest.raises(ValueError, match="`neighbours` must be from 2"):
        aligned_maps({"teacher": teacher, "student": student}, max_images=60, neighbours=40)
    with pytest.raises(ValueError, match="must have the 200 images"):
        aligned_maps({"teacher": teacher.select(np.arange(160)), "student": student})


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2, 2.5])
def test_a_turned_map_is_as_wide_as_high_and_keeps_its_distances(angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    places = np.random.default_rng(3).normal(size=(80, 2)) * [5, 1] @ turn

    rotation = maps._turn_to_square(places)

    np.testing.assert_allclose(rotation @ rotation.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(*np.ptp(places @ rotation, axis=0), rtol=1e-9)


def test_a_start_of_one_place_is_refused():
    space = np.random.default_rng(4).normal(size=(40, 3)).astype(np.float32)

    with pytest.raises(ValueError, match="`start` must hold at least two different places"):
        maps.lay_out(space, *neighbours_of(space, 5, seed=0), seed=0, start=np.ones((40, 2)))


@pytest.mark.slow
def test_a_start_that_is_not_moved_comes_back_in_its_own_units(monkeypatch):
    monkeypatch.setattr(maps, "RATE", 1e-9)
    rng = np.random.default_rng(5)
    space, start = rng.normal(size=(60, 3)).astype(np.float32), rng.normal(size=(60, 2)) * [30, 4] + [-7, 100]

    moved = maps.lay_out(space, *neighbours_of(space, 5, seed=0), seed=0, start=start)

    np.testing.assert_allclose(moved, start, atol=1e-3)


@pytest.mark.slow
def test_the_layout_does_the_same_to_a_start_in_any_position(make_pair):
    student, teacher, _ = make_pair(240)
    near, away = neighbours_of(teacher.unit(), 10, seed=0)
    first = maps.lay_out(teacher.unit(), near, away, seed=0)
    near, away = neighbours_of(student.unit(), 10, seed=0)
    quarter = np.array([[0.0, 1], [-1, 0]])

    moved = maps.lay_out(student.unit(), near, away, seed=0, start=first)
    turned = maps.lay_out(student.unit(), near, away, seed=0, start=first @ quarter + 50)

    off = np.linalg.norm((turned - 50) @ quarter.T - moved, axis=1).mean()
    assert 0 < np.linalg.norm(moved - first, axis=1).mean() < 0.1 * np.ptp(first, axis=0).mean()
    assert off < 0.1 * np.ptp(first, axis=0).mean()


@pytest.mark.slow
def test_umap_keeps_neighbours_and_a_twin_stays_in_its_place(make_pair):
    student, teacher, _ = make_pair(240)

    result = aligned_maps({"teacher": teacher, "twin": teacher, "student": student}, max_images=200, neighbours=10)
    again = aligned_maps({"teacher": teacher, "twin": teacher, "student": student}, max_images=200, neighbours=10)

    first, twin = result.arrays["map/0"], result.arrays["map/1"]
    size = np.ptp(first, axis=0)
    assert np.linalg.norm(first - twin, axis=1).mean() < 0.1 * size.mean()
    np.testing.assert_allclose(np.ptp(twin, axis=0) / size, 1, atol=0.15)
    for name in ("teacher", "student"):
        assert result.scores[f"kept/{name}"].low > 3 * result.scores[f"kept/{name}"].chance
    np.testing.assert_array_equal(result.arrays["map/2"], again.arrays["map/2"])
