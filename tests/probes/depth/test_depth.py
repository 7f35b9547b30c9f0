"""Depths of any encoder, and what the domains and classes do there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from probes.compute import memoize
from probes.depth.probe import depth, principal
from probes.depth.stages import features_at, pooled, stage_names
from probes.embeddings import embed
from probes.probe_input import ProbeInput


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.ReLU()

    def forward(self, x):
        return x + self.act(self.conv(x))


class Net(nn.Module):
    """A residual network inside a wrapper, with a projection."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone = nn.Sequential()
        self.backbone.add_module("stem", nn.Conv2d(3, 8, 3, padding=1))
        self.backbone.add_module("stages", nn.Sequential(*[Block(8) for _ in range(5)]))
        self.backbone.add_module("pool", nn.AdaptiveAvgPool2d(1))
        self.backbone.add_module("flat", nn.Flatten())
        self.projection = nn.Linear(8, 4, bias=False)

    def forward(self, x):
        return self.projection(self.backbone(x))


class Tokens(nn.Module):
    """A little transformer: tokens second, layers in a module list that is never called itself, and a tuple for an output."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, stride=4)
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.5) for _ in range(3)])
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x).mean(dim=1)


def test_a_residual_network_gives_its_blocks_and_a_transformer_its_layers():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 8, 8)

    assert stage_names(Net(), image, most=20) == [
        "backbone.stem",
        *[f"backbone.stages.{i}" for i in range(5)],
        "backbone.pool",
        "backbone.flat",
        "projection",
    ]
    assert stage_names(Net(), image, most=3) == ["backbone.stem", "backbone.stages.3", "projection"]
    assert stage_names(Tokens(), image, most=20) == ["patch", "layers.0", "layers.1", "layers.2", "norm"]


def test_features_are_the_mean_and_spread_of_the_modules_own_output():
    torch.manual_seed(0)
    net, images = Net().eval(), torch.rand(7, 3, 8, 8)

    found = features_at(net, ["backbone.stem", "projection"], images, batch_size=3)

    with torch.inference_mode():
        stem = net.backbone.stem(images)
        np.testing.assert_allclose(found["backbone.stem"][:, :8], stem.mean(dim=(2, 3)), atol=1e-6)
        np.testing.assert_allclose(found["backbone.stem"][:, 8:], stem.std(dim=(2, 3), correction=0), atol=1e-6)
        np.testing.assert_allclose(found["projection"], net(images), atol=1e-6)


def test_every_layout_is_pooled_over_places():
    maps = torch.rand(5, 6, 4, 4)
    tokens = torch.rand(5, 9, 6)

    expected = torch.cat([maps.mean(dim=(2, 3)), maps.std(dim=(2, 3), correction=0)], dim=1)
    np.testing.assert_allclose(pooled(maps, 5), expected, atol=1e-6)
    np.testing.assert_allclose(pooled(maps.permute(0, 2, 3, 1), 5), expected, atol=1e-6)
    np.testing.assert_allclose(pooled(tokens.transpose(0, 1), 5), pooled(tokens, 5), atol=1e-6)
    np.testing.assert_allclose(pooled((tokens, None), 5), pooled(tokens, 5))
    assert pooled(torch.rand(5, 6), 5).shape == (5, 6)
    assert pooled(torch.rand(6, 4, 4), 5) is None
    assert pooled("text", 5) is None


def test_modes_hooks_and_statistics_are_left_alone_also_after_an_exception():
    torch.manual_seed(0)
    net = Tokens().train()
    net.layers[1].eval()
    modes = [module.training for module in net.modules()]

    features_at(net, ["layers.0"], torch.rand(4, 3, 8, 8))
    with pytest.raises(RuntimeError):
        features_at(net, ["layers.0"], torch.rand(4, 5, 8, 8))

    assert [module.training for module in net.modules()] == modes
    assert not any(module._forward_hooks for module in net.modules())


def test_principal_coordinates_keep_the_variance_and_drop_constants():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(50, 3))
    features = np.concatenate([hidden @ rng.normal(size=(3, 20)), np.ones((50, 2))], axis=1)

    kept = principal(features, most=3)

    assert kept.shape == (50, 3)
    assert (kept**2).sum() == pytest.approx(50 * 20, rel=1e-6)  # all of the standardised variance of rank three


def _sight(net, name, *, mark: bool, images=160):
    """Two classes by colour; with a mark, synthetic images carry fine stripes."""
    rng = np.random.default_rng(0)
    labels, synthetic = np.arange(images) % 2, np.arange(images) >= images // 2
    pixels = rng.integers(90, 130, size=(images, 3, 8, 8))
    pixels[np.arange(images), labels] += 60
    if mark:
        pixels[synthetic, :, :, ::2] += 30
    pixels = pixels.astype(np.uint8)
    domain = np.where(synthetic, "synthetic", "real")
    table = embed(net, [torch.from_numpy(pixels)], ids=[f"i{row}" for row in range(images)], labels=labels, domain=domain, name=name)
    return ProbeInput(table, [pixels], net, ("a", "b"))


@pytest.fixture
def net():
    memoize.forget()
    torch.manual_seed(0)
    return Net().eval()


def test_stripes_are_seen_at_every_depth_and_classes_are_readable(net):
    result = depth(_sight(net, "student", mark=True), None, class_weights=np.eye(4)[:, :2], stages=3)

    stages = result.arrays["stages"].tolist()
    assert stages[0] == "backbone.stem"
    assert "projection" not in stages  # it is the embedding itself
    for place in ("at_1", "at_2"):
        assert result.scores[f"auc/{place}"].low > 0.9
        assert result.scores[f"within_class/auc/{place}"].low > 0.9
        assert result.scores[f"refit/to_classes/{place}/real"].low > 0.9
    assert "auc/at_end" in result.scores
    assert "refit_gain/before_projection/real" in result.scores


def test_without_a_difference_no_depth_separates(net):
    scores = depth(_sight(net, "student", mark=False), None, stages=2, seed=1).scores

    assert not [name for name in scores if name.startswith("refit")]
    for name, score in scores.items():
        assert score.low <= 0.5 <= score.high, name


def test_the_teacher_stands_beside_and_is_measured_once(net):
    student, teacher = _sight(net, "student", mark=True), _sight(Net().eval(), "teacher", mark=True)
    told = []

    first = depth(student, teacher, class_weights=np.eye(4)[:, :2], stages=2, progress=lambda *at: told.append(at))
    again = depth(student, teacher, class_weights=np.eye(4)[:, :2], stages=2)

    assert first.to_dict() == again.to_dict()
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert first.arrays["teacher/stages"].tolist() == first.arrays["stages"].tolist()
    assert first.scores["teacher/auc/at_1"].low > 0.9


def test_an_encoder_that_is_no_module_is_refused_and_such_a_teacher_left_out(net):
    student = _sight(net, "student", mark=True)
    plain = ProbeInput(student.table, student.pixels, lambda images: net(images), ("a", "b"))

    with pytest.raises(ValueError, match="`student` must be a torch module for `depth`, got another callable"):
        depth(plain, None)
    assert depth(student, plain, stages=1).reference is None
