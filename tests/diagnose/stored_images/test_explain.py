"""Maps of any picture by the encoders of a run: what is read, what is written, and what is said when something is missing."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diagnose.stored_images import picture as pictures
from diagnose.stored_images.explain import explain, write_explained
from diagnose.stored_images.picture import read_picture
from distill.models.checkpoint import save_student
from distill.models.student import attach_projection, build_backbone
from probes.result import DiagnosticError, ProbeResult

STUDENT = "l2-synthetic-s0"


def picture(width: int = 40, height: int = 24, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def run(tmp_path: Path, write_config: Callable[..., Path]) -> Path:
    """A run as `diagnose` leaves it, of an untrained student of 8 dimensions, three classes and 16 x 16 images."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text(write_config().read_text())
    encoder = attach_projection(build_backbone("builtin:small_resnet", {"widths": [4, 8]}), 8, image_size=16)
    description = {"spec": "builtin:small_resnet", "kwargs": {"widths": [4, 8]}, "embed_dim": 8, "image_size": 16}
    save_student(folder / "students" / STUDENT / "student.safetensors", encoder, description)
    random = np.random.default_rng(0)
    np.save(folder / "class_weights.npy", random.normal(size=(8, 3)).astype(np.float32))
    arrays = {"lens/absent": np.full(3, 0.5, dtype=np.float32)}
    arrays |= {name: random.normal(size=8).astype(np.float32) for name in ("lens/domain", "teacher/lens/domain")}
    ProbeResult("attribution", STUDENT, "teacher", {}, arrays).save(folder / "probes" / "attribution" / STUDENT)
    return folder


def test_student_and_teacher_explain_a_picture_of_any_size(run: Path, tmp_path: Path) -> None:
    found = explain(run, picture(), [STUDENT, "teacher"], method="occlusion")
    path = write_explained(found, tmp_path / "out" / "maps.npz")

    with np.load(path, allow_pickle=False) as file:
        said = json.loads(str(file["said"]))
        assert [one["encoder"] for one in said] == [STUDENT, "teacher"]
        assert {"predicted", "explained", "zero_shot", "domain"} == set(said[0]["numbers"])
        assert file["map/0/zero_shot"].shape == file["map/1/domain"].shape == (16, 16)
        assert all(np.isfinite(file[f"map/{row}/domain"]).all() for row in range(2))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["maps.npz"]


@pytest.mark.parametrize("method", ["captum:DeepLift", "captum:Occlusion", "captum:NoiseTunnel:Saliency", "captum:LayerGradCam"])
def test_captums_methods_explain_a_picture_from_the_command_line(run: Path, tmp_path: Path, method: str) -> None:
    from typer.testing import CliRunner

    from app.cli import app

    (tmp_path / "picture.png").write_bytes(picture())
    arguments = [str(run), f"--image={tmp_path / 'picture.png'}", f"--out={tmp_path / 'maps.npz'}", f"--student={STUDENT}"]

    done = CliRunner().invoke(app, ["explain", *arguments, f"--method={method}"])

    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as file:
        maps = file["map/0/zero_shot"]
    assert maps.shape == (16, 16)
    assert np.isfinite(maps).all()
    assert maps.min() < maps.max()
    if method == "captum:Occlusion":
        ours = explain(run, picture(), [STUDENT], method="occlusion")[0].maps["zero_shot"]
        np.testing.assert_allclose(maps, ours, atol=2e-6, rtol=1e-4)


def test_an_unknown_method_of_captum_is_answered_with_a_near_one(run: Path) -> None:
    with pytest.raises(ValueError, match=r"got 'captum:DeepLit'; choose captum:DeepLift"):
        explain(run, picture(), [STUDENT], method="captum:DeepLit")


def test_the_class_that_is_asked_for_is_explained(run: Path) -> None:
    (one,) = explain(run, picture(), [STUDENT], method="occlusion", label=1)
    (other,) = explain(run, picture(), [STUDENT], method="occlusion", label=2)

    assert one.numbers["explained"] == 1
    assert not np.allclose(one.maps["zero_shot"], other.maps["zero_shot"])
    np.testing.assert_allclose(one.maps["domain"], other.maps["domain"])


def test_the_middle_square_of_a_picture_is_taken() -> None:
    pixels = np.zeros((4, 8, 3), dtype=np.uint8)
    pixels[:, 2:6] = 200
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")

    assert (read_picture(buffer.getvalue(), 4) == 200).all()


def test_pictures_that_are_none_or_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="`image` must be a whole PNG, JPEG, WEBP picture, got UnidentifiedImageError"):
        read_picture(b"GIF89a", 16)
    with pytest.raises(ValueError, match="must be a whole"):
        read_picture(picture()[:60], 16)
    monkeypatch.setattr(pictures, "MOST_PIXELS", 100)
    with pytest.raises(ValueError, match=r"at most 0 megapixels, got 40 x 24"):
        read_picture(picture(), 16)
    monkeypatch.setattr(pictures, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="`image` must be at most"):
        read_picture(picture(), 16)


def test_what_a_run_lacks_is_named_with_the_command(run: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must have a checkpoint in .*got 'l2-s9'; train it with --resume"):
        explain(run, picture(), ["l2-s9"], method="occlusion")
    with pytest.raises(ValueError, match="`method` must be one of"):
        explain(run, picture(), [STUDENT], method="cam")
    stem = run / "probes" / "attribution" / STUDENT
    ProbeResult("attribution", STUDENT, "teacher", {}, {}).save(stem)
    with pytest.raises(DiagnosticError, match="got an older result; run `synthgap diagnose` again"):
        explain(run, picture(), [STUDENT], method="occlusion")
    stem.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"a result of attribution for l2-synthetic-s0, got none; run `synthgap diagnose`"):
        explain(run, picture(), [STUDENT], method="occlusion")
    (run / "class_weights.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DiagnosticError, match="must be a whole array"):
        explain(run, picture(), [STUDENT], method="occlusion")
    (run / "class_weights.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold class_weights.npy.*run `synthgap diagnose` again"):
        explain(run, picture(), [STUDENT], method="occlusion")
