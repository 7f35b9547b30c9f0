"""Captum's methods by name: found where captum offers them, equal to captum asked directly and to ours, refused with captum's reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum import attr
from torch import nn
from torch.nn import functional as F

from probes.attribution.methods.captum_methods import (
    BRIGHTNESS,
    PREFIX,
    captum_kinds,
    captum_method,
    captum_names,
    cell_mask,
)
from probes.attribution.methods.captum_model import CosineModel, private_copy, with_first_tensor
from probes.attribution.methods.differentiable import UnavailableMethodError
from probes.attribution.methods.registry import METHODS, attribute, check_method, prepare

GREY = torch.full((3, 1, 1), 0.5)
SIDE = 16


class Residual(nn.Module):
    """Convolutions with in-place ReLUs, each a module of its own, an addition and an Identity."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU(inplace=True))
        self.last = nn.Identity()
        self.head = nn.Linear(6, 5)

    def forward(self, images):
        x = self.stem(images)
        return self.head(F.silu(self.last(x + self.branch(x))).mean(dim=(2, 3)))


class ReusedReLU(Residual):
    """The same ReLU behind both convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.branch[1] = self.stem[2]


class Tokens(nn.Module):
    """A patch embedding, a class token and layers that hand on tuples of tokens, as transformers does; no ReLU."""

    class Mix(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.across, self.within = nn.Linear(17, 17), nn.Linear(8, 8)

        def forward(self, x):
            return (x + F.gelu(self.across(x.transpose(1, 2)).transpose(1, 2) + self.within(x)), None)

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
        self.first, self.second, self.head = Tokens.Mix(), Tokens.Mix(), nn.Linear(8, 5)

    def forward(self, images):
        x = torch.cat([self.token.expand(len(images), -1, -1), self.patch(images).flatten(2).transpose(1, 2)], dim=1)
        return self.head(self.second(self.first(x)[0])[0][:, 0])


class Linear(nn.Module):
    """z = (g, sqrt(1 - g^2)) with g linear, so that f along the first axis is g."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(0.01 * torch.randn(3, SIDE, SIDE, generator=generator))

    def forward(self, images):
        g = (images * self.weight).sum(dim=(1, 2, 3))
        return torch.stack([g, (1 - g**2).sqrt()], dim=1)


def _encoder(kind=Residual, **settings):
    torch.manual_seed(0)
    return prepare(kind().eval(), _images(), baseline=GREY, steps=8, **settings)


def _images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def _directions(count: int = 3, dimension: int = 5) -> torch.Tensor:
    return torch.randn(2, count, dimension, generator=torch.Generator().manual_seed(2))


def test_every_method_that_the_issue_names_is_found_where_captum_offers_it():
    named = "IntegratedGradients DeepLift DeepLiftShap GradientShap Saliency InputXGradient GuidedBackprop Deconvolution LRP Occlusion"
    named += " FeatureAblation ShapleyValueSampling KernelShap Lime LayerGradCam GuidedGradCam"

    assert set(named.split()) <= set(captum_kinds())
    assert all(getattr(attr, name) is kind for name, kind in captum_kinds().items())
    assert not {"FeaturePermutation", "LLMAttribution", "NeuronDeepLift", "NoiseTunnel", "LimeBase"} & set(captum_kinds())


@pytest.mark.parametrize("name", [f"{PREFIX}{name}" for name in sorted(captum_kinds())])
def test_a_method_gives_signed_maps_that_no_batch_changes_and_leaves_the_encoder_as_it_was(name):
    encoder, images, directions = _encoder(), _images(), _directions()
    weights = {key: value.clone() for key, value in encoder.encode.state_dict().items()}
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002

    maps = attribute(encoder, name, images, directions)
    alone = attribute(encoder, name, images[1:2], directions[:, 1:2])

    assert maps.shape == (2, 3, SIDE, SIDE)
    assert maps.dtype == torch.float32
    differs = maps.amax(dim=(2, 3)) > maps.amin(dim=(2, 3))
    assert differs.any() if name == "captum:GuidedGradCam" else differs.all()  # its ReLU leaves some images without a map
    assert (maps < 0).any()
    torch.testing.assert_close(maps[:, 1:2], alone, atol=1e-5, rtol=1e-4)
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(numbers, np.random.get_state()[1])  # noqa: NPY002
    assert all(torch.equal(value, weights[key]) for key, value in encoder.encode.state_dict().items())
    for module in encoder.encode.modules():
        assert not any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks))
        assert getattr(module, "inplace", True)
        assert not hasattr(module, "rule")


def test_an_encoder_with_frozen_weights_has_the_same_maps():
    images, directions = _images(2), _directions(2)
    trained, frozen = _encoder(), _encoder()
    frozen.encode.requires_grad_(False)

    for name in [*(f"{PREFIX}{name}" for name in captum_kinds()), "captum:NoiseTunnel:LayerDeepLift", "captum:NoiseTunnel:DeepLift"]:
        torch.testing.assert_close(attribute(frozen, name, images, directions), attribute(trained, name, images, directions))


@pytest.mark.parametrize(
    ("captums", "ours"), [("IntegratedGradients", "integrated_gradients"), ("Occlusion", "occlusion"), ("LayerGradCam", "grad_cam")]
)
@pytest.mark.parametrize("kind", [Residual, Tokens])
def test_the_fast_methods_are_equal_to_captums(captums, ours, kind):
    """The same quadrature, windows, baseline and sign; tokens reach captum as a map of 4 x 4 cells."""
    encoder, images, directions = _encoder(kind), _images(), _directions()

    maps = attribute(encoder, ours, images, directions)

    torch.testing.assert_close(attribute(encoder, PREFIX + captums, images, directions), maps, atol=2e-6, rtol=1e-4)


def test_the_maps_are_those_of_captum_asked_directly():
    encoder, images, directions = _encoder(), _images(), _directions()
    model = CosineModel(private_copy(encoder.encode)).eval()
    base, extra = GREY.expand_as(images), {"additional_forward_args": directions[1]}
    expected = {
        "Saliency": attr.Saliency(model).attribute(images.clone().requires_grad_(), abs=False, **extra).sum(dim=1),
        "InputXGradient": attr.InputXGradient(model).attribute(images.clone().requires_grad_(), **extra).sum(dim=1),
        "FeatureAblation": attr.FeatureAblation(model).attribute(images, base, feature_mask=cell_mask(SIDE, SIDE, 8), **extra)[:, 0],
    }
    with pytest.warns(UserWarning, match="hooks"):
        expected["DeepLift"] = attr.DeepLift(model).attribute(images.clone().requires_grad_(), base, **extra).sum(dim=1)
    with pytest.warns(UserWarning, match="hooks"):
        expected["GuidedBackprop"] = attr.GuidedBackprop(model).attribute(images.clone().requires_grad_(), **extra).sum(dim=1)

    for name, maps in expected.items():
        torch.testing.assert_close(attribute(encoder, PREFIX + name, images, directions)[1], maps.detach(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ["IntegratedGradients", "DeepLift", "GradientShap", "DeepLiftShap", "NoiseTunnel:IntegratedGradients"])
def test_a_linear_model_is_explained_exactly(name):
    """Input minus baseline times weight; the mean of the baselines is the baseline, and noise of mean 0 moves it little."""
    encoder, images = _encoder(Linear), _images()

    maps = attribute(encoder, PREFIX + name, images, torch.tensor([1.0, 0.0]).expand(1, 3, 2))[0]

    expected = ((images - GREY) * encoder.encode.weight).sum(dim=1).detach()
    assert np.mean(BRIGHTNESS) == pytest.approx(0)
    if name in ("GradientShap", "NoiseTunnel:IntegratedGradients"):  # random baselines and noise
        for one, other in zip(maps, expected, strict=True):
            assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.8
    else:
        torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", ["FeatureAblation", "ShapleyValueSampling", "ShapleyValues", "KernelShap", "Lime"])
def test_covered_cells_of_a_linear_model_have_the_sum_of_their_pixels(name):
    encoder, images = _encoder(Linear), _images()
    cells = 2 if name == "ShapleyValues" else 8

    maps = attribute(encoder, PREFIX + name, images, torch.tensor([1.0, 0.0]).expand(1, 3, 2))[0]

    pixels = ((images - GREY) * encoder.encode.weight).sum(dim=1).detach()
    sums = F.avg_pool2d(pixels[:, None], SIDE // cells)[:, 0] * (SIDE // cells) ** 2
    means = F.avg_pool2d(maps[:, None], SIDE // cells)[:, 0]
    torch.testing.assert_close(F.interpolate(means[:, None], scale_factor=SIDE // cells)[:, 0], maps)
    if name == "Lime":  # its sparse regression shrinks the values
        assert np.corrcoef(means.ravel(), sums.ravel())[0, 1] > 0.8
    else:
        torch.testing.assert_close(means, sums, atol=1e-4, rtol=1e-3)


def test_the_methods_of_perturbation_take_a_bounded_number_of_passes():
    class Counted(Linear):
        passes = 0

        def forward(self, images):
            self.passes += len(images)
            return super().forward(images)

    encoder = _encoder(Counted)
    for name in ("FeatureAblation", "ShapleyValueSampling", "ShapleyValues", "KernelShap", "Lime", "Occlusion"):
        encoder.encode.passes = 0
        attribute(encoder, PREFIX + name, _images(1), torch.tensor([1.0, 0.0]).expand(1, 1, 2))
        assert 0 < encoder.encode.passes <= 520, name


def test_a_plain_callable_is_explained_by_perturbation_and_refused_by_gradients():
    module = Linear()
    encoder = prepare(lambda images: module(images).detach(), _images(), baseline=GREY, steps=8)
    direction = torch.tensor([1.0, 0.0]).expand(1, 3, 2)

    maps = attribute(encoder, "captum:Occlusion", _images(), direction)

    torch.testing.assert_close(maps, attribute(encoder, "occlusion", _images(), direction), atol=2e-6, rtol=1e-4)
    for name in ("Saliency", "DeepLift", "LayerGradCam", "LRP"):
        with pytest.raises(
            UnavailableMethodError, match=rf"`method` captum:{name} cannot be used: the encoder must be a torch.nn.Module .*occlusion"
        ):
            attribute(encoder, f"captum:{name}", _images(), direction)


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        (ReusedReLU, "DeepLift", "captum says: .*used more than once in the network.*; use integrated_gradients"),
        (
            Tokens,
            "GuidedBackprop",
            "captum changes the gradients of torch.nn.ReLU modules, and the encoder has none; use captum:InputXGradient",
        ),
        (Linear, "LayerGradCam", "the encoder must have a feature map of at least 4 x 4 cells .*use integrated_gradients"),
    ],
)
def test_what_an_encoder_lacks_is_said_in_one_sentence(kind, name, reason):
    encoder = _encoder(kind)

    with pytest.raises(UnavailableMethodError, match=rf"^`method` captum:{name} cannot be used: {reason}") as caught:
        attribute(encoder, f"captum:{name}", _images(), _directions(dimension=2 if kind is Linear else 5))

    assert "\n" not in str(caught.value)


def test_lrp_of_a_network_with_flatten_is_that_of_the_network_with_its_values_reshaped():
    class Flattened(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.flatten = nn.Flatten(2)

        def forward(self, images):
            x = self.stem(images)
            return self.head(F.silu(self.flatten(self.last(x + self.branch(x)))).mean(dim=2))

    for name in ("captum:LRP", "captum:LayerLRP"):
        maps = [attribute(_encoder(kind), name, _images(), _directions()) for kind in (Flattened, Residual)]
        torch.testing.assert_close(*maps, atol=1e-4, rtol=1e-3)


def test_layers_without_a_rule_are_refused_by_lrp_and_identities_are_not():
    class Smooth(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.GELU()

    attribute(_encoder(), "captum:LRP", _images(), _directions())
    with pytest.raises(UnavailableMethodError, match=r"captum says: Module of type .*GELU.* has no rule defined"):
        attribute(_encoder(Smooth), "captum:LRP", _images(), _directions())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("captum:DeepLft", "captum:DeepLift"),
        ("captum:saliency", "captum:Saliency"),
        ("captum:NoiseTunnel(Saliency)", "captum:NoiseTunnel:Saliency"),
        ("captum:NoiseTunnel:Salency", "captum:NoiseTunnel:Saliency"),
        ("DeepLift", "captum:DeepLift"),
        ("grad-cam", "grad_cam"),
        ("captum:", "captum:DeepLift"),
        ("captum:LayerActivation", "captum:Layer"),
        ("captum:NoiseTunnel:NoiseTunnel:Saliency", "captum:NoiseTunnel:Saliency"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(name, near):
    with pytest.raises(
        ValueError, match=rf"`method` must be .*got {name!r}; choose .*{near}".replace("(S", r"\(S").replace("y)'", r"y\)'")
    ):
        check_method(name)


def test_names_are_kept_and_the_default_methods_are_the_four_built_in_ones():
    assert [check_method(name) for name in captum_names()] == captum_names()
    assert list(METHODS) == ["integrated_gradients", "grad_cam", "occlusion", "attention"]
    assert captum_method("captum:NoiseTunnel:Lime").tunnel


def test_noise_is_averaged_away():
    """A plain gradient at noisy images: their mean over 8 draws is nearer to the gradient's mean over 400 draws than the gradient itself."""
    encoder, image, direction = _encoder(), _images(1), _directions(1)
    noisy = image + 0.1 * torch.randn(400, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    expected = attribute(encoder, "captum:Saliency", noisy, direction.expand(2, 400, 5)).mean(dim=1)

    smooth = attribute(encoder, "captum:NoiseTunnel:Saliency", image, direction)[:, 0]
    plain = attribute(encoder, "captum:Saliency", image, direction)[:, 0]

    assert (smooth - expected).norm() < (plain - expected).norm()


def test_the_first_tensor_is_replaced_wherever_a_module_hands_it_on():
    from collections import namedtuple

    pair, tensor = namedtuple("pair", ["a", "b"]), torch.ones(1)

    assert with_first_tensor(torch.zeros(1), tensor) is tensor
    assert with_first_tensor((None, [torch.zeros(1), 5]), tensor) == (None, [tensor, 5])
    assert with_first_tensor(pair(torch.zeros(1), 2), tensor) == pair(tensor, 2)
    assert with_first_tensor({"a": 1, "b": torch.zeros(1)}, tensor) == {"a": 1, "b": tensor}


def test_cells_are_numbered_row_by_row_and_no_cell_is_empty():
    mask = cell_mask(10, 6, 8)[0, 0]

    assert mask.shape == (10, 6)
    assert sorted(mask.unique().tolist()) == list(range(8 * 6))
    assert (mask[0] == torch.arange(6)).all()
