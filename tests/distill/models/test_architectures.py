import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from distill.models.architectures import small_resnet


def _multiplications(network: torch.nn.Module) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, 32, 32))
    return counter.get_total_flops()


def test_a_stem_of_stride_two_takes_a_quarter_of_the_work_with_the_same_parameters():
    slow, fast = small_resnet(), small_resnet(stem_stride=2)

    assert [p.shape for p in fast.parameters()] == [p.shape for p in slow.parameters()]
    assert _multiplications(fast) * 4 == _multiplications(slow)


@pytest.mark.parametrize("side", [8, 20, 32, 48])
def test_small_resnet_takes_images_of_any_side(side: int):
    network = small_resnet((8, 16, 24), depth=2, stem_stride=2).eval()

    assert network(torch.rand(2, 3, side, side)).shape == (2, network.num_features) == (2, 24)
