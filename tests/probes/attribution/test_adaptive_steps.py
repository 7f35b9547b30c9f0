"""Adaptive integrated gradients: as many points as the completeness error asks for, counted honestly, and off by default."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from probes.attribution.methods.integrated_gradients import FIRST_STEPS, mean_gradients, quadrature
from probes.attribution.methods.registry import attribute, prepare

SIDE, COUNT, MOST = 16, 12, 32
BASELINE = torch.full((3, 1, 1), 0.5)


class Counted(nn.Module):
    """A small network with kinks, which counts the images it is shown."""

    def __init__(self, *, linear: bool = False) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8 * 16, 5)
        self.linear, self.seen = linear, 0

    def forward(self, images):
        self.seen += len(images)
        x = self.conv(images - 0.5)
        if self.linear:  # of length one along the first axis, so that f is linear
            g = 0.1 * (images - 0.5).mean(dim=(1, 2, 3))
            return torch.stack([g, (1 - g**2).sqrt(), *[torch.zeros_like(g)] * 3], dim=1)
        return self.head(F.relu(6 * x).flatten(1)) + self.head.bias


def _encoder(tolerance: float | None, steps: int = MOST, **settings):
    torch.manual_seed(0)
    return prepare(Counted(**settings).eval(), _images(), baseline=BASELINE, steps=steps, tolerance=tolerance)


def _images() -> torch.Tensor:
    """Contrast grows from image to image, so that the paths cross more and more kinks."""
    noise = torch.rand(COUNT, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) - 0.5
    return 0.5 + noise * torch.linspace(0.05, 1, COUNT).view(-1, 1, 1, 1)


def _directions() -> torch.Tensor:
    return torch.randn(2, COUNT, 5, generator=torch.Generator().manual_seed(2))


def _change(encoder) -> torch.Tensor:
    base = encoder.embed(BASELINE.expand(1, 3, SIDE, SIDE))
    return ((encoder.embed(_images()) - base) * _directions()).sum(dim=2)


def test_each_image_is_settled_below_the_tolerance_or_has_the_most_points():
    encoder = _encoder(0.03)

    found = quadrature(encoder, _images(), _directions())

    sums = ((_images() - BASELINE) * found.gradients).sum(dim=(2, 3, 4))
    torch.testing.assert_close(found.error, (sums - _change(encoder)).abs() / _change(encoder).abs(), atol=1e-3, rtol=1e-3)
    settled = (found.error <= 0.03).all(dim=0)
    tried = {1 + sum(FIRST_STEPS * 2**k for k in range(rounds)): FIRST_STEPS * 2 ** (rounds - 1) for rounds in (1, 2, 3, 4)}
    assert set(found.passes.tolist()) <= set(tried)
    assert len(set(found.passes.tolist())) > 1
    assert settled[found.passes < max(tried)].all()
    for row in range(COUNT):  # the gradients are those of a fixed number of points
        fixed = mean_gradients(_encoder(None, tried[int(found.passes[row])]), _images(), _directions())
        torch.testing.assert_close(found.gradients[:, row], fixed[:, row], atol=1e-6, rtol=1e-4)


def test_the_passes_are_those_that_the_encoder_counts():
    encoder = _encoder(0.03)
    encoder.encode.seen = 0

    found = quadrature(encoder, _images(), _directions())

    assert encoder.encode.seen == int(found.passes.sum()) + 1  # the baseline, once


def test_a_linear_encoder_is_settled_at_once():
    found = quadrature(_encoder(0.01, linear=True), _images(), torch.tensor([1.0, 0, 0, 0, 0]).expand(1, COUNT, 5))

    assert (found.passes == FIRST_STEPS + 1).all()
    assert (found.error < 0.001).all()


def test_without_a_tolerance_nothing_changes_and_the_error_is_that_of_all_points():
    encoder = _encoder(None, 8)

    found = quadrature(encoder, _images(), _directions())

    assert (found.passes == 9).all()
    assert torch.equal(found.gradients, mean_gradients(encoder, _images(), _directions()))
    strict = quadrature(_encoder(1e-9, 8), _images(), _directions())
    late = strict.passes == 1 + 4 + 8  # the others differ by less than float32 can tell
    assert late.sum() > COUNT // 2
    torch.testing.assert_close(strict.gradients[:, late], found.gradients[:, late])


def test_the_maps_take_the_adaptive_gradients_and_few_points_are_the_most():
    images, directions = _images(), _directions()
    encoder = _encoder(0.03)
    gradients = quadrature(encoder, images, directions).gradients

    torch.testing.assert_close(attribute(encoder, "integrated_gradients", images, directions), ((images - BASELINE) * gradients).sum(dim=2))
    assert (quadrature(_encoder(0.5, 2), images, directions).passes == 3).all()


def test_an_image_like_the_baseline_is_settled_without_an_error():
    images = BASELINE.expand(2, 3, SIDE, SIDE).contiguous()

    found = quadrature(_encoder(0.03), images, _directions()[:, :2])

    assert (found.passes == FIRST_STEPS + 1).all()
    assert np.isfinite(found.error.numpy()).all()


@pytest.mark.parametrize("batch", [1, 5])
def test_the_split_into_passes_changes_nothing(batch):
    encoder = _encoder(0.03)
    whole = quadrature(encoder, _images(), _directions())
    object.__setattr__(encoder, "points", batch)

    small = quadrature(encoder, _images(), _directions())

    assert torch.equal(small.passes, whole.passes)
    torch.testing.assert_close(small.gradients, whole.gradients, atol=1e-6, rtol=1e-4)
