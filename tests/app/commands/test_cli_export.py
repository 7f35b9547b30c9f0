"""`synthgap export` in process: what it prints, and one line for what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from app import cli
from distill.models.checkpoint import save_student
from distill.models.student import attach_projection, build_backbone


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    kwargs = {"widths": [4]}
    encoder = attach_projection(build_backbone("builtin:small_resnet", kwargs), 8, image_size=16)
    path = tmp_path_factory.mktemp("student") / "student.safetensors"
    save_student(path, encoder, {"spec": "builtin:small_resnet", "kwargs": kwargs, "embed_dim": 8, "image_size": 16})
    return path


def _call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["synthgap", "export", *(str(argument) for argument in arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_export_prints_where_the_student_is(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _call(monkeypatch, checkpoint, "--out", tmp_path / "out") == 0
    assert capsys.readouterr().out == f"safetensors: {tmp_path / 'out'}\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["export.json", "student.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "open_clip", "--teacher", "TEACHER"), "must be timm:NAME without arguments"),
        (("--format", "pt"), "`--format` must be one of"),
        (("--out", "STUDENT"), "`--out` must be a new folder"),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    checkpoint: Path,
    teacher_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"TEACHER": str(teacher_folder), "STUDENT": str(checkpoint.parent)}
    options = ["--out", tmp_path / "out", *(places.get(argument, argument) for argument in arguments)]

    assert _call(monkeypatch, checkpoint, *options) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
