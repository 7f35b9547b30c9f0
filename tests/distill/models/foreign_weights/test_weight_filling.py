"""Every tensor of a weights file is used, known to be harmless, or refused by name; embeddings are those of the original model."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn import functional as F

from distill.models.checkpoint import load_encoder, load_encoder_with_report
from distill.models.foreign_weights.filling import fill_from_file, fill_weights

SPEC = "timm:test_byobnet"
WIDTH = 256

Linear = Callable[..., nn.Linear]


def state(**parts: nn.Module) -> dict[str, Tensor]:
    """The state dict of a module with these parts."""
    return nn.ModuleDict(parts).state_dict()


def saved(tensors: object, tmp_path: Path, name: str = "w.pt") -> Path:
    torch.save(tensors, tmp_path / name)
    return tmp_path / name


def close(encoder: nn.Module, images: Tensor, expected: Tensor) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("embed_dim", [WIDTH, 7])
@pytest.mark.parametrize("name", ["proj", "projection", "projector", "visual_projection", "image_proj", "head.proj", "student_proj"])
def test_a_projection_beside_the_backbone_is_used_and_said(
    name: str,
    embed_dim: int,
    bias: bool,
    backbone: nn.Module,
    linear: Linear,
    images: Tensor,
    normalised: Tensor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    proj = linear(WIDTH, embed_dim, bias=bias)
    tensors = state(backbone=backbone) | {f"{name}.{key}": tensor for key, tensor in proj.state_dict().items()}

    with caplog.at_level(logging.WARNING):
        encoder, report = load_encoder_with_report(SPEC, weights=saved(tensors, tmp_path), image_size=16)

    with torch.inference_mode():
        close(encoder, images, proj(backbone(normalised)))
    assert report.prefix == "backbone."
    assert report.used == len(tensors)
    assert report.unused == {}
    assert f"`{name}.weight` of shape ({embed_dim}, 256) is used as a linear projection" in caplog.text


def test_a_sequential_of_backbone_and_linear_layer_gives_its_own_embeddings(
    backbone: nn.Module, linear: Linear, images: Tensor, normalised: Tensor, tmp_path: Path
) -> None:
    whole = nn.Sequential(backbone, linear(WIDTH, WIDTH)).eval()

    encoder, report = load_encoder_with_report(SPEC, weights=saved(whole.state_dict(), tmp_path), image_size=16)

    with torch.inference_mode():
        close(encoder, images, whole(normalised))
    assert report.prefix == "0."
    assert "`1.weight`" in report.projection


def test_entries_of_backbone_and_projection_in_one_file_are_joined(
    backbone: nn.Module, linear: Linear, images: Tensor, normalised: Tensor, tmp_path: Path
) -> None:
    proj = linear(WIDTH, 5)
    path = saved({"model": backbone.state_dict(), "projection": proj.state_dict(), "epoch": 3}, tmp_path)

    with torch.inference_mode():
        close(load_encoder(SPEC, weights=path, image_size=16), images, proj(backbone(normalised)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        ({"proj": mlp()}, ["proj.0.weight", "proj.0.bias", "proj.2.weight", "proj.2.bias"]),
        ({"norm": nn.LayerNorm(WIDTH)}, ["norm.weight", "norm.bias"]),
        ({"bn": nn.BatchNorm1d(WIDTH)}, ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"]),
        ({"norm": nn.LayerNorm(WIDTH), "proj": nn.Linear(WIDTH, WIDTH)}, ["norm.weight", "norm.bias", "proj.weight", "proj.bias"]),
        ({"proj": nn.Linear(WIDTH, WIDTH), "proj2": nn.Linear(WIDTH, WIDTH)}, ["proj.weight", "proj2.weight"]),
        ({"proj": nn.Conv2d(WIDTH, WIDTH, 1)}, ["proj.weight", "proj.bias"]),
        ({"teacher_proj": nn.Linear(WIDTH, WIDTH)}, ["teacher_proj.weight", "teacher_proj.bias"]),
        ({"predictor": nn.Linear(WIDTH, WIDTH)}, ["predictor.weight", "predictor.bias"]),
        ({"head": nn.Linear(WIDTH, WIDTH)}, ["head.weight", "head.bias"]),
        ({"classifier": nn.Linear(WIDTH, 10)}, ["classifier.weight", "classifier.bias"]),
        ({"teacher": nn.Linear(WIDTH, 10)}, ["teacher.weight", "teacher.bias"]),
    ],
)
def test_whatever_else_lies_behind_the_backbone_is_refused_by_name(
    beside: dict[str, nn.Module], named: list[str], backbone: nn.Module, tmp_path: Path
) -> None:
    path = saved(state(backbone=backbone, **beside), tmp_path)

    with pytest.raises(ValueError, match="must fit the model") as caught:
        load_encoder(SPEC, weights=path, image_size=16)

    message = str(caught.value)
    assert all(f"`{name}`" in message for name in named)
    assert f"`{path}#backbone`" in message


@pytest.mark.parametrize("gap", ["2", "backbone.1", "10"])
def test_a_linear_layer_that_does_not_follow_at_once_is_refused(gap: str, backbone: nn.Module, linear: Linear, tmp_path: Path) -> None:
    """Between `0` and `2` of an `nn.Sequential` there is something without weights, such as a ReLU."""
    tensors = {f"0.{name}": tensor for name, tensor in backbone.state_dict().items()}
    tensors |= {f"{gap}.{name}": tensor for name, tensor in linear(WIDTH, WIDTH).state_dict().items()}

    with pytest.raises(ValueError, match=rf"`{gap}.bias` unexpected"):
        load_encoder(SPEC, weights=saved(tensors, tmp_path), image_size=16)


def test_a_bare_parameter_is_refused_since_its_orientation_is_unknown(backbone: nn.Module, tmp_path: Path) -> None:
    tensors = state(backbone=backbone) | {"proj": torch.ones(WIDTH, WIDTH)}

    with pytest.raises(ValueError, match="`proj` unexpected"):
        load_encoder(SPEC, weights=saved(tensors, tmp_path), image_size=16)


def test_a_projection_of_another_width_is_refused(backbone: nn.Module, linear: Linear, tmp_path: Path) -> None:
    tensors = state(backbone=backbone, proj=linear(WIDTH + 1, 5))

    with pytest.raises(ValueError, match=r"`proj.weight` in .* must take the model's 256 features, got shape \(5, 257\)"):
        load_encoder(SPEC, weights=saved(tensors, tmp_path), image_size=16)


def test_a_prefix_after_the_file_reads_the_backbone_alone(
    backbone: nn.Module, linear: Linear, images: Tensor, normalised: Tensor, tmp_path: Path
) -> None:
    path = saved(state(backbone=backbone, proj=linear(WIDTH, WIDTH), teacher=backbone), tmp_path)

    encoder, report = load_encoder_with_report(SPEC, weights=f"{path}#backbone", image_size=16)

    with torch.inference_mode():
        close(encoder, images, backbone(normalised))
    (rest,) = report.unused.values()
    assert {"proj.weight", "proj.bias"} < set(rest)


def test_a_student_and_its_teacher_in_one_file_are_refused_with_both_names(backbone: nn.Module, tmp_path: Path) -> None:
    other = {f"teacher.{name}": tensor + 1 for name, tensor in backbone.state_dict().items()}
    path = saved(state(student=backbone) | other, tmp_path)

    with pytest.raises(
        ValueError, match=r"got it under \['student.', 'teacher.'\]; keep one of them, as with `.*#student` or `.*#teacher`"
    ):
        load_encoder(SPEC, weights=path, image_size=16)
    with pytest.raises(ValueError, match=r"got it under \['', 'teacher.'\].*#model` or `.*#teacher`"):
        load_encoder(
            SPEC,
            weights=saved({"model": backbone.state_dict(), "teacher": {k.removeprefix("teacher."): v for k, v in other.items()}}, tmp_path),
            image_size=16,
        )


def test_a_teacher_of_another_shape_is_refused_by_name_and_can_be_left_out(
    backbone: nn.Module, images: Tensor, normalised: Tensor, tmp_path: Path
) -> None:
    path = saved(state(student=backbone, teacher=nn.Conv2d(3, 4, 3)), tmp_path)

    with pytest.raises(
        ValueError, match=r"`teacher.bias` unexpected.*read the model alone as `.*#student`.*`teacher.bias`, `teacher.weight`"
    ):
        load_encoder(SPEC, weights=path, image_size=16)
    with torch.inference_mode():
        close(load_encoder(SPEC, weights=f"{path}#student.", image_size=16), images, backbone(normalised))


def test_a_copy_with_equal_numbers_is_said_and_not_refused(
    backbone: nn.Module, images: Tensor, normalised: Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved(state(net=backbone, wrapped=backbone), tmp_path)

    encoder, report = load_encoder_with_report(SPEC, weights=path, image_size=16)

    with torch.inference_mode():
        close(encoder, images, backbone(normalised))
    assert len(report.unused["equal copy"]) > 80
    assert "not used (equal copy): `wrapped.*`" in caplog.text


@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: f"_orig_mod.module.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: f"model.module.{name}",
        lambda name: name.replace(".", "._orig_mod.", 1),
        lambda name: f"net.{name.replace('.', '.module.', 2)}",
        lambda name: name.replace(".", "._checkpoint_wrapped_module.", 1),
        lambda name: f"_forward_module.{name.replace('.', '._fsdp_wrapped_module.', 1)}",
    ],
)
def test_wrapper_parts_are_taken_out_anywhere_in_a_name(
    wrap: Callable[[str], str], backbone: nn.Module, images: Tensor, normalised: Tensor, tmp_path: Path
) -> None:
    path = saved({wrap(name): tensor for name, tensor in backbone.state_dict().items()}, tmp_path)

    with torch.inference_mode():
        close(load_encoder(SPEC, weights=path, image_size=16), images, backbone(normalised))


def test_real_wrappers_of_torch_give_names_that_are_read(backbone: nn.Module, images: Tensor, normalised: Tensor, tmp_path: Path) -> None:
    with torch.inference_mode():
        expected = backbone(normalised)
    averaged = torch.optim.swa_utils.AveragedModel(backbone)
    backbone.stem = torch.compile(backbone.stem)
    for number, model in enumerate((averaged, nn.DataParallel(backbone), torch.compile(nn.DataParallel(backbone)))):
        close(load_encoder(SPEC, weights=saved(model.state_dict(), tmp_path, f"{number}.pt"), image_size=16), images, expected)


def test_the_same_tensor_under_two_wrappers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold each tensor once, got `weight` and `module.weight`"):
        fill_weights(nn.Linear(2, 2, bias=False), {"weight": torch.ones(2, 2), "module.weight": torch.zeros(2, 2)}, "x.pt")


def test_a_model_with_a_part_called_module_keeps_its_names() -> None:
    model = nn.Sequential(OrderedDict(module=nn.Linear(2, 2), linear=nn.Linear(2, 2)))
    other = nn.Sequential(OrderedDict(module=nn.Linear(2, 2), linear=nn.Linear(2, 2)))

    fill_weights(model, other.state_dict(), "x.pt")

    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_harmless_tensors_are_recorded_and_not_warned_of(
    backbone: nn.Module, images: Tensor, normalised: Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = {name: tensor for name, tensor in backbone.state_dict().items() if not name.endswith("num_batches_tracked")}
    extra = {"stem.total_ops": torch.ones(1), "position_ids": torch.arange(5), "n_averaged": torch.tensor(3)}

    encoder, report = load_encoder_with_report(SPEC, weights=saved(tensors | extra, tmp_path), image_size=16)

    with torch.inference_mode():
        close(encoder, images, backbone(normalised))
    assert set(report.harmless) == set(extra)
    assert not report.is_unusual
    assert caplog.text == ""


def test_a_buffer_that_the_model_no_longer_saves_must_have_its_values() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.register_buffer("scale", torch.tensor([1.0, 2.0]), persistent=False)

    fill_weights(Net(), Net().state_dict() | {"scale": torch.tensor([1.0, 2.0])}, "x.pt")
    with pytest.raises(ValueError, match="`scale` unexpected"):
        fill_weights(Net(), Net().state_dict() | {"scale": torch.tensor([1.0, 3.0])}, "x.pt")


def test_a_parameter_is_never_taken_for_a_buffer_that_can_be_missing() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.attn_mask = nn.Parameter(torch.ones(2))

    tensors = {name: tensor for name, tensor in Net().state_dict().items() if name != "attn_mask"}
    with pytest.raises(ValueError, match="`attn_mask` missing"):
        fill_weights(Net(), tensors, "x.pt")


@pytest.mark.parametrize("wrap", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_parametrised_weights_are_refused_with_the_remedy(wrap: Callable[[nn.Module], nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"remove the parametrisation .*Unexpected: `parametrizations.weight"):
        fill_weights(nn.Linear(2, 2), wrap(nn.Linear(2, 2)).state_dict(), "x.pt")


def test_an_initial_checkpoint_of_training_is_read_with_the_same_care(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    path = saved({"state_dict": {"net.weight": other.weight, "net.bias": other.bias}, "model_ema": model.state_dict()}, tmp_path)

    report = fill_from_file(model, path)

    assert torch.equal(model.weight, other.weight)
    assert report.prefix == "net."
    assert "not used (another copy of the weights, which FILE#KEY reads): `model_ema.bias`, `model_ema.weight`" in caplog.text


def test_tied_weights_that_safetensors_wrote_once_are_read(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    def tied() -> nn.Module:
        net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        net[1].weight = net[0].weight
        return net

    original, again = tied(), tied()
    save_model(original, str(tmp_path / "w.safetensors"))

    fill_weights(again, load_file(tmp_path / "w.safetensors"), "w.safetensors")

    assert torch.equal(again(torch.ones(1, 4)), original(torch.ones(1, 4)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_run_in_float32_and_it_is_said_once(
    dtype: torch.dtype, backbone: nn.Module, images: Tensor, normalised: Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in backbone.state_dict().items()}

    encoder = load_encoder(SPEC, weights=saved(tensors, tmp_path), image_size=16)

    backbone.load_state_dict({name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()})
    with torch.inference_mode():
        close(encoder, images, backbone(normalised))
    assert caplog.text.count(f"{str(dtype).removeprefix('torch.')} to float32 is converted") == 1


def test_integers_in_place_of_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`weight` in x.pt must hold float numbers, got torch.int8; save the weights as float32"):
        fill_weights(nn.Linear(2, 2, bias=False), {"weight": torch.ones(2, 2, dtype=torch.int8)}, "x.pt")


def test_a_larger_model_of_the_same_names_is_refused(tmp_path: Path) -> None:
    """All tensors of a resnet18 are in a resnet34, with the same shapes."""
    import timm

    path = saved(timm.create_model("resnet34", num_classes=0).state_dict(), tmp_path)

    with pytest.raises(ValueError, match=r"unexpected \(0 missing, 80 unexpected\).*Unexpected: `layer1.\*`"):
        load_encoder("timm:resnet18", weights=path, image_size=32)


def test_a_classifier_of_timm_is_refused_with_the_form_that_takes_it(images: Tensor, normalised: Tensor, tmp_path: Path) -> None:
    import timm

    torch.manual_seed(1)
    model = timm.create_model("test_byobnet", num_classes=12).eval()
    path = saved(model.state_dict(), tmp_path)

    with pytest.raises(ValueError, match=r"save them without the classifier.*timm:NAME\?num_classes=D"):
        load_encoder(SPEC, weights=path, image_size=16)
    with torch.inference_mode():
        close(load_encoder(f"{SPEC}?num_classes=12", weights=path, image_size=16), images, model(normalised))


def test_a_clip_of_open_clip_gives_its_image_features_and_the_text_tower_is_said(
    teacher_folder: Path, images: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    """The teacher's tower is a timm model with a linear projection: `visual.trunk.*` and `visual.head.proj.weight`."""
    import open_clip

    encoder, report = load_encoder_with_report(SPEC, weights=teacher_folder / "open_clip_model.safetensors", image_size=16)

    model = open_clip.create_model(f"local-dir:{teacher_folder}").eval()
    mean, std = (torch.tensor(model.visual.preprocess_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    encoder.mean, encoder.std = mean, std  # timm's own differ from those that the teacher was trained with
    with torch.inference_mode():
        close(encoder, images, model.encode_image((images - mean) / std))
    assert "visual.head.proj.weight" in report.projection
    assert "text tower" in report.unused
    assert "not used (text tower)" in caplog.text


def test_clip_laid_out_as_openais_is_read_by_its_image_tower(images: Tensor, tmp_path: Path) -> None:
    from open_clip.model import CLIP

    torch.manual_seed(0)
    model = CLIP(
        8,
        {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8},
        {"context_length": 8, "vocab_size": 50, "width": 64, "heads": 1, "layers": 1},
    )
    builder = tmp_path / "tower.py"
    builder.write_text(
        "from open_clip.model import CLIP\n"
        "def tower():\n"
        "    model = CLIP(8, {'image_size': 16, 'layers': 1, 'width': 64, 'patch_size': 8}, "
        "{'context_length': 8, 'vocab_size': 50, 'width': 64, 'heads': 1, 'layers': 1})\n"
        "    return model.visual\n"
    )
    path = saved({"epoch": 2, "state_dict": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}}, tmp_path)

    encoder, report = load_encoder_with_report(f"{builder}:tower", weights=path, image_size=16)

    with torch.inference_mode():
        close(encoder, images, model.eval().encode_image(images))
    assert set(report.unused) == {"text tower", "scale of cosines"}


def test_normalised_features_are_unlike_raw_ones_so_that_these_tests_can_fail(
    backbone: nn.Module, linear: Linear, normalised: Tensor
) -> None:
    with torch.inference_mode():
        features = backbone(normalised)
        projected = linear(WIDTH, WIDTH)(features)
    assert F.cosine_similarity(features, projected).abs().max() < 0.5
    assert (features[0] - features[1]).abs().max() > 1e-2
