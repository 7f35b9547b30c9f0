"""Models of somebody's Python file: wrappers, precisions, TorchScript and exported programs give the plain model's embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distill.models.checkpoint import load_encoder, load_encoder_with_report

CODE = """
import torch
import timm
from torch import nn


def plain(seed=0):
    torch.manual_seed(seed)
    return timm.create_model("test_byobnet", num_classes=0).eval()


def half():
    return plain().half()


def bfloat16():
    return plain().bfloat16()


def float64():
    return plain().double()


class Casts(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = plain().double()

    def forward(self, images):
        return self.net(images.double())


class Autocast(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = plain()

    def forward(self, images):
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(images)


class Stubborn(nn.Module):
    def forward(self, images):
        return nn.functional.linear(images.flatten(1).half(), torch.ones(3, images[0].numel()))


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = plain()
        self.net.stem = torch.compile(self.net.stem)

    def forward(self, images):
        return self.net(images)


def compiled():
    return torch.compile(plain())


def compiled_in_place():
    model = plain()
    model.compile()
    return model


def parallel():
    return nn.DataParallel(plain())


def compiled_parallel():
    return torch.compile(nn.DataParallel(plain()))


def traced():
    return torch.jit.trace(plain(), torch.rand(2, 3, 16, 16), check_trace=False)


def traced_half():
    return torch.jit.trace(plain(), torch.rand(2, 3, 16, 16), check_trace=False).half()


class Holds(nn.Module):
    def __init__(self):
        super().__init__()
        self.tower = traced()

    def forward(self, images):
        return self.tower(images)


def exported():
    batch = torch.export.Dim("batch", min=1, max=64)
    images = torch.rand(2, 3, 16, 16)
    return torch.export.export(plain(), (images,), dynamic_shapes=({0: batch},)).module()


def exported_for_two():
    return torch.export.export(plain(), (torch.rand(2, 3, 16, 16),)).module()


def meta():
    with torch.device("meta"):
        return plain()
"""

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "models.py"
    path.write_text(CODE)
    return path


@pytest.fixture
def expected(images: Tensor) -> Tensor:
    """What timm's model says of images that nobody normalises, as a model of a file is shown them."""
    import timm

    torch.manual_seed(0)
    model = timm.create_model("test_byobnet", num_classes=0).eval()
    with torch.inference_mode():
        return model(images)


def said(encoder: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return encoder(images)


@pytest.mark.parametrize("name", ["half", "bfloat16", "float64"])
def test_a_model_in_another_precision_runs_in_float32_and_it_is_said_once(
    name: str, code: Path, images: Tensor, expected: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, report = load_encoder_with_report(f"{code}:{name}", image_size=16)

    rows = said(encoder, images)
    precise = {"half": 2e-3, "bfloat16": 2e-2, "float64": 1e-6}[name]  # what rounding the weights has cost before we saw them
    torch.testing.assert_close(rows, expected, rtol=precise, atol=precise)
    assert rows.dtype == torch.float32
    assert report.precision == f"{name.replace('half', 'float16')} to float32"
    assert caplog.text.count("to float32 is converted, the model runs in float32") == 1


def test_a_half_model_gives_what_its_own_weights_give_in_float32(code: Path, images: Tensor) -> None:
    import timm

    torch.manual_seed(0)
    model = timm.create_model("test_byobnet", num_classes=0).eval().half().float()
    with torch.inference_mode():
        torch.testing.assert_close(said(load_encoder(f"{code}:half", image_size=16), images), model(images), rtol=1e-5, atol=1e-5)


def test_a_model_that_converts_its_images_keeps_its_own_precision(
    code: Path, images: Tensor, expected: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, report = load_encoder_with_report(f"{code}:Casts", image_size=16)

    torch.testing.assert_close(said(encoder, images).float(), expected, rtol=1e-5, atol=1e-5)
    assert "the model runs in float64, as its own code asks" in report.notes
    assert "its embeddings are float64, as its own code computes them" in caplog.text


def test_embeddings_in_half_precision_are_said(code: Path, images: Tensor, expected: Tensor, caplog: pytest.LogCaptureFixture) -> None:
    rows = said(load_encoder(f"{code}:Autocast", image_size=16), images)

    torch.testing.assert_close(rows.float(), expected, rtol=0.1, atol=0.1)
    assert "its embeddings are bfloat16, as its own code computes them" in caplog.text


def test_two_precisions_in_one_layer_are_not_blamed_on_the_size(code: Path) -> None:
    with pytest.raises(ValueError, match=r"must take float32 images and run in float32, got RuntimeError.*leave out .half\(\)"):
        load_encoder(f"{code}:Stubborn", image_size=16)


@pytest.mark.parametrize("name", ["compiled", "compiled_in_place", "parallel", "compiled_parallel", "Nested"])
def test_wrappers_are_taken_off(name: str, code: Path, images: Tensor, expected: Tensor, tmp_path: Path) -> None:
    encoder, report = load_encoder_with_report(f"{code}:{name}", image_size=16)

    torch.testing.assert_close(said(encoder, images), expected, rtol=1e-5, atol=1e-5)
    names = set(encoder.state_dict())
    assert not any("_orig_mod" in part or "module" in part for part in names)
    assert any("taken off" in note for note in report.notes)


@pytest.mark.parametrize("name", ["compiled", "parallel", "plain", "traced", "exported"])
def test_weights_of_the_plain_model_fill_a_wrapped_one(name: str, code: Path, images: Tensor, backbone: nn.Module, tmp_path: Path) -> None:
    torch.save(backbone.state_dict(), tmp_path / "w.pt")

    encoder = load_encoder(f"{code}:{name}", weights=tmp_path / "w.pt", image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), backbone(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["traced", "Holds", "exported"])
def test_torchscript_and_exported_programs_embed_as_the_plain_model(name: str, code: Path, images: Tensor, expected: Tensor) -> None:
    from distill.models.batchnorm_folding import fuse_conv_bn
    from distill.models.encoder import parameter_count, weights_hash

    encoder, plain = load_encoder(f"{code}:{name}", image_size=16), load_encoder(f"{code}:plain", image_size=16)

    torch.testing.assert_close(said(encoder, images), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(said(fuse_conv_bn(encoder, 16), images), expected, rtol=1e-4, atol=1e-4)
    assert parameter_count(encoder) == parameter_count(plain)
    if name == "traced":
        assert weights_hash(encoder) == weights_hash(plain)


def test_a_script_is_not_run_by_several_threads_at_once(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.commands.embed import passes_at_once

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    encoder = load_encoder(f"{code}:traced", image_size=16)

    assert passes_at_once(encoder, images=4096, batch_size=8, size=16) == 1
    assert passes_at_once(load_encoder("timm:test_byobnet", image_size=16), images=4096, batch_size=8, size=16) > 1


def test_an_encoder_of_ours_around_a_compiled_model_is_unwrapped(code: Path, images: Tensor, expected: Tensor) -> None:
    code.write_text(CODE + "\n\ndef ours():\n    from distill.models.encoder import Encoder\n    return Encoder(torch.compile(plain()))\n")

    encoder, report = load_encoder_with_report(f"{code}:ours", image_size=16)

    torch.testing.assert_close(said(encoder, images), expected, rtol=1e-5, atol=1e-5)
    assert report.notes == ("OptimizedModule is taken off",)


def test_a_script_in_half_precision_runs_in_float32(code: Path, images: Tensor, expected: Tensor) -> None:
    encoder, report = load_encoder_with_report(f"{code}:traced_half", image_size=16)

    torch.testing.assert_close(said(encoder, images), expected, rtol=2e-3, atol=2e-3)
    assert report.precision == "float16 to float32"


def test_hooks_and_gradients_work_on_a_script(code: Path, images: Tensor) -> None:
    encoder = load_encoder(f"{code}:traced", image_size=16)
    seen: list[torch.Size] = []
    hooks = [part.register_forward_hook(lambda module, args, output: seen.append(output.shape)) for part in encoder.modules()]

    pixels = images.clone().requires_grad_()
    encoder(pixels).sum().backward()
    for hook in hooks:
        hook.remove()

    assert torch.Size([3, 256]) in seen
    assert float(pixels.grad.abs().max()) > 0


@pytest.mark.parametrize("probe", ["depth", "attribution", "ladder"])
def test_image_probes_take_torchscript(
    probe: str, code: Path, tiny_data: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    np.save(tmp_path / "c.npy", np.random.default_rng(0).normal(size=(256, 3)))

    status, _, err = run(
        "probe", probe, "--student", f"{code}:traced", "--class-weights", tmp_path / "c.npy", "--real", tiny_data / "test-real.parquet",
        "--synthetic", tiny_data / "test-synthetic.parquet", "--out", tmp_path / "out",
    )  # fmt: skip

    assert "fault of synthgap" not in err
    assert status == 0, err
    assert "result:" in err


def test_an_export_for_one_size_of_batch_is_named(code: Path) -> None:
    with pytest.raises(ValueError, match=r"must take any number of images .*export it with a dynamic batch"):
        load_encoder(f"{code}:exported_for_two", image_size=16)


def test_a_model_without_data_is_refused(code: Path) -> None:
    with pytest.raises(ValueError, match=r"must return a model with data, got `.*` on the meta device"):
        load_encoder(f"{code}:meta", image_size=16)
