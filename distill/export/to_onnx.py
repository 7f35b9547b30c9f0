"""A student as one ONNX file, with resizing and normalisation inside, checked against onnxruntime before it is handed over."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from distill.errors import DistillError
from distill.models.encoder import Encoder

if TYPE_CHECKING:
    from distill.export.trained_student import TrainedStudent

TOLERANCE = 1e-4
"""Largest difference from PyTorch as a share of the largest number in the embeddings: students differ in the scale of theirs."""

OPSET = 18
"""The first one whose Resize knows antialiasing."""

BATCHES = (1, 2, 5)
"""Batch sizes of the check; the graph is traced with 2, so that one that has the size baked in is found."""


def write_onnx(student: TrainedStudent, folder: Path) -> dict[str, object]:
    """Write `student.onnx`: `images` float32 (N, 3, H, W) in [0, 1] -> `embeddings` float32 (N, D), for any N.

    Args:
        student: the student; H = W is the side of the images it was trained on.
        folder: folder to write to.

    Returns:
        The files, the exporter, and the largest difference from PyTorch that was seen.

    Raises:
        DistillError: when onnx or onnxruntime is missing, no exporter can trace the model, or the numbers differ by more than `TOLERANCE`.
    """
    _require()
    path = folder / "student.onnx"
    exporters = ("torch.export",) if _shrinks(student) else ("tracing", "torch.export")
    reasons = []
    for exporter in exporters:
        try:
            _trace(student.encoder, student.image_size, path, dynamo=exporter == "torch.export")
            difference = check(path, student.encoder, student.image_size)
        except Exception as error:  # torch's exporters and onnxruntime raise whatever they meet
            line = " ".join(str(error).split())[:200]
            reasons.append(f"{exporter}: {type(error).__name__}: {line}")
            continue
        _describe(path, student.facts())
        return {"files": ["student.onnx"], "exporter": exporter, "opset": OPSET, "largest_difference": difference, "tolerance": TOLERANCE}
    raise DistillError(
        f"{student.path} must give the same numbers as ONNX as in PyTorch, got {'; '.join(reasons)}; "
        "use --format safetensors or open_clip instead."
    )


def check(path: Path, encoder: Encoder, size: int) -> float:
    """Compare an ONNX file with PyTorch on random images in batches of several sizes.

    Args:
        path: the file.
        encoder: images in [0, 1] -> embeddings (N, D).
        size: side of the images in pixels.

    Returns:
        The largest absolute difference, divided by the largest absolute value of PyTorch's embeddings.

    Raises:
        DistillError: when it is above `TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    g = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in BATCHES:
        images = torch.rand(batch, 3, size, size, generator=g)
        with torch.inference_mode():
            expected = encoder(images)
        onnx_embeddings = torch.from_numpy(session.run(["embeddings"], {"images": images.numpy()})[0])
        worst = max(worst, _difference(onnx_embeddings, expected))
    if not worst <= TOLERANCE:
        raise DistillError(f"the ONNX graph must agree with PyTorch to {TOLERANCE}, got a difference of {worst:.2e}.")
    return worst


def _difference(onnx_embeddings: Tensor, expected: Tensor) -> float:
    if onnx_embeddings.shape != expected.shape:
        raise DistillError(f"the ONNX graph must give embeddings of shape {tuple(expected.shape)}, got {tuple(onnx_embeddings.shape)}.")
    return float((onnx_embeddings - expected).abs().max() / expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny))


def _shrinks(student: TrainedStudent) -> bool:
    """Tell whether the encoder shrinks its images: the tracing exporter knows no antialiasing."""
    inside = student.encoder.input_size
    return inside is not None and inside < student.image_size


def _trace(encoder: Encoder, size: int, path: Path, *, dynamo: bool) -> None:
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    names: dict[str, object] = {"input_names": ["images"], "output_names": ["embeddings"], "opset_version": OPSET}
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # both exporters talk a lot, also of what goes well
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            if dynamo:
                shapes = {"images": {0: torch.export.Dim("batch")}}
                torch.onnx.export(encoder, (images,), str(path), dynamo=True, dynamic_shapes=shapes, external_data=False, **names)
            else:
                axes = {"images": {0: "batch"}, "embeddings": {0: "batch"}}
                torch.onnx.export(encoder, (images,), str(path), dynamo=False, dynamic_axes=axes, **names)
    finally:
        logging.disable(level)


def _describe(path: Path, facts: dict[str, object]) -> None:
    """Put the facts into the file's metadata, one JSON text a key, where onnxruntime and Netron show them."""
    import onnx

    model = onnx.load(str(path))
    model.doc_string = (
        "images: float32 RGB in [0, 1]; resizing and normalisation are inside. embeddings: raw, divide by their norm for cosines."
    )
    onnx.helper.set_model_props(model, {f"synthgap.{key}": json.dumps(value, sort_keys=True) for key, value in facts.items()})
    onnx.save(model, str(path))


def _require() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise DistillError(
            f"ONNX export needs onnx, onnxscript and onnxruntime, got no {error.name}; pip install 'synthgap[export]'."
        ) from error
