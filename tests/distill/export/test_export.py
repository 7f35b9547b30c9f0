"""Students in other tools: plain open_clip, onnxruntime, safetensors; the same numbers as ours, or no export."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import open_clip
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn

from distill.data.split import Split, load_split
from distill.errors import DistillError
from distill.export import to_onnx
from distill.export.run import export_student
from distill.export.to_open_clip import join
from distill.models.checkpoint import load_encoder, load_student, save_student
from distill.models.student import attach_projection, build_backbone
from distill.models.teacher import load_teacher

TEMPLATES = ("a photo of a {}.", "{}")
# One training step's worth of disorder: fresh BatchNorm statistics and zero weights would hide a tensor left behind.
NOISE = 0.05


def _student(folder: Path, spec: str, *, size: int = 16, dim: int = 8, **kwargs: object) -> Path:
    torch.manual_seed(3)
    encoder = attach_projection(build_backbone(spec, kwargs), dim, image_size=size)
    with torch.no_grad():
        for tensor in encoder.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(NOISE * torch.rand_like(tensor))
    path = folder / "student.safetensors"
    save_student(path, encoder, {"spec": spec, "kwargs": kwargs, "embed_dim": dim, "image_size": size, "name": "tiny", "loss": "l2"})
    return path


def _ours(path: Path, split: Split, teacher: Path, size: int) -> np.ndarray:
    weights = load_teacher(str(teacher)).class_weights(split.class_names, TEMPLATES)
    with torch.inference_mode():
        rows = load_encoder(str(path))(torch.from_numpy(split.pixels(size)).float() / 255)
    return (rows @ weights).argmax(dim=1).numpy() == split.labels


def _theirs(model: Any, transform: Any, tokenizer: Any, split: Split) -> np.ndarray:
    """Classify every image with open_clip's own functions, from its encoded bytes."""
    names = [name.replace("_", " ") for name in split.class_names]
    templates = [lambda name, t=template: t.format(name) for template in TEMPLATES]
    images = [Image.open(io.BytesIO(entry["bytes"])) for entry in split.column("image")]
    model.eval()
    with torch.inference_mode():
        weights = open_clip.build_zero_shot_classifier(model, tokenizer, names, templates)
        rows = model.encode_image(torch.stack([transform(image) for image in images]), normalize=True)
    return (rows @ weights).argmax(dim=1).numpy() == split.labels


@pytest.fixture(scope="module")
def split(tiny_data: Path) -> Split:
    return load_split(tiny_data / "test-real.parquet", domain="real")


@pytest.mark.parametrize("spec", ["timm:test_resnet", pytest.param("timm:test_efficientnet", marks=pytest.mark.slow)])
def test_plain_open_clip_classifies_every_image_as_we_do(spec: str, teacher_folder: Path, split: Split, tmp_path: Path) -> None:
    path = _student(tmp_path, spec)

    about = export_student(path, tmp_path / "out", kind="open_clip", teacher=str(teacher_folder))

    where = f"local-dir:{tmp_path / 'out'}"
    model, _, transform = open_clip.create_model_and_transforms(where)
    theirs = _theirs(model, transform, open_clip.get_tokenizer(where), split)
    ours = _ours(path, split, teacher_folder, 16)
    assert theirs.tolist() == ours.tolist()
    assert 0 < ours.sum() < len(ours), "all right or all wrong would not tell two models apart"
    assert about["largest_difference"]["texts"] < 1e-5  # the same weights, at other places in memory
    assert about["files"] == ["open_clip_config.json", "open_clip_model.safetensors"]
    again = load_teacher(str(tmp_path / "out"))
    with torch.inference_mode():
        images = torch.from_numpy(split.pixels(16)).float() / 255
        torch.testing.assert_close(again.encoder(images), load_encoder(str(path))(images), rtol=1e-5, atol=1e-5)
    assert again.logit_scale == pytest.approx(load_teacher(str(teacher_folder)).logit_scale)


def test_a_student_that_open_clip_resizes_for_is_told_so(teacher_folder: Path, tmp_path: Path) -> None:
    path = _student(tmp_path, "timm:test_vit", size=64)  # takes 160 pixels, whatever it is given

    about = export_student(path, tmp_path / "out", kind="open_clip", teacher=str(teacher_folder))

    assert about["resizes"] is True
    # Pillow's bicubic and torch's are not one; what they make of smooth images is close.
    assert 0.99 < about["smallest_cosine"] < 1
    assert json.loads((tmp_path / "out" / "open_clip_config.json").read_text())["preprocess_cfg"]["size"] == 160


def test_projection_of_an_open_clip_student_is_folded_into_its_last_layer(teacher_folder: Path, split: Split, tmp_path: Path) -> None:
    path = _student(tmp_path, f"open_clip:{teacher_folder}")

    export_student(path, tmp_path / "out", kind="open_clip", teacher=str(teacher_folder))

    where = f"local-dir:{tmp_path / 'out'}"
    model, _, transform = open_clip.create_model_and_transforms(where)
    assert _theirs(model, transform, open_clip.get_tokenizer(where), split).tolist() == _ours(path, split, teacher_folder, 16).tolist()


def test_students_without_a_timm_name_are_joined_in_memory(teacher_folder: Path, split: Split, tmp_path: Path) -> None:
    path = _student(tmp_path, "builtin:small_resnet", widths=[4, 8])

    theirs = _theirs(*join(path, str(teacher_folder)), split)

    assert theirs.tolist() == _ours(path, split, teacher_folder, 16).tolist()


@pytest.mark.parametrize(
    ("spec", "kwargs", "message"),
    [
        ("builtin:small_resnet", {"widths": [4, 8]}, "must be timm:NAME without arguments, or open_clip:NAME.*got builtin:small_resnet"),
        ("timm:test_vit", {"img_size": 16}, "got timm:test_vit with img_size"),
    ],
)
def test_what_plain_open_clip_cannot_rebuild_is_refused(
    spec: str, kwargs: dict, message: str, teacher_folder: Path, tmp_path: Path
) -> None:
    path = _student(tmp_path, spec, **kwargs)

    with pytest.raises(ValueError, match=message):
        export_student(path, tmp_path / "out", kind="open_clip", teacher=str(teacher_folder))

    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["student.safetensors"]


def test_bad_requests_are_refused_and_leave_nothing(teacher_folder: Path, tmp_path: Path) -> None:
    path = _student(tmp_path, "timm:test_resnet", dim=9)
    out = tmp_path / "out"

    with pytest.raises(ValueError, match="`--format` must be one of safetensors, onnx, open_clip, got 'pickle'"):
        export_student(path, out, kind="pickle")
    with pytest.raises(ValueError, match="`--teacher` must be given for a checkpoint outside of a run"):
        export_student(path, out, kind="open_clip")
    with pytest.raises(ValueError, match="`--teacher` must have a text tower, got timm:resnet18"):
        export_student(path, out, kind="open_clip", teacher="timm:resnet18")
    with pytest.raises(ValueError, match="must have the student's 9 dimensions, got 8"):
        export_student(path, out, kind="open_clip", teacher=str(teacher_folder))
    with pytest.raises(FileNotFoundError, match="gone"):
        export_student(path, out, kind="open_clip", teacher=f"local-dir:{tmp_path / 'gone'}")
    with pytest.raises(FileNotFoundError, match="the checkpoint must be a file that exists"):
        export_student(tmp_path / "gone.safetensors", out, kind="safetensors")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "keep").touch()
    with pytest.raises(FileExistsError, match="`--out` must be a new folder"):
        export_student(path, tmp_path / "full", kind="safetensors")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["full", "student.safetensors"]


def test_safetensors_come_back_bit_for_bit_and_say_what_goes_in(tmp_path: Path) -> None:
    path = _student(tmp_path, "builtin:small_resnet", widths=[4, 8])

    export_student(path, tmp_path / "out", kind="safetensors")

    encoder, description = load_student(tmp_path / "out" / "student.safetensors")
    before = load_student(path)[0].state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert description["input"] == {"shape": ["N", 3, 16, 16], "dtype": "float32", "range": [0, 1], "colours": "RGB"}
    assert description["inside"] == {"resize": None, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    with safe_open(tmp_path / "out" / "student.safetensors", framework="np") as file:
        assert json.loads(file.metadata()["synthgap"])["spec"] == "builtin:small_resnet"
    assert json.loads((tmp_path / "out" / "export.json").read_text())["training"]["loss"] == "l2"


def test_onnx_gives_our_embeddings_for_any_number_of_images(tmp_path: Path) -> None:
    path = _student(tmp_path, "builtin:small_resnet", widths=[4, 8])

    about = export_student(path, tmp_path / "out", kind="onnx")

    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "student.onnx"))
    for count in (1, 7):
        images = torch.rand(count, 3, 16, 16)
        with torch.inference_mode():
            expected = load_encoder(str(path))(images)
        (got,) = session.run(None, {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), expected, rtol=0, atol=1e-4)
    assert about["largest_difference"] <= about["tolerance"] == 1e-4
    described = session.get_modelmeta().custom_metadata_map
    assert json.loads(described["synthgap.input"])["range"] == [0, 1]
    assert json.loads(described["synthgap.output"])["shape"] == ["N", 8]


def test_onnx_that_disagrees_is_not_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _student(tmp_path, "builtin:small_resnet", widths=[4, 8])
    encoder, description = load_student(path)
    with torch.no_grad():
        encoder.projection.weight.mul_(1e-6)  # embeddings so small that no absolute tolerance would see a difference
    save_student(path, encoder, description)
    trace = to_onnx._trace

    def spoilt(encoder: nn.Module, size: int, file: Path, *, dynamo: bool) -> None:
        """Trace a student whose first weights are a hundredth off, as a wrong operator would make it."""
        if dynamo:
            raise RuntimeError("cannot trace")
        other, _ = load_student(path)
        with torch.no_grad():
            next(other.parameters()).mul_(1.01)
        trace(other, size, file, dynamo=dynamo)

    monkeypatch.setattr(to_onnx, "_trace", spoilt)
    with pytest.raises(DistillError, match=r"same numbers as ONNX.*must agree with PyTorch to 0.0001, got a difference of .*cannot trace"):
        export_student(path, tmp_path / "out", kind="onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "size"), [("timm:test_vit", 224), ("timm:test_vit", 32)])
def test_onnx_resizes_inside_as_we_do(spec: str, size: int, tmp_path: Path) -> None:
    """The student takes 160 pixels: from 224 with antialiasing, which only torch.export knows, from 32 without."""
    about = export_student(_student(tmp_path, spec, size=size), tmp_path / "out", kind="onnx")

    assert about["exporter"] == ("torch.export" if size > 160 else "tracing")
    assert about["inside"]["resize"] == 160
