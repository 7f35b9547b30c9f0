"""Sinkhorn and OTTER's targets against the POT library and loops."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from loss_batches import full_batch, rows, value
from scipy.special import kl_div, softmax

from distill.losses.transport import otter_targets, sinkhorn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # POT tries every array library at import
    import ot

COST = torch.rand(7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
EVEN = np.full(7, 1 / 7)


@pytest.mark.parametrize("epsilon", [0.05, 0.15, 1.0])
@pytest.mark.parametrize("iterations", [1, 5, 40])
def test_sinkhorn_is_pots_after_as_many_iterations(epsilon: float, iterations: int) -> None:
    """POT scales columns first, so it is given the transposed problem."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        theirs = ot.sinkhorn(EVEN, EVEN, COST.T.numpy(), reg=epsilon, numItermax=iterations, stopThr=0).T

    ours = sinkhorn(COST, epsilon=epsilon, iterations=iterations)

    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-7, atol=1e-15)


def test_plan_with_little_entropy_is_the_exact_matching() -> None:
    exact = ot.emd(EVEN, EVEN, COST.numpy())

    # The two best matchings differ by more than 0.01 in cost, ten times epsilon.
    ours = sinkhorn(COST, epsilon=1e-3, iterations=3000)

    np.testing.assert_allclose(ours.numpy(), exact, atol=1e-4)


def test_columns_of_the_plan_are_uniform_at_once_and_rows_in_the_end() -> None:
    short, long = (sinkhorn(COST, epsilon=0.1, iterations=n) for n in (1, 500))

    np.testing.assert_allclose(short.sum(dim=0).numpy(), EVEN, rtol=1e-12)
    assert (short.sum(dim=1) - 1 / 7).abs().max() > 1e-3
    np.testing.assert_allclose(long.sum(dim=1).numpy(), EVEN, rtol=1e-9)


def test_nothing_underflows_in_single_precision_at_otters_constants() -> None:
    """The diagonal is 200 / 0.15 = 1333 below the rest, far beyond what exp can hold."""
    images, text = rows(seed=1).float(), rows(seed=2).float()

    forth, back = otter_targets(images, text, epsilon=0.15, iterations=5, image_weight=1.0, text_weight=1.0)

    for targets in (forth, back):
        assert torch.isfinite(targets).all()
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
        assert (targets.diagonal() == 0).all()


def test_otter_equals_loops_over_its_formula() -> None:
    batch = full_batch(scale=9.0)
    student, images, text = (x.numpy() for x in (batch.student, batch.momentum, batch.text))

    def targets(gain: np.ndarray) -> np.ndarray:
        plan = np.exp(gain / 0.15)
        for _ in range(5):
            plan = plan / plan.sum(axis=1, keepdims=True) / 6
            plan = plan / plan.sum(axis=0, keepdims=True) / 6
        return plan / plan.sum(axis=1, keepdims=True)

    out = 100 * np.eye(6)
    forth = targets((images @ images.T - out) + (text @ text.T - out) + images @ text.T)
    back = targets((images @ images.T - out) + (text @ text.T - out) + text @ images.T)
    logits = 9.0 * student @ text.T
    expected = (kl_div(forth, softmax(logits, 1)).sum() + kl_div(back, softmax(logits.T, 1)).sum()) / 6 / 2

    assert value("otter", batch).item() == pytest.approx(expected, rel=1e-9)


def test_images_that_look_alike_share_their_texts() -> None:
    """Two pairs of equal images: each image's target is the text of its twin, whom the diagonal cannot take."""
    images = torch.eye(4, dtype=torch.float64)[[0, 0, 1, 1]]

    forth, _ = otter_targets(images, rows(4, 4, seed=2), epsilon=0.05, iterations=50, image_weight=5.0, text_weight=0.0)

    assert forth.argmax(dim=1).tolist() == [1, 0, 3, 2]
