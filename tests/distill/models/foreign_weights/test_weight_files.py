"""What is read of other tools' files by their content, and which sentence names everything else."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import pathlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn

from distill.errors import DistillError
from distill.models.checkpoint import load_encoder, load_encoder_with_report
from distill.models.foreign_weights.files import read_weights, read_weights_file

SPEC = "timm:test_byobnet"


def close(encoder: nn.Module, images: Tensor, expected: Tensor) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def expected(backbone: nn.Module, normalised: Tensor) -> Tensor:
    with torch.inference_mode():
        return backbone(normalised)


def timm_checkpoint(model: nn.Module, folder: Path) -> Path:
    """What timm's training script writes, by its own saver: options, a score of NumPy, the optimiser and an average."""
    from timm.utils import CheckpointSaver, ModelEmaV3

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    average = ModelEmaV3(model)
    for parameter in average.module.parameters():
        parameter.data += 1
    args = argparse.Namespace(
        model="test_byobnet", lr=0.1, opt_betas=None, output=pathlib.Path("out"), data=pathlib.PureWindowsPath("c:/x")
    )
    saver = CheckpointSaver(model, optimizer, args=args, model_ema=average, checkpoint_dir=str(folder), recovery_dir=str(folder))
    saver.save_checkpoint(3, metric=np.float64(71.25))
    return folder / "model_best.pth.tar"


def test_a_checkpoint_of_timms_training_script_is_read_and_its_average_is_said(
    backbone: nn.Module, images: Tensor, normalised: Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = timm_checkpoint(backbone.train(), tmp_path)
    backbone.eval()

    encoder, report = load_encoder_with_report(SPEC, weights=path, image_size=16)
    average = load_encoder(SPEC, weights=f"{path}#state_dict_ema", image_size=16)

    with torch.inference_mode():
        close(encoder, images, backbone(normalised))
        for parameter in backbone.parameters():
            parameter.data += 1
        close(average, images, backbone(normalised))
    assert report.key == "state_dict"
    assert "another copy of the weights, which FILE#KEY reads): `state_dict_ema.*`" in caplog.text
    assert any(name.startswith("optimizer.state.0.momentum_buffer") for name in report.harmless)


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(3), np.bool_(True), np.float64(0.5)])
def test_scalars_of_numpy_beside_the_weights_are_read_in_both_of_numpys_spellings(value: object, tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.ones(2)}, "metric": value}, tmp_path / "w.pt")
    old = (tmp_path / "w.pt").read_bytes()
    with zipfile.ZipFile(io.BytesIO(old)) as archive, zipfile.ZipFile(tmp_path / "old.pt", "w") as other:
        for name in archive.namelist():
            data = archive.read(name)
            other.writestr(name, data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))

    for name in ("w.pt", "old.pt"):
        assert torch.equal(read_weights(tmp_path / name)["weight"], torch.ones(2))


def test_harmless_types_run_nothing(tmp_path: Path) -> None:
    """A Namespace may hold anything, but what it holds passes the same gate."""

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pathlib.Path(tmp_path / "proof").touch, ()  # type: ignore[return-value]

    torch.save({"state_dict": {"weight": torch.ones(2)}, "args": argparse.Namespace(x=Payload())}, tmp_path / "w.pt")

    with pytest.raises(DistillError, match="needs unpickling"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "proof").exists()


def test_a_lightning_checkpoint_is_read_below_its_module(backbone: nn.Module, images: Tensor, expected: Tensor, tmp_path: Path) -> None:
    content = {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"student.{name}": tensor for name, tensor in backbone.state_dict().items()},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.7), "best_model_path": "x.ckpt"}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [{"last_epoch": 3}],
        "hyper_parameters": {"lr": 0.1},
    }
    torch.save(content, tmp_path / "last.ckpt")

    encoder, report = load_encoder_with_report(SPEC, weights=tmp_path / "last.ckpt", image_size=16)

    close(encoder, images, expected)
    assert set(report.harmless) == {"callbacks.ModelCheckpoint.best_model_score", "optimizer_states.0.state.0.exp_avg"}
    assert not report.is_unusual


@pytest.mark.parametrize("entry", ["prototypes", "queue", "target_encoder", "best_model", "callbacks", "semantic", "scaler"])
def test_tensors_beside_the_state_dict_are_refused_by_name(entry: str, backbone: nn.Module, tmp_path: Path) -> None:
    """Names such as `target` and `semantic` hold `arg` and `ema` by chance alone."""
    torch.save({"state_dict": backbone.state_dict(), entry: {"weight": torch.ones(3)}}, tmp_path / "w.pt")

    with pytest.raises(ValueError, match=rf"`{entry}.weight` unexpected .*read the model alone as `.*w.pt#state_dict`"):
        load_encoder(SPEC, weights=tmp_path / "w.pt", image_size=16)


def test_numbers_in_a_state_dict_are_left_out(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2), "epoch": 3, "arch": "x"}, tmp_path / "w.pt")

    assert list(read_weights(tmp_path / "w.pt")) == ["weight"]


def test_an_entry_that_holds_a_name_of_the_state_dict_again_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"proj.weight": torch.ones(2)}, "proj": {"weight": torch.zeros(2)}}, tmp_path / "w.pt")

    with pytest.raises(DistillError, match=r"must hold `proj.weight` once, got it in `model` and beside; choose one as FILE#model"):
        read_weights(tmp_path / "w.pt")
    assert torch.equal(read_weights(f"{tmp_path}/w.pt#model")["proj.weight"], torch.ones(2))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "w.pt", "w", "w.ckpt"])
def test_safetensors_are_known_by_content_under_another_ending(
    name: str, backbone: nn.Module, images: Tensor, expected: Tensor, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(save(backbone.state_dict()))

    close(load_encoder(SPEC, weights=tmp_path / name, image_size=16), images, expected)


@pytest.mark.parametrize("new", [True, False])
def test_a_torch_file_is_known_by_content_under_the_ending_of_safetensors(new: bool, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "w.safetensors", _use_new_zipfile_serialization=new)

    assert torch.equal(read_weights(tmp_path / "w.safetensors")["weight"], torch.ones(2))


def sharded(tensors: dict[str, Tensor], folder: Path, kind: str) -> Path:
    """Write what transformers writes for a large model: two shards and their index."""
    ending, stem = ("safetensors", "model") if kind == "safetensors" else ("bin", "pytorch_model")
    places = {}
    for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), start=1):
        shard = f"{stem}-{number:05d}-of-00002.{ending}"
        part = {name: tensors[name].clone() for name in names}
        save_file(part, folder / shard) if kind == "safetensors" else torch.save(part, folder / shard)
        places |= dict.fromkeys(names, shard)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("as_folder", [True, False])
def test_shards_are_joined_by_their_index(
    kind: str, as_folder: bool, backbone: nn.Module, images: Tensor, expected: Tensor, tmp_path: Path
) -> None:
    index = sharded(backbone.state_dict(), tmp_path, kind)

    close(load_encoder(SPEC, weights=tmp_path if as_folder else index, image_size=16), images, expected)


def test_shards_that_do_not_go_with_their_index_are_refused(backbone: nn.Module, tmp_path: Path) -> None:
    index = sharded(backbone.state_dict(), tmp_path, "bin")
    about = json.loads(index.read_text())
    shards = sorted(set(about["weight_map"].values()))

    for change, message in (
        ({"weight_map": {"a": "../../etc/passwd"}}, "must name files of its own folder"),
        ({"weight_map": {"a": shards[0]}}, "must hold the tensors that its index names"),
        ({"weight_map": {**about["weight_map"], "a": "gone.bin"}}, "must lie beside all of its shards, got no gone.bin"),
        ({"weight_map": []}, "must hold a weight_map"),
    ):
        index.write_text(json.dumps(change))
        with pytest.raises(DistillError, match=message):
            read_weights(index)
    with pytest.raises(ValueError, match="missing"):
        load_encoder(SPEC, weights=tmp_path / shards[0], image_size=16)


def test_a_folder_with_one_weights_file_is_read_and_one_with_several_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "model.fp16.safetensors")
    assert torch.equal(read_weights(tmp_path)["weight"], torch.ones(2))

    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(FileNotFoundError, match=r"with model.fp16.safetensors, other.safetensors; name the file"):
        read_weights(tmp_path)

    save_file({"weight": torch.full((2,), 2.0)}, tmp_path / "model.safetensors")
    assert torch.equal(read_weights(tmp_path)["weight"], torch.full((2,), 2.0))


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.ones(2))
    return buffer.getvalue()


def scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def exported() -> bytes:
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), buffer)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "got a Git LFS pointer.*git lfs pull"),
        (lambda: b"<!DOCTYPE html><html>404</html>", "got a web page; download the file itself"),
        (lambda: gzip.compress(b"x" * 100), "got a compressed archive; unpack it first"),
        (lambda: b"\x89HDF\r\n\x1a\n" + bytes(64), "got an HDF5 file of Keras"),
        (lambda: b"GGUF" + bytes(64), "got a GGUF file"),
        (npz, "got an archive of NumPy arrays"),
        (scripted, r"got a TorchScript archive; return torch.jit.load\(FILE\) from path/to/file.py:function"),
        (exported, r"got a program of torch.export; return torch.export.load\(FILE\).module\(\)"),
    ],
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_files_that_are_taken_for_weights_are_called_by_their_name(
    content: Callable[[], bytes], message: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content())

    with pytest.raises(DistillError, match=message):
        read_weights(tmp_path / name)


def test_a_pickled_model_is_refused_with_the_conversion_to_do(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")

    with pytest.raises(
        DistillError, match=r"torch.nn.modules.linear.Linear\); save model.state_dict\(\) with safetensors; where model.pt was made"
    ):
        read_weights(tmp_path / "model.pt")


def test_several_state_dicts_without_a_usual_name_are_chosen_by_key(tmp_path: Path) -> None:
    torch.save({"student": {"weight": torch.ones(2)}, "teacher": {"weight": torch.zeros(2)}}, tmp_path / "dino.pt")

    with pytest.raises(DistillError, match="got a dict of student, teacher; choose one as FILE#KEY"):
        read_weights(tmp_path / "dino.pt")
    assert torch.equal(read_weights(f"{tmp_path}/dino.pt#student")["weight"], torch.ones(2))


def test_a_key_reaches_into_an_entry_and_through_wrappers(tmp_path: Path) -> None:
    names = {"module.student.weight": torch.ones(2), "module.teacher.weight": torch.zeros(2)}
    torch.save({"state_dict": names, "state_dict_ema": {name: tensor + 5 for name, tensor in names.items()}}, tmp_path / "w.pt")

    for key, value in (("student", 1.0), ("student.", 1.0), ("teacher", 0.0), ("state_dict_ema.student", 6.0), ("module.student", 1.0)):
        file = read_weights_file(f"{tmp_path}/w.pt#{key}")
        assert file.tensors["weight"].tolist() == [value] * 2
        assert file.key == key
    save_file(names, tmp_path / "w.safetensors")
    assert read_weights(f"{tmp_path}/w.safetensors#student")["weight"].tolist() == [1.0, 1.0]


def test_reading_weights_needs_none_of_the_libraries_that_wrote_them(tmp_path: Path) -> None:
    """The file module stays usable before timm and transformers are imported, which take seconds."""
    code = (
        "import sys, distill.models.foreign_weights.files; print(sorted({'timm', 'transformers', 'peft', 'open_clip'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
