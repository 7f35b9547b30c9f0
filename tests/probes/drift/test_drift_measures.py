"""The measures of drift one by one: closed forms, references by explicit sums, laws, coverage of the jackknife."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from scipy.spatial import procrustes

from probes.drift.geometry import alignment, effective_rank, modality_gap, uniformity
from probes.stats.jackknife import BLOCKS, block_sums, deal_blocks, without
from probes.stats.similarity import linear_cka, mutual_neighbours, procrustes_chance, procrustes_residual


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def clouds():
    """Two encoders of 60 images that partly agree, five dimensions and seven, and the blocks."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) * [3, 2, 1, 1, 0.5] + 1
    y = x @ rng.normal(size=(5, 7)) + rng.normal(size=(60, 7))
    return unit(x), unit(y), deal_blocks(60, seed=0)


def hsic_by_pairs(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al. (2012), equation 5, with the kernel matrices written out."""
    n = len(x)
    k, l = x @ x.T, y @ y.T  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    one = np.ones(n)
    sums = np.trace(k @ l) + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 * (one @ k @ l @ one) / (n - 2)
    return float(sums / (n * (n - 3)))


def hsic_by_quadruples(x: np.ndarray, y: np.ndarray) -> float:
    """The U-statistic itself: mean over ordered quadruples of different images of k_ij (l_ij + l_qr - 2 l_iq)."""
    from itertools import permutations

    k, l = x @ x.T, y @ y.T  # noqa: E741
    return float(np.mean([k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in permutations(range(len(x)), 4)]))


def test_the_reference_hsic_is_the_u_statistic(clouds):
    x, y, _ = clouds

    assert hsic_by_pairs(x[:8], y[:8]) == pytest.approx(hsic_by_quadruples(x[:8], y[:8]))


def test_cka_agrees_with_the_explicit_sums_also_without_each_block(clouds):
    x, y, blocks = clouds

    def reference(rows):
        return hsic_by_pairs(x[rows], y[rows]) / math.sqrt(hsic_by_pairs(x[rows], x[rows]) * hsic_by_pairs(y[rows], y[rows]))

    found = linear_cka(x, y, blocks)

    assert found.value == pytest.approx(reference(blocks >= 0))
    assert found.left_out == pytest.approx([reference(blocks != block) for block in range(BLOCKS)])


def test_cka_of_unrelated_encoders_scatters_around_zero():
    """Debiased: 40 draws of n = 30, D = 20 have a mean within 4 standard errors of 0; the plain CKA would be about 0.4."""
    rng = np.random.default_rng(1)
    found = [linear_cka(rng.normal(size=(30, 20)), rng.normal(size=(30, 20)), deal_blocks(30, seed=0)).value for _ in range(40)]

    assert abs(np.mean(found)) < 4 * np.std(found, ddof=1) / math.sqrt(40)
    assert min(found) < 0 < max(found)


def test_cka_refuses_a_collapsed_encoder(clouds):
    x, _, blocks = clouds

    with pytest.raises(ValueError, match="must vary for CKA"):
        linear_cka(x, np.ones((60, 3)), blocks)


def test_procrustes_agrees_with_scipy_also_without_each_block(clouds):
    x, y, blocks = clouds
    y = y[:, :5]

    found = procrustes_residual(x, y, blocks)

    assert found.value == pytest.approx(procrustes(x, y)[2])
    assert found.left_out == pytest.approx([procrustes(x[blocks != b], y[blocks != b])[2] for b in range(BLOCKS)])


def test_procrustes_is_the_residual_of_scipy_s_best_rotation(clouds):
    x, y, blocks = clouds
    x, y = (z - z.mean(axis=0) for z in (x, y[:, :5]))
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    rotation, scale = scipy.linalg.orthogonal_procrustes(x, y)

    assert procrustes_residual(x, y, blocks).value == pytest.approx(np.linalg.norm(scale * x @ rotation - y) ** 2)


def test_procrustes_chance_is_near_one_and_below_it(clouds):
    x, y, _ = clouds

    assert 0.5 < procrustes_chance(x, y, seed=0) < 1


def test_shared_neighbours_agree_with_sets():
    rng = np.random.default_rng(2)
    x = unit(rng.normal(size=(40, 4)))
    y = unit(x + 0.3 * rng.normal(size=(40, 4)))
    blocks = deal_blocks(40, seed=1)

    def reference(rows):
        near = []
        for z in (x[rows], y[rows]):
            cosine = z @ z.T
            np.fill_diagonal(cosine, -2)
            near.append(np.argsort(-cosine, axis=1)[:, :5])
        return np.mean([len(set(a) & set(b)) / 5 for a, b in zip(*near, strict=True)])

    found = mutual_neighbours(x, y, blocks, neighbours=5)

    assert found.value == pytest.approx(reference(blocks >= 0))
    assert found.left_out == pytest.approx([reference(blocks != block) for block in range(BLOCKS)])


def test_neighbours_of_unrelated_encoders_are_shared_by_chance():
    """k / (n - 1) = 10 / 199; 2,000 shared places at most, s.d. of the share about 0.005."""
    rng = np.random.default_rng(3)

    found = mutual_neighbours(unit(rng.normal(size=(200, 8))), unit(rng.normal(size=(200, 8))), deal_blocks(200, seed=0), neighbours=10)

    assert found.value == pytest.approx(10 / 199, abs=0.02)
    assert found.interval[0] < 10 / 199 < found.interval[1]


def measures(x, y, blocks):
    return {
        "cka": linear_cka(x, y, blocks).value,
        "procrustes": procrustes_residual(x, y, blocks).value,
        "knn_overlap": mutual_neighbours(x, y, blocks, neighbours=10).value,
    }


def test_an_encoder_is_like_itself(clouds):
    x, _, blocks = clouds

    assert measures(x, x, blocks) == pytest.approx({"cka": 1.0, "procrustes": 0.0, "knn_overlap": 1.0}, abs=1e-9)


def test_a_rotation_changes_nothing(clouds):
    x, y, blocks = clouds
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(7, 7)))[0]

    assert measures(x, y @ rotation, blocks) == pytest.approx(measures(x, y, blocks), abs=1e-9)


def test_scale_and_shift_change_neither_cka_nor_procrustes(clouds):
    x, y, blocks = clouds

    for measure in (linear_cka, procrustes_residual):
        assert measure(x, 7 * y + 3, blocks).value == pytest.approx(measure(x, y, blocks).value)


def test_the_order_of_images_changes_nothing(clouds):
    x, y, blocks = clouds
    order = np.random.default_rng(5).permutation(60)

    assert measures(x[order], y[order], blocks[order]) == pytest.approx(measures(x, y, blocks))


def test_similarity_is_symmetric(clouds):
    x, y, blocks = clouds

    assert measures(x, y, blocks) == pytest.approx(measures(y, x, blocks))


def test_more_noise_is_less_alike(clouds):
    x, _, blocks = clouds
    noise = np.random.default_rng(6).normal(size=x.shape)

    found = [measures(x, unit(x + strength * noise), blocks) for strength in (0.05, 0.2, 0.8)]

    for name, sign in (("cka", -1), ("procrustes", 1), ("knn_overlap", -1)):
        assert np.all(np.diff([sign * each[name] for each in found]) > 0)


def test_the_modality_gap_is_the_distance_of_the_means():
    """Mean image (0, 1/2); texts of any length count as directions e1 and e2, mean (1/2, 1/2); distance 1/2."""
    x = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])

    gap = modality_gap(x, np.array([[3.0, 0.0], [0.0, 0.1]]), np.arange(4))

    assert gap.value == pytest.approx(0.5)
    assert gap.left_out[0] == pytest.approx(np.linalg.norm(np.array([0, 1 / 3]) - 0.5))


def test_alignment_is_the_mean_distance_within_classes(clouds):
    x, _, blocks = clouds
    labels = np.arange(60) % 4

    def reference(rows):
        pairs = [
            np.sum((x[i] - x[j]) ** 2) for i in np.flatnonzero(rows) for j in np.flatnonzero(rows) if i != j and labels[i] == labels[j]
        ]
        return np.mean(pairs)

    found = alignment(x, labels, blocks)

    assert found.value == pytest.approx(reference(blocks >= 0))
    assert found.left_out[3] == pytest.approx(reference(blocks != 3))


def test_alignment_has_no_value_without_pairs():
    assert alignment(unit(np.random.default_rng(0).normal(size=(5, 3))), np.arange(5), np.arange(5)) is None


def test_uniformity_agrees_with_the_explicit_sum(clouds):
    x, _, blocks = clouds

    def reference(rows):
        z = x[rows]
        return math.log(np.mean([math.exp(-2 * np.sum((a - b) ** 2)) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]))

    found = uniformity(x, blocks)

    assert found.value == pytest.approx(reference(blocks >= 0))
    assert found.left_out[7] == pytest.approx(reference(blocks != 7))


def test_uniformity_of_a_collapsed_encoder_is_zero_and_of_opposite_poles_known():
    """Two images at each pole: of 12 ordered pairs 4 are at distance 0 and 8 at squared distance 4: log((4 + 8 e^-8) / 12)."""
    poles = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])

    assert uniformity(np.ones((4, 1)), np.arange(4)).value == pytest.approx(0.0)
    assert uniformity(poles, np.arange(4)).value == pytest.approx(math.log((4 + 8 * math.exp(-8)) / 12))


def test_effective_rank_counts_equal_directions():
    """Plus and minus along 3 of 5 axes: three equal singular values, entropy log 3."""
    x = np.concatenate([np.eye(5)[:3], -np.eye(5)[:3]]) + 4

    assert effective_rank(x, np.arange(6)).value == pytest.approx(3.0, abs=1e-4)


def test_effective_rank_agrees_with_singular_values(clouds):
    _, y, blocks = clouds

    def reference(rows):
        s = np.linalg.svd(y[rows] - y[rows].mean(axis=0), compute_uv=False)
        return math.exp(scipy.stats.entropy(s / s.sum()))

    found = effective_rank(y, blocks)

    assert found.value == pytest.approx(reference(blocks >= 0))
    assert found.left_out[5] == pytest.approx(reference(blocks != 5))


def test_blocks_are_of_nearly_equal_size_and_their_sums_add_up():
    blocks = deal_blocks(100, seed=0)
    values = np.arange(200.0).reshape(100, 2)

    sums = without(block_sums(values, blocks))

    assert len(np.unique(blocks)) == BLOCKS
    assert np.ptp(np.bincount(blocks)) <= 1
    assert sums.shape == (BLOCKS + 1, 2)
    np.testing.assert_allclose(sums[-1], values.sum(axis=0))
    np.testing.assert_allclose(sums[2], values[blocks != 2].sum(axis=0))


def draws(n: int, noise: float, times: int) -> dict[str, np.ndarray]:
    """Value, low and high of every measure over fresh images of the same world, (times, 3) each."""
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(10, 4))
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(times):
        labels = rng.integers(0, 4, n)
        x = unit(rng.normal(size=(n, 10)) * np.linspace(1, 0.2, 10) + 0.8 * texts.T[labels])
        y = unit(x + noise * rng.normal(size=(n, 10)))
        blocks = deal_blocks(n, seed=seed)
        estimates = {
            "cka": linear_cka(x, y, blocks),
            "procrustes": procrustes_residual(x, y, blocks),
            "knn_overlap": mutual_neighbours(x, y, blocks, neighbours=10),
            "modality_gap": modality_gap(y, texts, blocks),
            "alignment": alignment(y, labels, blocks),
            "uniformity": uniformity(y, blocks),
            "effective_rank": effective_rank(y, blocks),
        }
        for name, estimate in estimates.items():
            found.setdefault(name, []).append((estimate.value, *estimate.interval))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("n", "noise"), [(60, 0.2), (300, 0.02), (300, 0.2), (300, 1.0)])
def test_the_jackknife_covers_the_measure_s_mean(n, noise):
    """The truth is the mean over 300 draws (its own error is a twentieth of an interval). 0.91 is 3.2 standard errors below 0.95."""
    for name, values in draws(n, noise, 300).items():
        truth = values[:, 0].mean()
        covered = np.mean((values[:, 1] <= truth) & (truth <= values[:, 2]))

        assert covered >= 0.91, name
