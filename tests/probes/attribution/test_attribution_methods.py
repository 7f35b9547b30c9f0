"""Attribution methods: closed forms, captum as the reference, any architecture without a word about it, no traces left."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from probes.attribution.map_evaluation import INFORMATIVE, measure_faithfulness, rank_correlation
from probes.attribution.methods.differentiable import AttributionTarget
from probes.attribution.methods.integrated_gradients import mean_gradients
from probes.attribution.methods.preserved_state import undisturbed
from probes.attribution.methods.registry import METHODS, attribute, prepare
from probes.attribution.methods.spatial_layers import last_spatial_layer, trace
from probes.attribution.metrics.energy import border_region, centre_region, energy_share
from probes.attribution.metrics.faithfulness import Curves, curves, into_cells, misplaced
from probes.attribution.metrics.localisation import overlap, pointing_game
from probes.attribution.metrics.object_masks import cut
from probes.attribution.metrics.spectrum import band_of, map_band_shares, used_contributions, white_shares
from probes.attribution.scalars import predicted_classes, zero_shot_directions

GREY = torch.full((3, 1, 1), 0.5)
SIDE = 16


class UnitLinear(nn.Module):
    """z = (g, sqrt(1 - g^2)) with g linear: of length one, so that f along the first axis is g itself."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images):
        g = (images * self.weight).sum(dim=(1, 2, 3))
        return torch.stack([g, (1 - g**2).sqrt()], dim=1)


class SmallConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.next = nn.Conv2d(6, 8, 3, 2, 1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 5)

    def forward(self, images):
        x = F.gelu(self.next(self.act(self.norm(self.stem(images)))))
        return self.head(self.drop(x.mean(dim=(2, 3))))


@pytest.fixture
def conv():
    torch.manual_seed(0)
    return SmallConv().eval()


@pytest.fixture
def images():
    return torch.rand(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def _directions(count: int, dimension: int, scalars: int = 2) -> torch.Tensor:
    return torch.randn(scalars, count, dimension, generator=torch.Generator().manual_seed(2))


def _prepared(encode, images, **changes) -> AttributionTarget:
    return prepare(encode, images, baseline=GREY, steps=8, **changes)


def test_integrated_gradients_of_a_linear_model_are_input_times_weight(images):
    weight = 0.01 * torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    encoder = _prepared(UnitLinear(weight), images)

    maps = attribute(encoder, "integrated_gradients", images, torch.tensor([1.0, 0.0]).expand(1, 6, 2))

    torch.testing.assert_close(maps[0], ((images - GREY) * weight).sum(dim=1), atol=1e-6, rtol=1e-4)


def test_integrated_gradients_add_up_to_the_difference_from_the_absent_image(conv, images):
    """Completeness; 8 Gauss-Legendre points of a piecewise smooth function leave an error below 5 % here."""
    encoder, directions = _prepared(conv, images), _directions(6, 5)

    maps = attribute(encoder, "integrated_gradients", images, directions)

    for number in range(2):
        expected = encoder.scalar(images, directions[number]) - encoder.scalar(GREY.expand_as(images), directions[number])
        torch.testing.assert_close(maps[number].sum(dim=(1, 2)), expected.detach(), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("method", ["integrated_gradients", "grad_cam", "occlusion"])
def test_a_batch_equals_captum_image_by_image(method, conv, images):
    from captum.attr import IntegratedGradients, LayerGradCam, Occlusion

    encoder, directions = _prepared(conv, images), _directions(6, 5)

    maps = attribute(encoder, method, images, directions)

    for row in range(6):
        x, v = images[row : row + 1].clone().requires_grad_(), directions[1, row : row + 1]
        if method == "integrated_gradients":
            expected = IntegratedGradients(encoder.scalar).attribute(x, GREY.expand_as(x), additional_forward_args=v, n_steps=8).sum(dim=1)
        elif method == "occlusion":
            found = Occlusion(encoder.scalar).attribute(x, (3, 4, 4), (3, 2, 2), GREY.expand_as(x), additional_forward_args=v)
            expected = found[:, 0]
        else:
            coarse = LayerGradCam(encoder.scalar, conv.next).attribute(x, additional_forward_args=v)
            expected = F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]
        torch.testing.assert_close(maps[1, row : row + 1], expected.detach().float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("window", [3, 5, 16])
def test_occlusion_equals_captum_for_windows_that_do_not_fit(window, conv, images):
    from captum.attr import Occlusion

    encoder, directions = _prepared(conv, images, window=window), _directions(6, 5)
    stride = max(1, window // 2)

    maps = attribute(encoder, "occlusion", images, directions)

    sizes = ((3, window, window), (3, stride, stride))
    expected = Occlusion(encoder.scalar).attribute(images, *sizes, GREY.expand_as(images), additional_forward_args=directions[0])
    torch.testing.assert_close(maps[0], expected[:, 0].detach().float(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_maps_do_not_depend_on_the_batch_size(method, images):
    torch.manual_seed(0)
    encode = OneAttention().eval() if method == "attention" else SmallConv().eval()
    encoder, directions = _prepared(encode, images), _directions(6, 5)

    whole = attribute(encoder, method, images, directions)
    single = torch.cat([attribute(encoder, method, images[i : i + 1], directions[:, i : i + 1]) for i in range(6)], dim=1)
    object.__setattr__(encoder, "batch", 4)  # fewer images at once than the eight steps
    small = attribute(encoder, method, images, directions)

    torch.testing.assert_close(whole, single, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(whole, small, atol=1e-5, rtol=1e-4)


class Corner(nn.Module):
    """Sees the upper left quarter of the sides only."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = SmallConv()

    def forward(self, images):
        return self.inner(images[..., : SIDE // 4, : SIDE // 4])


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_the_map_of_a_model_that_sees_one_corner_lies_in_that_corner(method, images):
    torch.manual_seed(0)
    encoder, region = _prepared(Corner().eval(), images), np.zeros((SIDE, SIDE), dtype=bool)
    region[: SIDE // 4, : SIDE // 4] = True
    near = region.copy()
    near[: SIDE // 4 + 3, : SIDE // 4 + 3] = True  # a covered window reaches over the corner's edge

    maps = attribute(encoder, method, images, _directions(6, 5))[0].numpy()

    share = energy_share(maps, near if method == "occlusion" else region)
    np.testing.assert_allclose(share, 1.0, atol=1e-6)


class OneAttention(nn.Module):
    """A patch embedding, a class token and one layer of attention, written so that a bias on every key can be put in."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 5)
        self.norm = nn.LayerNorm(8)

    def forward(self, images, bias=None):
        x = torch.cat([self.token.expand(len(images), -1, -1), self.patch(images).flatten(2).transpose(1, 2)], dim=1)
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in (3 * self.qkv(self.norm(x))).chunk(3, dim=-1))
        written_out = None if bias is None else (q @ k.transpose(-2, -1) / 2 + bias).softmax(-1) @ v
        mixed = F.scaled_dot_product_attention(q, k, v) if bias is None else written_out
        return self.out((x + mixed.transpose(1, 2).flatten(2))[:, 0])


def test_attention_flow_is_the_slope_by_a_bias_on_each_key(images):
    """The reference puts a bias b_j on key j for all queries and heads: the flow to patch j is df/db_j at b = 0."""
    torch.manual_seed(0)
    encode = OneAttention().eval()
    encoder, directions = _prepared(encode, images), _directions(6, 5)

    maps = attribute(encoder, "attention", images, directions)

    bias = torch.zeros(6, 1, 1, 17, requires_grad=True)
    value = (F.normalize(encode(images, bias), dim=-1) * directions[0]).sum()
    (slope,) = torch.autograd.grad(value, bias)
    expected = F.interpolate(slope[:, 0, 0, 1:].view(6, 1, 4, 4), size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    torch.testing.assert_close(maps[0], expected[:, 0], atol=1e-6, rtol=1e-4)


def _timm_vit(**changes):
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0, **changes)


def _swin():
    from timm.models.swin_transformer import SwinTransformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.meshgrid, deep in timm
        return SwinTransformer(img_size=32, patch_size=2, embed_dim=8, depths=(1, 1), num_heads=(1, 1), window_size=4, num_classes=0)


def _open_clip_vit():
    from open_clip.transformer import VisionTransformer

    return VisionTransformer(image_size=32, patch_size=8, width=16, layers=2, heads=2, mlp_ratio=2, output_dim=8)


def _hub_vit():
    from transformers import ViTConfig, ViTModel

    class Pooler(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
            self.model = ViTModel(ViTConfig(**sizes, image_size=32, patch_size=8))

        def forward(self, images):
            return self.model(pixel_values=images).pooler_output

    return Pooler()


NETWORKS = {
    "timm ViT, class token": (_timm_vit, "tokens", (4, 4), 1, "blocks.0"),
    "timm ViT, registers": (lambda: _timm_vit(reg_tokens=3), "tokens", (4, 4), 4, "blocks.0"),
    "timm ViT, mean of patches": (lambda: _timm_vit(class_token=False, global_pool="avg"), "tokens", (4, 4), 0, "norm"),
    "timm ViT, attention pooling": (lambda: _timm_vit(class_token=False, global_pool="map"), "tokens", (4, 4), 0, "attn_pool.kv"),
    "timm Swin": (_swin, "nhwc", (8, 8), 0, "norm"),
    "open_clip ViT": (_open_clip_vit, "tokens", (4, 4), 1, "transformer.resblocks.0"),
    "transformers ViT": (_hub_vit, "tokens", (4, 4), 1, "model.layers.0"),
    "own network": (SmallConv, "nchw", (8, 8), 0, "next"),
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_last_feature_map_of_any_network_is_found_and_every_method_it_allows_gives_a_map(name):
    make, layout, grid, prefix, where = NETWORKS[name]
    torch.manual_seed(0)
    encode, pixels = make().eval(), torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    encoder = _prepared(encode, pixels)

    assert (encoder.layer.shape.layout, encoder.layer.shape.grid, encoder.layer.shape.prefix) == (layout, grid, prefix)
    assert encoder.layer.name.replace("encoder.layer.", "layers.") == where
    assert ("attention" in encoder.unavailable) == (layout != "tokens")
    for method in METHODS:
        if method not in encoder.unavailable and method != "occlusion":
            found = attribute(encoder, method, pixels, _directions(2, encode(pixels).shape[1], 1))
            assert found.shape == (1, 2, 32, 32)
            assert (found.amax(dim=(2, 3)) > found.amin(dim=(2, 3))).all(), method


def test_a_map_too_coarse_is_passed_over_for_the_one_before():
    torch.manual_seed(0)
    encode = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 4, 4), nn.ReLU(), nn.Flatten()).eval()
    pixels = torch.rand(2, 3, SIDE, SIDE)
    seen = trace(encode, pixels)

    assert last_spatial_layer(encode, seen, at_least=2).shape.grid == (2, 2)
    assert last_spatial_layer(encode, seen, at_least=4).shape.grid == (8, 8)
    assert last_spatial_layer(encode, seen, at_least=9) is None


def test_images_that_are_not_square_keep_their_grid():
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 32, 48)

    layer = _prepared(OneAttention().eval(), pixels).layer

    assert layer.shape.grid == (8, 12)
    assert layer.shape.prefix == 1


def test_undisturbed_puts_modes_and_random_states_back_after_an_error(conv):
    conv.train()
    conv.norm.eval()
    modes = [module.training for module in conv.modules()]
    state, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002

    def look() -> None:
        with torch.no_grad(), undisturbed(conv):
            assert not conv.training
            assert torch.is_grad_enabled()
            torch.rand(3)
            np.random.rand(3)  # noqa: NPY002
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        look()

    assert [module.training for module in conv.modules()] == modes
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(numbers, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("fails", [False, True])
def test_methods_leave_no_hook_no_gradient_and_torchs_attention_as_it_was(fails, images):
    torch.manual_seed(0)
    encode, original = OneAttention().eval(), F.scaled_dot_product_attention
    encode.qkv.weight.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in encode.parameters()]
    encoder = _prepared(encode, images)
    directions = _directions(6, 7 if fails else 5)

    for method in METHODS:
        if fails:
            with pytest.raises(RuntimeError):
                attribute(encoder, method, images, directions)
        else:
            attribute(encoder, method, images, directions)

    assert F.scaled_dot_product_attention is original
    assert all(parameter.grad is None for parameter in encode.parameters())
    assert [parameter.requires_grad for parameter in encode.parameters()] == flags
    for module in encode.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_zero_shot_directions_are_a_class_minus_the_mean_of_the_others():
    weights = np.diag([2.0, 3.0, 4.0])

    found = zero_shot_directions(np.array([0, 2]), weights)

    np.testing.assert_allclose(found, [[1, -0.5, -0.5], [-0.5, -0.5, 1]])
    assert predicted_classes(np.array([[0.1, 0.0, 0.9]]), weights) == [2]


def test_frequencies_share_out_exactly_what_the_pixels_do(conv, images):
    encoder = _prepared(conv, images)
    gradients = mean_gradients(encoder, images, _directions(6, 5, 1))[0].numpy()
    difference = (images - GREY).numpy()

    found = used_contributions(difference, gradients)

    np.testing.assert_allclose(found.sum(axis=(1, 2)), (difference * gradients).sum(axis=(1, 2, 3)), atol=1e-5)


def test_a_model_of_one_frequency_uses_the_band_of_that_frequency(images):
    """Weight = a cosine of five cycles in 16 pixels, 0.625 of the Nyquist frequency: high. Of one cycle: low. Constant: mean."""
    from probes.attribution.metrics.spectrum import band_shares

    for cycles, band in ((5, 3), (3, 2), (1, 1), (0, 0)):
        wave = torch.cos(2 * torch.pi * cycles * torch.arange(SIDE) / SIDE).expand(3, SIDE, SIDE) * 1e-3
        encoder = _prepared(UnitLinear(wave.contiguous()), images)
        gradients = mean_gradients(encoder, images, torch.tensor([1.0, 0.0]).expand(1, 6, 2))[0].numpy()

        shares = band_shares(used_contributions((images - GREY).numpy(), gradients))

        np.testing.assert_allclose(shares[:, band], 1.0, atol=1e-4)


def test_white_noise_has_the_band_shares_of_white_noise():
    """Mean over 400 maps; the s.d. of a share is below 0.002."""
    maps = np.random.default_rng(0).normal(size=(400, SIDE, SIDE))

    np.testing.assert_allclose(map_band_shares(maps).mean(axis=0), white_shares(SIDE, SIDE), atol=0.01)
    assert band_of(8, 12)[0, 0] == 0
    assert band_of(8, 12)[4, 6] == 3


def test_energy_of_an_even_map_is_the_area_and_of_an_empty_map_is_none():
    maps = np.stack([np.ones((16, 16)), -np.ones((16, 16)), np.zeros((16, 16))])

    found = energy_share(maps, border_region(16, 16))

    np.testing.assert_allclose(found[:2], 1 - (12 / 16) ** 2)
    assert np.isnan(found[2])
    np.testing.assert_allclose(energy_share(maps, centre_region(16, 16))[:2], 0.25)


def test_pointing_and_overlap_by_hand():
    masks = np.zeros((3, 4, 4), dtype=bool)
    masks[:2, :2, :2] = True
    maps = np.zeros((3, 4, 4))
    maps[0, :2, :2] = [[4, 3], [2, 1]]
    maps[1, 0, 0], maps[1, 3] = 9, 1  # its four largest: one inside, three outside: IoU 1 / 7

    np.testing.assert_array_equal(pointing_game(maps, masks), [True, True, False])
    np.testing.assert_allclose(overlap(maps, masks), [1, 1 / 7, np.nan])


def test_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 4, 4)).round(1)  # with ties
    a[4] = 0

    found = rank_correlation(a, b)

    np.testing.assert_allclose(found[:4], [spearmanr(x.ravel(), y.ravel())[0] for x, y in zip(a[:4], b[:4], strict=True)])
    assert np.isnan(found[4])


def test_cells_average_and_misplaced_maps_keep_their_values():
    maps = np.arange(2 * 20 * 12, dtype=float).reshape(2, 20, 12)
    cells = into_cells(maps)

    wrong = misplaced(cells, seed=0)

    assert cells.shape == (2, 8, 8)
    np.testing.assert_allclose(into_cells(np.ones((1, 20, 12))), 1)
    np.testing.assert_allclose(into_cells(maps, 4)[0, 0, 0], maps[0, :5, :3].mean())
    np.testing.assert_allclose(np.sort(wrong.ravel()), np.sort(cells.ravel()))
    assert (wrong != cells).any(axis=(1, 2)).all()


def test_deletion_and_insertion_of_a_linear_model_by_hand():
    """g = the mean of the brightness over the upper half times 0.1: deleting the upper half first leaves nothing after one half."""
    weight = torch.zeros(3, SIDE, SIDE)
    weight[:, : SIDE // 2] = 0.1 / (3 * SIDE * SIDE / 2)
    encoder = prepare(UnitLinear(weight), torch.ones(2, 3, SIDE, SIDE), baseline=torch.zeros(3, 1, 1), steps=4)
    maps = weight.sum(dim=0).numpy()[None].repeat(2, axis=0)

    found = curves(encoder, torch.ones(2, 3, SIDE, SIDE), torch.tensor([[1.0, 0.0]] * 2), into_cells(maps), seed=0)

    shares = np.array([0, 6, 16, 32, 48, 58, 64]) / 32  # cells of the upper half among the first, of 64
    np.testing.assert_allclose(found.insertion[0], 0.1 * np.minimum(shares, 1), atol=1e-6)
    np.testing.assert_allclose(found.deletion[0], 0.1 * (1 - np.minimum(shares, 1)), atol=1e-6)
    assert found.faithfulness[0] > 0


def test_the_area_of_an_order_without_meaning_is_the_same_for_deletion_and_insertion():
    line = np.array([[1.0, 0.9, 0.75, 0.5, 0.25, 0.1, 0.0]])

    even = Curves(line, line[:, ::-1])

    assert even.faithfulness == pytest.approx(0)
    assert even.areas[0] == pytest.approx(0.5)


def test_maps_without_meaning_are_seldom_believed(conv, images):
    """Null: 20 draws of smooth random maps for 12 images each. One draw passes in 2.5 %; more than 3 of 20 in 1 of 1,000."""
    pixels = torch.rand(12, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    encoder, direction = _prepared(conv, pixels), _directions(12, 5)[0]
    rng = np.random.default_rng(0)
    believed = 0
    for seed in range(20):
        noise = torch.from_numpy(rng.normal(size=(12, 1, 4, 4)))
        maps = F.interpolate(noise, size=(SIDE, SIDE), mode="bilinear")[:, 0].numpy()
        believed += measure_faithfulness(encoder, pixels, direction, maps, None, seed=seed)[2] == INFORMATIVE

    assert believed <= 3


def test_maps_of_shuffled_weights_are_no_better_than_themselves(conv, images):
    encoder, direction = _prepared(conv, images), _directions(6, 5)[0]
    maps = attribute(encoder, "integrated_gradients", images, direction[None])[0].numpy()

    scores, _, status = measure_faithfulness(encoder, images, direction, maps, maps, seed=0)

    assert scores["over_randomised_weights"].value == 0
    assert scores["randomised_weights_agreement"].value == pytest.approx(1)
    assert status.startswith("uninformative")


def test_the_cut_finds_a_square_whose_patches_are_alike():
    rng = np.random.default_rng(0)
    features = rng.normal(scale=0.1, size=(3, 6, 8, 8))
    features[:, 0] += 1
    features[:, 0, 2:6, 3:7] -= 1
    features[:, 1, 2:6, 3:7] += 1
    square = np.zeros((32, 32), dtype=bool)
    square[8:24, 12:28] = True

    masks = cut(torch.from_numpy(features).float(), (32, 32))

    for mask in masks:
        assert (mask & square).sum() / (mask | square).sum() > 0.75  # corners are rounded by the enlargement
