"""Kept teacher embeddings: equal to a fresh forward pass, shared by students, keyed by content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.errors import DistillError
from distill.models.encoder import Encoder
from distill.models.teacher import Teacher
from distill.system import atomic_files
from distill.system.atomic_files import write_then_rename
from distill.training import targets as module
from distill.training.loop import make_accelerator
from distill.training.targets import TeacherTargets
from distill.training.views import ViewConfig, Views

PIXELS = torch.randint(0, 256, (20, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


class Counting(torch.nn.Module):
    """A linear map that counts the images it has seen."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(192, 5, generator=torch.Generator().manual_seed(seed)))
        self.seen = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        return images.flatten(1) @ self.weight


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., TeacherTargets]:
    def build(
        *,
        name: str = "t",
        seed: int = 0,
        views: ViewConfig | None = None,
        fingerprint: str = "images",
        pixels: torch.Tensor = PIXELS,
        precision: str = "fp32",
    ) -> TeacherTargets:
        teacher = Teacher(name, Encoder(Counting(seed)), embed_dim=5)
        drawn = Views(views or ViewConfig(mixup=0.5), len(pixels))
        accelerator = make_accelerator(precision)
        return TeacherTargets(teacher, pixels, drawn, fingerprint=fingerprint, folder=tmp_path, accelerator=accelerator, batch_size=7)

    return build


def test_kept_rows_are_those_of_a_fresh_forward_pass(make: Callable[..., TeacherTargets]) -> None:
    targets = make()

    rows = targets.view(3)

    fresh = targets.teacher.embed_images(targets.views.images(PIXELS, torch.arange(20), 3))
    torch.testing.assert_close(rows, fresh, rtol=0, atol=1e-6)  # batches of 7 and of 20 add in another order
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(20))
    assert rows.dtype == torch.float32
    assert not rows.requires_grad


def test_second_student_or_process_does_not_compute_again(make: Callable[..., TeacherTargets]) -> None:
    first = make()
    kept = first.view(0).clone()
    first.view(0)

    second = make(name="renamed")

    assert torch.equal(second.view(0), kept)
    assert (first.teacher.encoder.backbone.seen, second.teacher.encoder.backbone.seen) == (20, 0)


def test_key_follows_content_and_not_names(make: Callable[..., TeacherTargets]) -> None:
    base = make()
    others = [make(seed=1), make(views=ViewConfig(mixup=0.4)), make(fingerprint="other"), make(pixels=PIXELS[:10]), make(precision="bf16")]

    assert make(name="renamed").folder == base.folder
    assert make(views=ViewConfig(mixup=0.5, count=99)).folder == base.folder
    assert len({base.folder, *(other.folder for other in others)}) == 6


def test_rows_cannot_be_written_through_to_the_kept_file(make: Callable[..., TeacherTargets]) -> None:
    rows = make().view(0)
    before = rows.clone()

    rows.zero_()

    assert torch.equal(make().view(0), before)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all"])
def test_file_that_something_cut_short_is_computed_again(content: bytes, make: Callable[..., TeacherTargets]) -> None:
    kept = make().view(0).clone()
    (path,) = make().folder.iterdir()
    path.write_bytes(content)

    again = make()

    assert torch.equal(again.view(0), kept)
    assert again.teacher.encoder.backbone.seen == 20


def test_truncated_rows_are_computed_again(make: Callable[..., TeacherTargets]) -> None:
    kept = make().view(0).clone()
    (path,) = make().folder.iterdir()
    path.write_bytes(path.read_bytes()[:-8])

    assert torch.equal(make().view(0), kept)


def test_interrupted_write_leaves_nothing_behind(make: Callable[..., TeacherTargets], monkeypatch: pytest.MonkeyPatch) -> None:
    targets = make()

    def half(file: object, array: np.ndarray, **_: object) -> None:
        file.write(b"\x93NUMPY half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.np, "save", half)
        with pytest.raises(KeyboardInterrupt):
            targets.view(0)

    assert list(targets.folder.iterdir()) == []
    assert make().view(0).shape == (20, 5)


def test_failed_write_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept"
    write_then_rename(path, lambda file: file.write(b"first"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_files.os, "fsync", full)
    with pytest.raises(DistillError, match=r"kept must be writable, got No space left on device; free space"):
        write_then_rename(path, lambda file: file.write(b"second"))

    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]
