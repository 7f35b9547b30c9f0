"""Distances between clouds: equal to torch-fidelity and torchmetrics on the same embeddings, closed forms, laws, honest floors.

Tolerance 1e-4 relative, not 1e-10: the libraries take a matrix root or means in float32.
"""

from __future__ import annotations

import numpy as np
import pytest

from probes.separability.distance_scores import distance_scores
from probes.separability.distances import all_distances, cmmd, frechet_distance, kernel_inception_distance, median_bandwidth
from probes.separability.precision_recall import precision_recall


@pytest.fixture(scope="module")
def clouds():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(12, 12))
    return rng.normal(size=(300, 12)) @ mix, rng.normal(size=(240, 12)) @ mix * 0.8 + 0.5


def test_frechet_and_kid_are_those_of_torch_fidelity(clouds):
    torch = pytest.importorskip("torch")
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = (torch.from_numpy(part) for part in clouds)

    frechet = fid.fid_statistics_to_metric(*(fid.fid_features_to_statistics(part) for part in (x, y)), verbose=False)
    same_size = kid.kid_features_to_metric(x[:240], y, kid_subsets=1, kid_subset_size=240, verbose=False)

    assert frechet_distance(*clouds) == pytest.approx(frechet["frechet_inception_distance"], rel=1e-4)
    assert kernel_inception_distance(clouds[0][:240], clouds[1]) == pytest.approx(same_size["kernel_inception_distance_mean"], rel=1e-4)


def test_frechet_and_kid_are_those_of_torchmetrics(clouds):
    torch = pytest.importorskip("torch")
    fid = pytest.importorskip("torchmetrics.image.fid")
    kid = pytest.importorskip("torchmetrics.image.kid")
    x, y = (torch.from_numpy(part) for part in clouds)

    frechet = fid._compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))

    assert frechet_distance(*clouds) == pytest.approx(float(frechet), rel=1e-4)
    assert kernel_inception_distance(clouds[0][:240], clouds[1]) == pytest.approx(float(kid.poly_mmd(x[:240], y)), rel=1e-4)


def test_precision_and_recall_are_those_of_torch_fidelity(clouds):
    torch = pytest.importorskip("torch")
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    x, y = (torch.from_numpy(part) for part in clouds)

    # torch-fidelity's first set is the generated one
    expected = prc.prc_features_to_metric(y, x, prc_neighborhood=3, prc_batch_size=1000, save_cpu_ram=False, verbose=False)
    ours = precision_recall(*clouds, neighbours=3)

    assert ours["precision"] == pytest.approx(expected["precision"], abs=1e-6)  # float32 mean
    assert ours["recall"] == pytest.approx(expected["recall"], abs=1e-6)


def test_precision_recall_density_and_coverage_follow_their_definitions(clouds):
    """Naeem et al. (2020), equations 1-6, written out over single images."""
    real, made, k = clouds[0][:60], clouds[1][:50], 4

    def reach(cloud, i):
        return np.sort(np.linalg.norm(cloud - cloud[i], axis=1))[k]  # the image itself is at place 0

    balls_real, balls_made = [reach(real, i) for i in range(60)], [reach(made, j) for j in range(50)]
    inside = np.array([[np.linalg.norm(made[j] - real[i]) < balls_real[i] for j in range(50)] for i in range(60)])
    inside_made = np.array([[np.linalg.norm(made[j] - real[i]) < balls_made[j] for j in range(50)] for i in range(60)])
    expected = {
        "precision": np.mean([inside[:, j].any() for j in range(50)]),
        "recall": np.mean([inside_made[i].any() for i in range(60)]),
        "density": sum(inside[:, j].sum() for j in range(50)) / (k * 50),
        "coverage": np.mean([inside[i].any() for i in range(60)]),
    }

    assert precision_recall(real, made, neighbours=k) == pytest.approx(expected)


def test_cmmd_is_the_published_formula(clouds):
    """Jayasumana et al.: 1000 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)), diagonals kept, gamma = 1 / (2 sigma^2)."""
    x, y = (part[:40] / np.linalg.norm(part[:40], axis=1, keepdims=True) for part in clouds)

    def mean(a, b, gamma):
        return np.mean([[np.exp(-gamma * np.sum((p - q) ** 2)) for q in b] for p in a])

    for bandwidth in (10.0, 0.7):
        gamma = 1 / (2 * bandwidth**2)
        expected = 1000 * (mean(x, x, gamma) + mean(y, y, gamma) - 2 * mean(x, y, gamma))
        assert cmmd(x, y, bandwidth=bandwidth) == pytest.approx(expected, rel=1e-8)


def test_cmmd_at_its_own_bandwidth_sees_the_means_and_little_else(clouds):
    """On rows of length one k is about 1 - d^2 / 200, so that CMMD is about 10 ||m_x - m_y||^2; the next term is d^4 / 80000 < 1 %."""
    x, y = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in clouds)

    assert cmmd(x, y) == pytest.approx(10 * np.sum((x.mean(0) - y.mean(0)) ** 2), rel=0.03)


def test_frechet_of_two_gaussians_is_the_closed_form():
    """N(0, I) and N(m, 4 I) in D = 3: ||m||^2 + D (2 - 1)^2 = 4 + 3; at 40,000 images the s.d. is about 0.05."""
    rng = np.random.default_rng(1)

    found = frechet_distance(rng.normal(size=(40_000, 3)), 2 * rng.normal(size=(40_000, 3)) + [2, 0, 0])

    assert found == pytest.approx(7.0, abs=0.2)


@pytest.mark.parametrize("distance", [frechet_distance, cmmd, kernel_inception_distance])
def test_distances_are_symmetric_and_turn_with_the_space(distance, clouds):
    x, y = clouds
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(12, 12)))[0]

    assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-8)
    assert distance(x @ turn, y @ turn) == pytest.approx(distance(x, y), rel=1e-6)


def test_a_cloud_is_at_no_distance_from_itself(clouds):
    assert frechet_distance(clouds[0], clouds[0]) == pytest.approx(0.0, abs=1e-8)
    assert cmmd(clouds[0], clouds[0]) == pytest.approx(0.0, abs=1e-9)
    found = precision_recall(clouds[0], clouds[0])
    assert found["precision"] == found["recall"] == found["coverage"] == 1.0


def test_frechet_does_not_break_where_a_coordinate_is_constant(clouds):
    flat = np.concatenate([clouds[0], np.ones((300, 3))], axis=1)

    assert frechet_distance(flat, flat + 0.1) == pytest.approx(0.15, abs=1e-8)


def test_the_median_bandwidth_is_the_median_distance():
    x = np.array([[0.0], [1.0], [3.0]])  # distances 1, 2, 3

    assert median_bandwidth(x) == pytest.approx(2.0)
    assert median_bandwidth(np.ones((4, 2))) == 1.0


def test_more_neighbours_than_images_are_refused():
    with pytest.raises(ValueError, match="`neighbours` must be below the 4 images of the smaller set, got 5; lower it"):
        precision_recall(np.eye(9)[:4], np.eye(9))


def _world(seed, shift, n=100):
    rng = np.random.default_rng(seed)
    labels, synthetic = np.arange(2 * n) % 4, np.arange(2 * n) >= n
    x = 3 * np.eye(12)[labels] + rng.normal(size=(2 * n, 12))
    x[:, -1] += shift * synthetic
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels, synthetic


def test_the_pass_over_kernels_gives_the_plain_distances_of_the_halves():
    """One pass over all kernels must equal the functions of two clouds on the very halves."""
    x, labels, synthetic = _world(0, 1.0)
    from probes.separability.distance_scores import _halves, _mean_kernels

    halves = _halves(labels, synthetic, seed=0)
    found = {name: values[1] for name, values in _mean_kernels(x, halves, seed=0).items()}
    a, b, c = halves[3]

    assert len(np.intersect1d(halves[3][0], halves[3][1])) == 0
    assert found["kid"][3] == pytest.approx(kernel_inception_distance(x[a], x[c]), rel=1e-6)
    assert _mean_kernels(x, halves, seed=0)["kid"][0][3] == pytest.approx(kernel_inception_distance(x[a], x[b]), rel=1e-6)
    assert found["cmmd"][3] == pytest.approx(cmmd(x[a], x[c]), rel=1e-6)
    assert found["cmmd_median"][3] == pytest.approx(cmmd(x[a], x[c], bandwidth=median_bandwidth(x)), rel=1e-6)


def test_equal_domains_lie_at_the_floor_and_a_shift_above_it():
    """30 worlds without a difference: each interval may leave out its floor once or twice; 5 or more come once in 60."""
    missed: dict[str, int] = {}
    for seed in range(30):
        for name, score in distance_scores(*_world(seed, 0.0, n=60), seed=seed)[0].items():
            missed[name] = missed.get(name, 0) + (not score.low <= score.chance <= score.high)
    shifted = distance_scores(*_world(0, 3.0), seed=0)[0]

    assert max(missed.values()) <= 5, missed
    for name in ("frechet", "kid", "cmmd", "cmmd_median"):
        assert shifted[f"distance/{name}"].low > shifted[f"distance/{name}"].chance
    for name in ("precision", "recall", "coverage"):
        assert shifted[f"distance/{name}"].value < shifted[f"distance/{name}"].chance
    assert shifted["distance/coverage"].high < shifted["distance/coverage"].chance


def test_too_few_images_have_no_distances():
    assert distance_scores(*_world(0, 0.0, n=16), seed=0) == ({}, {})


def test_one_pass_gives_what_each_distance_gives(monkeypatch, clouds):
    from probes.stats import pairwise_tiles

    monkeypatch.setattr(pairwise_tiles, "TILE", 70)  # several tiles, the last ones narrow
    x, y = (part.astype(np.float32) for part in clouds)

    found = all_distances(x, y, neighbours=3)

    whole_kernel = lambda a, b: (a.astype(float) @ b.T.astype(float) / 12 + 1) ** 3  # noqa: E731
    xx, yy, xy = whole_kernel(x, x), whole_kernel(y, y), whole_kernel(x, y)
    kid = (xx.sum() - np.trace(xx)) / (300 * 299) + (yy.sum() - np.trace(yy)) / (240 * 239) - 2 * xy.mean()
    assert found["kid"] == pytest.approx(kid, rel=1e-5)
    assert found["frechet"] == pytest.approx(frechet_distance(*clouds), rel=1e-5)
    assert {name: found[name] for name in ("precision", "recall", "density", "coverage")} == pytest.approx(
        precision_recall(*clouds, neighbours=3), abs=1e-2
    )


@pytest.mark.parametrize("columns", [3, 200, 1000])
def test_the_least_of_a_row_are_those_of_sorting(columns):
    from probes.stats.pairwise_tiles import least

    values = np.random.default_rng(0).random((50, columns)).astype(np.float32)

    found = np.sort(least(values, 5), axis=1)[:, : min(5, columns)]

    np.testing.assert_array_equal(found, np.sort(values, axis=1)[:, :5])


def test_the_reach_among_drawn_rows_is_that_of_their_own_cloud():
    """Also of a row in a lump of sixty of which no other was drawn."""
    from probes.separability.distance_scores import NEIGHBOURS, neighbour_distances
    from probes.separability.precision_recall import Manifold

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 12))
    x[:60] = x[0] + 1e-3 * rng.normal(size=(60, 12))  # a lump of which the first draw takes a single row
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    synthetic = np.arange(400) >= 200
    draws = [[np.r_[0, 60:160], np.arange(200, 300)], [np.arange(0, 200, 2), np.arange(201, 400, 2)]]

    found = neighbour_distances(x, np.einsum("nd,nd->n", x, x), synthetic, draws)

    for sets, radii in zip(draws, found, strict=True):
        for rows, radius in zip(sets, radii, strict=True):
            np.testing.assert_allclose(radius, Manifold.of(x[rows], NEIGHBOURS).squared_radii, atol=1e-6)


@pytest.mark.parametrize(("rank", "least"), [(12, 1.0), (3, 1.0), (12, 1e-5), (12, 1e-7), (12, 1e-12)])
def test_the_nuclear_norm_is_the_sum_of_singular_values_however_near_to_singular(rank, least):
    from probes.stats.nuclear_norm import nuclear_norm

    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(n, rank)))[0] for n in (20, 12))
    size = np.geomspace(1, least, rank)
    matrix = (left * size) @ right.T

    for each in (matrix, matrix.T):
        assert nuclear_norm(each) == pytest.approx(size.sum(), rel=1e-9)
