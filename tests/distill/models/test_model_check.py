"""What is said of a model: how it was read, what is odd, and which difference from somebody's own code is found by trying."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from distill.models.checkpoint import load_encoder
from distill.models.encoder import Encoder
from distill.models.model_check import compare, describe, made_up_pictures, oddities, own_code

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def backbone() -> nn.Module:
    draw = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw) * 0.5
    return network


@pytest.fixture
def encoder() -> Encoder:
    linear = nn.Linear(32, 32, bias=False)
    linear.weight.data = torch.randn(32, 32, generator=torch.Generator().manual_seed(1))
    return Encoder(backbone(), mean=MEAN, std=STD, input_size=24, projection=linear).eval()


@pytest.fixture
def pictures() -> list:
    return made_up_pictures(6, 40)


def pixels(pictures) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.asarray(one).copy()).permute(2, 0, 1).float() / 255 for one in pictures])


def resized(images: torch.Tensor) -> torch.Tensor:
    return F.interpolate(images, size=(24, 24), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def normalised(images: torch.Tensor, mean=MEAN, std=STD) -> torch.Tensor:
    return (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("prepare", "cause"),
    [
        (lambda x: normalised(resized(x), *IMAGENET), "another normalisation: ImageNet's"),
        (resized, "another normalisation: none"),
        (lambda x: normalised(resized(x.flip(1))), "blue, green, red"),
        (lambda x: normalised(255 * resized(x)), "0 to 255 instead of"),
        (lambda x: 255 * resized(x), "0 to 255 without normalisation"),
        (normalised, "no resizing"),
        (lambda x: normalised(F.interpolate(x, size=(24, 24), mode="nearest")), "another resizing: nearest"),
        (lambda x: normalised(F.interpolate(x, size=(24, 24), mode="bilinear")), "another resizing: bilinear"),
    ],
)
def test_a_difference_is_found_by_trying(encoder, pictures, prepare, cause):
    theirs = encoder.projection(encoder.backbone(prepare(pixels(pictures)))).detach()

    found = compare(encoder, pictures, theirs)

    assert not found.same
    assert found.cosine < 1 - 1e-4
    assert any(cause in one for one in found.causes), found.causes
    assert len(found.causes) <= 2


def test_the_same_code_is_the_same(encoder, pictures):
    theirs = encoder.projection(encoder.backbone(normalised(resized(pixels(pictures))))).detach()

    found = compare(encoder, pictures, theirs)

    assert found.same
    assert found.largest_difference < 1e-4
    assert found.causes == ()


def test_lengths_and_projections_that_differ_are_named(encoder, pictures):
    theirs = encoder(pixels(pictures)).detach()
    features = encoder.backbone(normalised(resized(pixels(pictures)))).detach()

    assert "L2 normalisation" in compare(encoder, pictures, F.normalize(theirs, dim=1)).causes[0]
    assert "a factor" in compare(encoder, pictures, 3 * theirs).causes[0]
    assert compare(encoder, pictures, features).causes == ("no projection behind the backbone",)
    assert "dimensions differ, 32 here and 5 there" in compare(encoder, pictures, torch.rand(6, 5)).causes[0]


def test_another_model_has_no_cause_of_those(encoder, pictures):
    found = compare(encoder, pictures, torch.randn(6, 32, generator=torch.Generator().manual_seed(3)))

    assert not found.same
    assert found.causes == ()


def test_code_that_returns_other_rows_is_refused(encoder, pictures):
    with pytest.raises(ValueError, match=r"must return shape \(6, D\), got \(5, 32\)"):
        compare(encoder, pictures, torch.rand(5, 32))


@pytest.mark.parametrize(
    ("embed", "words"),
    [
        (lambda x: torch.full((len(x), 3), float("nan")), "NaN or infinity for 6 of 6"),
        (lambda x: torch.zeros(len(x), 3), "zero for 6 of 6"),
        (lambda x: torch.ones(len(x), 3), "constant: one vector for 6"),
        (lambda x: torch.ones(len(x), 3) + 1e-4 * x.mean(dim=(2, 3)), "hardly depend on the image"),
        (lambda x: torch.eye(6)[[0, 0, 1, 2, 3, 4]], "equal for 1 pairs"),
        (lambda x: x.mean(dim=(2, 3)), ""),
    ],
)
def test_what_is_odd_about_embeddings_is_said(pictures, embed, words):
    said = oddities(embed, (255 * pixels(pictures)).round().to(torch.uint8))

    assert (words in said[0]) if words else not said


def test_images_that_are_all_the_same_say_nothing_of_a_model():
    assert oddities(lambda x: torch.ones(len(x), 3), torch.zeros(4, 3, 8, 8, dtype=torch.uint8)) == []


def test_a_description_names_the_tensors_that_are_not_used(tmp_path):
    bare = load_encoder("builtin:small_resnet", image_size=16)
    state = {name: tensor.clone() for name, tensor in bare.backbone.state_dict().items()}
    saved = {f"visual.{name}": tensor for name, tensor in state.items()} | {"text.token_embedding": torch.rand(7, 5)}
    save_file(saved, tmp_path / "w.safetensors")
    encoder = load_encoder("builtin:small_resnet", weights=tmp_path / "w.safetensors", image_size=16)

    told = describe(encoder, "builtin:small_resnet", weights=str(tmp_path / "w.safetensors"), image_size=16)

    assert told["weights_unused"] == ["text.token_embedding"]
    assert told["weights_used"] == len(state)
    assert told["dimension"] == 128
    assert told["dtype"] == "float32"
    assert told["normalisation"] == {"mean": [0.5] * 3, "std": [0.25] * 3}
    assert told["text_space"].startswith("none of its own")
    assert describe(bare, "builtin:small_resnet", image_size=16)["weights"] == "randomly initialised"


def test_a_description_tells_the_text_space(teacher_folder):
    told = describe(load_encoder(f"open_clip:{teacher_folder}", image_size=16), f"open_clip:{teacher_folder}", image_size=16)

    assert told["text_space"]["logit_scale"] == pytest.approx(14.2857, rel=1e-4)
    assert told["input_size"] == 16
    assert told["weights"] == "its own"


def test_own_code_is_a_function_of_pictures_or_builds_a_model(tmp_path, pictures):
    file = tmp_path / "own.py"
    file.write_text(
        "import numpy as np, torch\n"
        "def embed(pictures, scale=2):\n    return [[scale * float(np.asarray(one).mean()), 1.0] for one in pictures]\n"
        "class Mean(torch.nn.Module):\n    def forward(self, x):\n        return x.mean(dim=(2, 3))\n"
        "def model():\n    return Mean()\n"
    )

    rows = own_code(f"{file}:embed")(pictures)
    built = own_code(f"{file}:model")(pictures)

    assert rows[0, 0] == pytest.approx(2 * np.asarray(pictures[0]).mean(), rel=1e-5)
    torch.testing.assert_close(built, pixels(pictures).mean(dim=(2, 3)))
    with pytest.raises(ValueError, match="must be path/to/file"):
        own_code("timm:resnet18")
    with pytest.raises(FileNotFoundError, match="exists"):
        own_code("gone.py:embed")
