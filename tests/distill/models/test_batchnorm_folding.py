"""Folding batch norm into convolutions: the same answers from fewer passes, or the encoder as it was."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from distill.models.batchnorm_folding import fuse_conv_bn
from distill.models.student import attach_projection, build_backbone

IMAGES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def trained_a_little(module: nn.Module) -> nn.Module:
    """Give batch norms statistics and weights that do something."""
    generator = torch.Generator().manual_seed(2)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor, low, high in (
                (part.running_mean, -0.5, 0.5),
                (part.running_var, 0.5, 2),
                (part.weight, 0.5, 2),
                (part.bias, -1, 1),
            ):
                if tensor is not None:
                    tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return module.eval()


def modified_resnet() -> nn.Module:
    """A CLIP ResNet of OpenAI's kind, tiny."""
    from open_clip.modified_resnet import ModifiedResNet

    network = ModifiedResNet(layers=[1, 1, 1, 1], output_dim=8, heads=2, image_size=128, width=16)
    network.attnpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # its own, untrained, says the same of all images
    return network


def torchvision_resnet() -> nn.Module:
    from torchvision.models import resnet18

    return resnet18(weights=None)


@pytest.mark.parametrize(("build", "side"), [(modified_resnet, 128), (torchvision_resnet, 32)])
def test_networks_of_other_libraries_are_folded(build, side):
    torch.manual_seed(0)
    encoder = trained_a_little(build())
    lighter = fuse_conv_bn(encoder, side)
    assert norms(lighter) == 0
    images = torch.nn.functional.interpolate(IMAGES, size=(side, side))
    with torch.inference_mode():
        answer = encoder(images)
        torch.testing.assert_close(lighter(images), answer, rtol=1e-4, atol=1e-5 * float(answer.abs().max()))


def norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize("spec", ["builtin:small_resnet", "timm:mobilenetv3_small_050", "timm:resnet10t", "timm:efficientnet_b0"])
def test_a_folded_network_answers_the_same_with_no_batch_norm_left(spec):
    torch.manual_seed(0)
    encoder = trained_a_little(attach_projection(build_backbone(spec), 16, image_size=32))
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    lighter = fuse_conv_bn(encoder, 32)
    assert norms(encoder) > 5
    assert norms(lighter) == 0
    with torch.inference_mode():
        mine, answer = lighter(IMAGES), encoder(IMAGES)
    torch.testing.assert_close(mine, answer, rtol=1e-4, atol=1e-5 * float(answer.abs().max()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_gradients_to_the_pixels_are_the_same():
    torch.manual_seed(0)
    encoder = trained_a_little(attach_projection(build_backbone("builtin:small_resnet"), 16, image_size=32))
    found = []
    for each in (encoder, fuse_conv_bn(encoder, 32)):
        images = IMAGES.clone().requires_grad_()
        found.append(torch.autograd.grad(each(images).square().sum(), images)[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-5 * float(found[0].abs().max()))


class Odd(nn.Module):
    """A network in which the output of a convolution goes into a batch norm, and, as asked, elsewhere as well."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv, self.norm, self.other = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.conv(images)
        out = self.norm(seen)
        if self.kind == "skip":
            out = out + seen
        if self.kind == "twice":
            out = out + self.other(self.conv(1 - images))
        if self.kind == "scaled":
            out = out * self.norm.running_var.mean()
        return out.mean(dim=(2, 3))


@pytest.mark.parametrize("kind", ["skip", "twice", "scaled"])
def test_a_network_that_would_answer_otherwise_is_left_as_it_is(kind):
    encoder = trained_a_little(Odd(kind))
    assert fuse_conv_bn(encoder, 32) is encoder


def test_the_plain_one_of_these_is_folded():
    assert norms(fuse_conv_bn(trained_a_little(Odd("plain")), 32)) == 1  # the other one is never called


def test_what_has_nothing_to_fold_or_cannot_be_shown_images_is_left_as_it_is():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    assert fuse_conv_bn(plain, 32) is plain
    wrong = nn.Sequential(nn.Conv2d(5, 4, 3), nn.BatchNorm2d(4)).eval()
    assert fuse_conv_bn(wrong, 32) is wrong
    norm_of_the_batch = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    assert fuse_conv_bn(norm_of_the_batch, 32) is norm_of_the_batch
    half = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval().bfloat16()
    assert fuse_conv_bn(half, 32) is half


def test_an_encoder_in_training_mode_stays_in_it():
    encoder = trained_a_little(Odd("plain")).train()
    lighter = fuse_conv_bn(encoder, 32)
    assert encoder.training
    assert not lighter.training
