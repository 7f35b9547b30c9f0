"""What an encoder does to images before its backbone sees them: the same bits in any layout of memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distill.models.encoder import Encoder


@pytest.mark.parametrize("side", [1, 7, 16])
def test_normalising_gives_the_same_bits_in_any_layout(side: int) -> None:
    encoder = Encoder(nn.Identity(), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    plain = torch.rand(5, 3, side, side, generator=torch.Generator().manual_seed(0))
    expected = (plain - encoder.mean) / encoder.std

    for images in (
        plain,
        plain.contiguous(memory_format=torch.channels_last),
        plain.transpose(2, 3).contiguous().transpose(2, 3),
        plain[::2],
    ):
        found = encoder(images)
        assert torch.equal(found, expected if len(images) == 5 else expected[::2])
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_normalising_lets_gradients_through_in_any_layout() -> None:
    encoder = Encoder(nn.Identity(), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    images = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last).requires_grad_()

    encoder(images).sum().backward()

    assert images.grad is not None
    torch.testing.assert_close(images.grad, (1 / encoder.std).expand(2, 3, 4, 5))
