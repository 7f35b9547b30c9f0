"""From the command line, a student and a teacher of somebody else and two folders of images: the planted cue is named, and none without."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import cli

CLASSES, SIDE, EACH = 4, 16, 24

MODELS = '''
"""Two encoders into four dimensions: a teacher that reads shapes, and a student that reads a colour cast more loudly than shapes."""
import torch


class Reader(torch.nn.Module):
    def __init__(self, loudness):
        super().__init__()
        self.loudness = loudness
        self.register_buffer("shapes", torch.zeros(4, 16, 16))
        self.register_buffer("casts", torch.zeros(4, 3))

    def forward(self, images):
        grey = images.mean(dim=1)
        seen = torch.einsum("bhw,chw->bc", grey - grey.mean(dim=(1, 2), keepdim=True), self.shapes)
        colour = (images - grey[:, None]).mean(dim=(2, 3)) @ self.casts.T
        return seen + self.loudness * colour


def model():
    return Reader(40.0)


def teacher():
    return Reader(0.0)
'''

CASTS = np.array([[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5], [-0.5, -0.5, 1.0], [0.5, 0.5, -1.0]])


def shapes() -> np.ndarray:
    """Four blurred blots, (4, H, W), of length 1."""
    from scipy import ndimage

    blots = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((CLASSES, SIDE, SIDE)), (0, 1.5, 1.5))
    blots -= blots.mean(axis=(1, 2), keepdims=True)
    return blots / np.linalg.norm(blots, axis=(1, 2), keepdims=True)


def write_images(folder: Path, *, cast: bool, seed: int) -> None:
    from PIL import Image

    random = np.random.default_rng(seed)
    for label in range(CLASSES):
        (folder / f"class-{label}").mkdir(parents=True)
        for number in range(EACH):
            image = 0.5 + 0.5 * shapes()[label][None] + 0.06 * random.standard_normal((3, SIDE, SIDE))
            # Without the cue there is a cast of any class, so that colours are no sign of the domain.
            image += 0.08 * CASTS[label if cast else random.integers(CLASSES)][:, None, None]
            pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
            Image.fromarray(pixels).save(folder / f"class-{label}" / f"{number:03d}.png")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write models, weights, classifier weights and three folders of images."""
    import torch

    folder = tmp_path_factory.mktemp("foreign")
    (folder / "my.py").write_text(MODELS)
    weights = {"shapes": torch.from_numpy(shapes()).float(), "casts": torch.from_numpy(CASTS).float()}
    torch.save(weights, folder / "w.pt")
    (folder / "mine.py").write_text(MODELS.replace("return Reader(0.0)", f"return loaded({str(folder / 'w.pt')!r})") + LOADED)
    np.save(folder / "classes.npy", np.eye(CLASSES))
    for number, (name, cast) in enumerate({"real": False, "synthetic": True, "other-real": False}.items()):
        write_images(folder / name, cast=cast, seed=number)
    return folder


LOADED = """

def loaded(path):
    reader = Reader(0.0)
    reader.load_state_dict(torch.load(path, weights_only=True))
    return reader
"""


def diagnose(world: Path, out: Path, synthetic: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the command line as a person does."""
    arguments = [
        *("diagnose", "--student", f"{world / 'my.py'}:model", "--weights", str(world / "w.pt")),
        *("--teacher", f"{world / 'mine.py'}:teacher", "--class-weights", str(world / "classes.npy")),
        *("--real", str(world / "real"), "--synthetic", str(world / synthetic)),
        *("--probe", "transfer", "--probe", "interventions", "--out", str(out)),
    ]
    monkeypatch.setattr(sys, "argv", ["synthgap", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    return json.loads((out / "report.json").read_text())


def test_a_foreign_student_with_an_encoder_as_teacher_is_told_its_planted_cue(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = diagnose(world, tmp_path / "out", "synthetic", monkeypatch)

    [cause] = [item for item in report["findings"] if item["id"].startswith("cause/")]
    assert report["verdict"]["label"] == "fails_on_real"
    assert "What it relies on is colour, brightness or contrast" in report["verdict"]["statement"]
    assert cause["verdict"] == "fail"
    assert cause["recommendation"].startswith("Vary colours")
    ruled_out = {item["name"] for item in cause["alternatives"] if item["status"] == "ruled out"}
    assert {"local texture as the cue of w", "repeating patterns as the cue of w"} <= ruled_out


def test_two_halves_of_the_same_images_name_no_cue(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = diagnose(world, tmp_path / "out", "other-real", monkeypatch)

    assert [item["verdict"] for item in report["findings"] if item["id"].startswith("cause/")] != ["fail"]
    assert "relies on" not in report["verdict"]["statement"]
    assert not any(item["recommendation"] for item in report["findings"] if item["id"].startswith("cause/"))
