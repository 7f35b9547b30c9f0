"""Names of students with arguments, as `timm:NAME?num_classes=D`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distill.models.checkpoint import load_encoder, load_student, save_student
from distill.models.student import FORMS, attach_projection, build_backbone, has_random_weights


def test_arguments_in_a_name_are_those_of_timm(images: Tensor, normalised: Tensor, tmp_path) -> None:
    import timm

    torch.manual_seed(2)
    model = timm.create_model("test_byobnet", num_classes=5, global_pool="max", act_layer="gelu").eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")

    encoder = load_encoder("timm:test_byobnet?num_classes=5&global_pool=max&act_layer=gelu", weights=tmp_path / "w.pt", image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model(normalised), rtol=1e-5, atol=1e-5)
    assert has_random_weights("timm:test_byobnet?num_classes=5")
    assert "timm:NAME?num_classes=D" in FORMS


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("timm:test_byobnet?", "must have arguments after"),
        ("timm:test_byobnet?num_classes", "must have arguments after"),
        ("timm:test_byobnet?num_classes=", "must have arguments after"),
        ("timm:test_byobnet?num_classes=5&num_classes=6", "must set each argument once, got .'num_classes'. twice"),
        ("timm:test_byobnet?pretrained=True", "must only set what its layers are, got .'pretrained'."),
        ("timm:test_byobnet?checkpoint_path=/etc/passwd", "must only set what its layers are"),
        ("timm:test_byobnet?wide=3", r"`kwargs` must be what timm:test_byobnet\?wide=3 takes, got \['wide'\]"),
        ("timm:resnet81?num_classes=5", "did you mean .*resnet18"),
        ("builtin:small_resnet?width=3", r"`kwargs` must be what .* takes, got \['width'\]"),
    ],
)
def test_arguments_that_cannot_be_are_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone(spec)


def test_arguments_in_a_name_and_beside_it_are_joined() -> None:
    encoder = build_backbone("builtin:small_resnet?depth=2", {"widths": [4, 8]})

    assert encoder.backbone.num_features == 8
    with pytest.raises(ValueError, match="must set each argument once"):
        build_backbone("builtin:small_resnet?depth=2", {"depth": 1})


def test_a_students_checkpoint_keeps_a_name_with_arguments(images: Tensor, tmp_path) -> None:
    spec = "timm:test_byobnet?global_pool=max"
    torch.manual_seed(0)
    encoder = attach_projection(build_backbone(spec), 5, image_size=16).eval()
    save_student(tmp_path / "s.safetensors", encoder, {"spec": spec, "kwargs": {}, "embed_dim": 5, "image_size": 16})

    with torch.inference_mode():
        assert torch.equal(load_student(tmp_path / "s.safetensors")[0](images), encoder(images))
