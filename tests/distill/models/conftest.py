"""Real models of timm, small, with weights that no two draws share, and what they say of images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

NAME = "test_byobnet"
SIDE = 16
IMAGES = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a model weights and statistics that differ from those it was built with, in eval mode."""
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=random)
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer += torch.rand(buffer.shape, generator=random)
        elif name.endswith("running_mean"):
            buffer += 0.1 * torch.randn(buffer.shape, generator=random)
    return model.eval()


@pytest.fixture
def images() -> Tensor:
    """Three images in [0, 1]."""
    return IMAGES


@pytest.fixture
def backbone() -> nn.Module:
    """A trained timm model of 256 features, as `timm:test_byobnet` builds it."""
    import timm

    torch.manual_seed(0)
    return shaken(timm.create_model(NAME, num_classes=0))


@pytest.fixture
def normalised() -> Tensor:
    """The images as timm's own transform normalises them."""
    import timm

    config = timm.data.resolve_model_data_config(timm.create_model(NAME))
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (IMAGES - mean) / std


@pytest.fixture
def linear() -> Callable[..., nn.Linear]:
    """Build a linear layer with weights of its own."""

    def build(features: int, embed_dim: int, *, bias: bool = True) -> nn.Linear:
        torch.manual_seed(9)
        return nn.Linear(features, embed_dim, bias=bias).eval()

    return build
