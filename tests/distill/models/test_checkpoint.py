"""Weights of anybody's making: what is read, what is refused and in which words."""

from __future__ import annotations

import argparse
import os
import pickle
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from distill.errors import DistillError
from distill.models.checkpoint import (
    load_encoder,
    load_student,
    read_description,
    read_tensors,
    save_student,
    save_tensors,
)
from distill.models.encoder import Encoder, weights_hash
from distill.models.foreign_weights.files import read_weights
from distill.models.foreign_weights.filling import fill_weights
from distill.models.student import attach_projection, build_backbone, feature_width

IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))

FOREIGN = """
import torch
from torch import nn
from torchvision import transforms


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, 6)

    def forward(self, images):
        return self.head(self.backbone(images))


def build():
    return Net()


def with_transform():
    return Net(), transforms.Compose([transforms.Resize(8), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.25,) * 3)])


def tied():
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 8, bias=False), nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    net[3].weight = net[2].weight
    return net


def fixed_size():
    return nn.Sequential(nn.Flatten(), nn.Linear(100, 4))


def grids():
    return nn.Conv2d(3, 4, 3)


def no_module():
    return "a string"


def leaves():
    raise SystemExit(0)
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(FOREIGN)
    return path


def student(seed: int = 0) -> tuple[Encoder, dict[str, object]]:
    torch.manual_seed(seed)
    kwargs = {"widths": [4, 6]}
    encoder = attach_projection(build_backbone("builtin:small_resnet", kwargs), 5, image_size=16)
    return encoder.eval(), {"spec": "builtin:small_resnet", "kwargs": kwargs, "embed_dim": 5, "image_size": 16, "loss": "l2"}


def test_student_comes_back_bit_equal(tmp_path: Path) -> None:
    encoder, description = student()
    save_student(tmp_path / "s.safetensors", encoder, description)

    again, known = load_student(tmp_path / "s.safetensors")

    assert weights_hash(again) == weights_hash(encoder)
    assert torch.equal(again(IMAGES), encoder(IMAGES))
    assert not again.training
    assert known == {"format": "synthgap-student-1", **description}
    assert read_description(tmp_path / "s.safetensors") == known
    assert weights_hash(load_encoder(str(tmp_path / "s.safetensors"), image_size=16)) == weights_hash(encoder)


def test_same_student_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_student(tmp_path / name, *student())

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    save_student(tmp_path / "s.safetensors", *student())
    whole = (tmp_path / "s.safetensors").read_bytes()

    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(DistillError, match="must be a whole safetensors file"):
            load_student(tmp_path / "cut.safetensors")


def test_safetensors_of_others_needs_its_model(tmp_path: Path) -> None:
    for metadata in (None, {"synthgap": "[]"}, {"synthgap": '{"format": "synthgap-student-1"}'}):
        save_file({"x": torch.ones(2)}, tmp_path / "x.safetensors", metadata=metadata)

        with pytest.raises(DistillError, match=r"must be a synthgap student.*--weights"):
            load_encoder(str(tmp_path / "x.safetensors"))


def test_absent_and_unknown_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"")

    with pytest.raises(FileNotFoundError, match=r"the checkpoint must be a file that exists, got .*gone.safetensors"):
        load_encoder(str(tmp_path / "gone.safetensors"))
    with pytest.raises(FileNotFoundError, match=r"the weights must be a file that exists, got .*gone.pt"):
        read_weights(tmp_path / "gone.pt")
    with pytest.raises(ValueError, match=r"got the file .*x.pt; name its model and give the file with `--weights`"):
        load_encoder(str(tmp_path / "x.pt"))
    with pytest.raises(ValueError, match="must be left out for the checkpoint"):
        load_encoder(str(tmp_path / "s.safetensors"), weights=tmp_path / "x.pt")


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module.visual.", "student.net."])
def test_what_a_wrapper_puts_before_every_name_is_taken_off_and_what_lies_beside_the_model_is_left(prefix: str) -> None:
    model, other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    beside = {"text.weight": torch.ones(2), "logit_scale": torch.ones(())}

    fill_weights(model, {prefix + name: tensor for name, tensor in other.state_dict().items()} | beside, "x.pt")

    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_model_that_is_there_twice_is_refused() -> None:
    weights = {f"{prefix}.{name}": tensor for prefix in ("student", "ema") for name, tensor in nn.Linear(2, 2).state_dict().items()}

    with pytest.raises(ValueError, match=r"must hold the model once, got it under \['ema.', 'student.'\]; keep one of them"):
        fill_weights(nn.Linear(2, 2), weights, "x.pt")


def test_a_tensor_that_is_missing_behind_a_prefix_is_named_alone() -> None:
    with pytest.raises(ValueError, match=r"got `bias` missing \(1 missing, 0 unexpected\)"):
        fill_weights(nn.Linear(2, 2), {"module.weight": torch.ones(2, 2)}, "x.pt")


@pytest.mark.parametrize("key", ["state_dict", "model", "module", "student"])
def test_a_state_dict_in_a_dict_is_found(key: str, tmp_path: Path) -> None:
    state = nn.Linear(2, 2).state_dict()
    torch.save({key: state, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "x.pt")

    assert read_weights(tmp_path / "x.pt").keys() == state.keys()


def test_a_key_after_the_file_chooses_one_of_several_state_dicts(tmp_path: Path) -> None:
    plain, average = nn.Linear(2, 2).state_dict(), nn.Linear(2, 2).state_dict()
    torch.save({"state_dict": plain, "state_dict_ema": average, "epoch": 3}, tmp_path / "x#1.pt")

    assert torch.equal(read_weights(tmp_path / "x#1.pt")["weight"], plain["weight"])
    assert torch.equal(read_weights(f"{tmp_path}/x#1.pt#state_dict_ema")["weight"], average["weight"])
    with pytest.raises(ValueError, match=r"got 'ema' where there are epoch, state_dict, state_dict_ema; choose one of these"):
        read_weights(f"{tmp_path}/x#1.pt#ema")


def test_a_classifier_beside_the_model_is_named_as_such() -> None:
    model = nn.Sequential()
    model.add_module("stem", nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"`fc.bias` unexpected \(0 missing, 2 unexpected\); save them without the classifier"):
        fill_weights(model, model.state_dict() | {"fc.weight": torch.ones(3, 2), "fc.bias": torch.ones(3)}, "x.pt")


def test_a_dict_without_a_state_dict_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"a": nn.Linear(2, 2).state_dict(), "b": nn.Linear(2, 2).state_dict(), "epoch": 3}, tmp_path / "two.pt")
    torch.save({"model": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "empty.pt")
    torch.save({"model": {}, "loss": nn.ReLU()}, tmp_path / "named.pt")

    with pytest.raises(DistillError, match="must hold a state dict of tensors, got a dict of a, b, epoch"):
        read_weights(tmp_path / "two.pt")
    with pytest.raises(DistillError, match="must hold a state dict of tensors, got a dict of args, model"):
        read_weights(tmp_path / "empty.pt")
    with pytest.raises(DistillError, match=r"needs unpickling or is broken \(torch.nn.modules.activation.ReLU\).*if you trust it"):
        read_weights(tmp_path / "named.pt")


class Payload:
    """Runs a command where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("how", ["torch.save", "pickle", "inside a state dict"])
def test_pickled_objects_are_refused_and_never_run(how: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    payload = Payload(f"touch {proof}")
    path = tmp_path / "evil.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps(payload))
    else:
        torch.save(payload if how == "torch.save" else {"state_dict": {"weight": torch.ones(2), "more": payload}}, path)

    with pytest.raises(DistillError, match="must hold plain tensors"):
        read_weights(path)

    assert not proof.exists()
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert proof.exists()  # the payload is real


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x04.", b"PK\x03\x04 not a zip", bytes(range(256)), b"]q\x00.", b"cargparse\nNamespace\n."]
)
def test_files_that_are_no_weights_are_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)

    with pytest.raises(DistillError, match="must hold"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("data", [torch.ones(2), {"epoch": 3}, {}, [torch.ones(2)]])
def test_torch_files_without_a_state_dict_are_refused(data: object, tmp_path: Path) -> None:
    torch.save(data, tmp_path / "w.pt")

    with pytest.raises(DistillError, match="must hold a state dict of tensors"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", None])
def test_plain_state_dicts_are_read_through_their_usual_keys(key: str | None, tmp_path: Path) -> None:
    state = {"weight": torch.arange(3.0)}
    torch.save(state if key is None else {key: state, "epoch": 3, "lr": [0.1]}, tmp_path / "w.pt")

    assert torch.equal(read_weights(tmp_path / "w.pt")["weight"], torch.arange(3.0))


def test_weights_must_fit_the_model() -> None:
    model = nn.Linear(3, 2)

    with pytest.raises(ValueError, match=r"`bias` missing \(1 missing, 0 unexpected\); name the model"):
        fill_weights(model, {"weight": torch.ones(2, 3)}, "w.pt")
    with pytest.raises(ValueError, match=r"`more` unexpected"):
        fill_weights(model, {"weight": torch.ones(2, 3), "bias": torch.ones(2), "more": torch.ones(1)}, "w.pt")
    with pytest.raises(ValueError, match=r"`weight` in w.pt must have shape \(2, 3\), got \(3, 3\)"):
        fill_weights(model, {"weight": torch.ones(3, 3), "bias": torch.ones(2)}, "w.pt")
    with pytest.raises(ValueError, match=r"the weights of w.pt must be finite, got NaN or infinity in `bias`"):
        fill_weights(model, {"weight": torch.ones(2, 3), "bias": torch.tensor([0.0, float("nan")])}, "w.pt")


def test_prefix_of_parallel_training_and_half_precision_are_taken_in() -> None:
    model = nn.Linear(3, 2)

    fill_weights(model, {"module.weight": torch.full((2, 3), 0.5, dtype=torch.float16), "module.bias": torch.ones(2)}, "w.pt")

    assert torch.equal(model.weight, torch.full((2, 3), 0.5))


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_foreign_model_with_its_state_dict_gives_its_own_embeddings(suffix: str, prefix: str, foreign: Path, tmp_path: Path) -> None:
    """The foreign module has a part called `backbone`, as our own wrapper has."""
    spec = f"{foreign}:build"
    torch.manual_seed(5)
    trained = load_encoder(spec, image_size=16).backbone
    state = {prefix + name: tensor for name, tensor in trained.state_dict().items()}
    path = tmp_path / f"w.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    torch.manual_seed(6)

    encoder = load_encoder(spec, weights=path, image_size=16)

    # Another memory layout of the images adds in another order.
    torch.testing.assert_close(encoder(IMAGES), trained(IMAGES))
    assert not encoder.training


def test_foreign_transform_is_applied_to_each_image(foreign: Path, tmp_path: Path) -> None:
    from torchvision.transforms.functional import to_pil_image

    torch.manual_seed(5)
    encoder = load_encoder(f"{foreign}:with_transform", image_size=16)
    torch.save(encoder.backbone.model.state_dict(), tmp_path / "w.pt")

    again = load_encoder(f"{foreign}:with_transform", weights=tmp_path / "w.pt", image_size=16)

    eight_bit = (IMAGES * 255).round().to(torch.uint8)
    prepared = torch.stack([encoder.backbone.transform(to_pil_image(image)) for image in eight_bit])
    assert prepared.shape == (3, 3, 8, 8)
    assert torch.equal(again(IMAGES), encoder.backbone.model(prepared))


def test_tied_weights_are_saved_and_read_back(foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHGAP_TRUST_CODE", "1")
    encoder = load_encoder(f"{foreign}:tied", image_size=16)
    description = {"spec": f"{foreign}:tied", "kwargs": {}, "embed_dim": 5, "image_size": 16}
    attach_projection(encoder, 5, image_size=16).eval()

    save_student(tmp_path / "s.safetensors", encoder, description)

    assert torch.equal(load_student(tmp_path / "s.safetensors")[0](IMAGES), encoder(IMAGES))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("net.py:gone", ValueError, r"must have a function gone, got \[.*'build'"),
        ("gone.py:build", FileNotFoundError, "must name a Python file that exists"),
        ("net.py:no_module", ValueError, "must return a torch.nn.Module, got str"),
        ("net.py:leaves", ValueError, "must build a model without arguments, got SystemExit"),
        ("net.py:fixed_size", ValueError, r"must take images of 16 x 16 pixels, got RuntimeError: .*give its own size"),
        ("net.py:grids", ValueError, r"must return embeddings of shape \(N, D\), got \(1, 4, 14, 14\); pool it"),
        ("broken.py:build", ValueError, "must import without an error, got ZeroDivisionError"),
        ("leaving.py:build", ValueError, "must import without an error, got SystemExit"),
    ],
)
def test_faults_in_foreign_files_are_named(name: str, error: type[Exception], message: str, foreign: Path) -> None:
    foreign.with_name("broken.py").write_text("1 / 0\n")
    foreign.with_name("leaving.py").write_text("raise SystemExit(0)\n")

    with pytest.raises(error, match=message):
        load_encoder(str(foreign.with_name(name)), image_size=16)


@pytest.mark.parametrize(
    ("spec", "kwargs", "message"),
    [
        ("timm:resnet81", {}, "did you mean .*resnet18"),
        ("builtin:big_resnet", {}, r"must be one of \['small_resnet'\]"),
        ("builtin:small_resnet", {"width": 3}, r"`kwargs` must be what builtin:small_resnet takes, got \['width'\]"),
        ("timm:test_byobnet", {"wide": 3}, r"`kwargs` must be what timm:test_byobnet takes, got \['wide'\]"),
        ("open_clip:ViT-B-33", {}, "`student` must be .*did you mean .*ViT-B-32"),
        ("resnet18", {}, "check the prefix"),
        ("", {}, "check the prefix"),
        ("timm:", {}, "check the prefix"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(spec: str, kwargs: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone(spec, kwargs)


def test_timm_model_takes_its_own_size_and_normalisation() -> None:
    torch.manual_seed(0)
    encoder = load_encoder("timm:test_vit", image_size=16)

    resized = nn.functional.interpolate(IMAGES, size=(160, 160), mode="bicubic").clamp(0, 1)
    expected = encoder.backbone((resized - 0.5) / 0.5)

    torch.testing.assert_close(encoder(IMAGES), expected)
    assert feature_width(encoder, 16) == 64


def test_measuring_the_width_leaves_modes_and_statistics_alone() -> None:
    encoder, _ = student()
    encoder.train()
    before = weights_hash(encoder)

    assert feature_width(encoder, 16) == 5

    assert encoder.training
    assert weights_hash(encoder) == before


@pytest.fixture
def hf_folder(tmp_path: Path) -> Path:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=16, patch_size=8)
    ViTModel(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.6, 0.7]).save_pretrained(
        tmp_path / "vit"
    )
    return tmp_path / "vit"


def test_hugging_face_folder_gives_its_pooled_output_with_its_normalisation(hf_folder: Path) -> None:
    from transformers import ViTModel

    encoder = load_encoder(f"hf:{hf_folder}", image_size=16)

    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    expected = ViTModel.from_pretrained(hf_folder).eval()(pixel_values=(IMAGES - mean) / std).pooler_output
    torch.testing.assert_close(encoder(IMAGES), expected)


def test_hugging_face_classifier_without_a_pooler_gives_its_class_token(hf_folder: Path) -> None:
    """A pooler that the checkpoint lacks would be drawn at random, another one at each load."""
    from safetensors.torch import load_file

    weights = {name: tensor for name, tensor in load_file(hf_folder / "model.safetensors").items() if "pooler" not in name}
    save_file(weights, hf_folder / "model.safetensors", metadata={"format": "pt"})

    first, second = (load_encoder(f"hf:{hf_folder}", image_size=16)(IMAGES) for _ in range(2))

    assert first.shape == (3, 8)
    assert torch.equal(first, second)


def test_unreachable_hub_and_broken_folder_are_one_line(hf_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (hf_folder / "config.json").write_text("{")

    with pytest.raises(DistillError, match=r"hub model `nobody/nothing-at-all` cannot be reached .*; download it first"):
        load_encoder("hf:nobody/nothing-at-all")
    with pytest.raises(DistillError, match="must be a loadable transformers model"):
        load_encoder(f"hf:{hf_folder}")


def test_full_disk_is_one_line_and_keeps_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    save_tensors(path, {"x": torch.ones(3)}, {"epoch": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))  # stands for a full disk: writes past it fail with EFBIG
    try:
        with pytest.raises(DistillError, match=r"must be writable, got .*what was saved before is whole"):
            save_tensors(path, {"x": torch.ones(100_000)}, {"epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert read_tensors(path)[1] == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.safetensors"]


def test_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(DistillError, match=r"taken/s.safetensors must be writable, got (File exists|Not a directory)"):
        save_tensors(tmp_path / "taken" / "s.safetensors", {"x": torch.ones(1)}, {})
