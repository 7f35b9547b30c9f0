"""Checkpoints that cannot or must not be used, as bytes: name -> maker."""

from __future__ import annotations

import io
import json
import pickle
import struct
import warnings
import zipfile
from functools import cache
from typing import Any

import torch
from bad_tables import DEEP, Payload
from safetensors.torch import save
from spoilt import EVERYWHERE, Make, spoilt

GOOD = {"format": "synthgap-student-1", "spec": "builtin:small_resnet", "kwargs": {"widths": [4, 8]}, "embed_dim": 8, "image_size": 16}


@cache
def tensors() -> dict[str, torch.Tensor]:
    """Weights of the student that `GOOD` describes."""
    from distill.models.checkpoint import attach_projection, build_backbone

    torch.manual_seed(0)
    return attach_projection(build_backbone(GOOD["spec"], GOOD["kwargs"]), 8, image_size=16).state_dict()


def student(weights: dict[str, torch.Tensor] | None = None, **changes: Any) -> Make:
    """A checkpoint with another description or other weights; a change to None leaves the key out."""

    def make() -> bytes:
        about = {name: value for name, value in (GOOD | changes).items() if value is not None}
        return save({**tensors(), **(weights or {})}, metadata={"synthgap": json.dumps(about)})

    return make


def described(text: str) -> Make:
    return lambda: save(dict(tensors()), metadata={"synthgap": text})


def head(about: Any, data: bytes = bytes(64), length: int | None = None) -> Make:
    """A safetensors file with a head of our own."""
    text = about if isinstance(about, bytes) else json.dumps(about).encode()
    return lambda: struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: Any = "F32", shape: Any = (4, 4), offsets: Any = (0, 64)) -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": list(offsets)}}


def spoilt_tensor(value: float) -> Make:
    def make() -> bytes:
        name, tensor = next((name, tensor) for name, tensor in tensors().items() if tensor.ndim == 4)
        return student({name: torch.full_like(tensor, value)})()

    return make


STUDENTS_REFUSED: dict[str, Make] = {
    **{f"{name}.safetensors": make for name, make in EVERYWHERE.items()},
    "head of a million terabytes.safetensors": head({}, length=2**60),
    "head of nothing.safetensors": head(b""),
    "head that is no json.safetensors": head(b"{{{{"),
    "head that is a list.safetensors": head([1, 2]),
    "deep head.safetensors": head(b'{"w": ' + DEEP + b"}"),
    "outside of the file.safetensors": head(entry(offsets=(0, 10**12))),
    "behind before front.safetensors": head(entry(offsets=(64, 0))),
    "another size than its shape.safetensors": head(entry(shape=(9, 9))),
    "negative shape.safetensors": head(entry(shape=(-4, 4))),
    "shape beyond numbers.safetensors": head(entry(shape=(2**62, 2**62))),
    "unknown type.safetensors": head(entry(dtype="F99")),
    "type of a number.safetensors": head(entry(dtype=7)),
    "overlapping.safetensors": head(entry() | {"v": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}),
    "not described.safetensors": lambda: save(dict(tensors())),
    "description that is no json.safetensors": described("{"),
    "deep description.safetensors": described(DEEP.decode()),
    "description that is a list.safetensors": described("[1]"),
    "another format.safetensors": student(format="other-1"),
    "no model.safetensors": student(spec=None),
    "model of a number.safetensors": student(spec=3),
    "model of nothing.safetensors": student(spec=""),
    "unknown model.safetensors": student(spec="builtin:big_resnet"),
    "model of ten thousand letters.safetensors": student(spec="x" * 10_000),
    "model of a missing file.safetensors": student(spec="gone.py:build", kwargs={}),
    "arguments of a list.safetensors": student(kwargs=[1]),
    "unknown arguments.safetensors": student(kwargs={"wide": 3}),
    "arguments of text.safetensors": student(kwargs={"widths": "wide"}),
    "no layers.safetensors": student(kwargs={"widths": []}),
    "negative layers.safetensors": student(kwargs={"widths": [-4, 8]}),
    "a million channels.safetensors": student(kwargs={"widths": [1_000_000, 1_000_000]}),
    "dimension of text.safetensors": student(embed_dim="eight"),
    "no dimension.safetensors": student(embed_dim=0),
    "negative dimension.safetensors": student(embed_dim=-8),
    "a million million dimensions.safetensors": student(embed_dim=10**12),
    "dimension of a fraction.safetensors": student(embed_dim=8.5),
    "another dimension.safetensors": student(embed_dim=9),
    "size of nothing.safetensors": student(image_size=0),
    "size of a hundred thousand.safetensors": student(image_size=100_000),
    "size of text.safetensors": student(image_size="16"),
    "name of a list.safetensors": student(name=["x"]),
    "seed of text.safetensors": student(seed="one"),
    "not a number.safetensors": spoilt_tensor(float("nan")),
    "infinity.safetensors": spoilt_tensor(float("inf")),
    "another shape.safetensors": student({"projection.weight": torch.ones(3, 3)}),
    "one tensor more.safetensors": student({"more": torch.ones(3)}),
    "complex weights.safetensors": student({"projection.weight": torch.ones(8, 8, dtype=torch.complex64)}),
}
STUDENTS_SPOILT = spoilt("student", ".safetensors", student(), cuts=(0.01, 0.5, 0.99), flips=4)


def torch_file(data: Any, **options: Any) -> Make:
    def make() -> bytes:
        buffer = io.BytesIO()
        with warnings.catch_warnings():  # of forms that are no longer recommended
            warnings.simplefilter("ignore")
            torch.save(data() if callable(data) else data, buffer, **options)
        return buffer.getvalue()

    return make


def packed_anew() -> bytes:
    """A torch file whose storage is packed, and unpacks to a thousand times its size."""
    source = io.BytesIO(torch_file({"w": torch.zeros(4_000_000)})())
    target = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return target.getvalue()


def quantised() -> dict[str, torch.Tensor]:
    return {"w": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)}


WEIGHTS_REFUSED: dict[str, Make] = {
    **{f"{name}.pt": make for name, make in EVERYWHERE.items()},
    "pickle that runs.pt": lambda: pickle.dumps(Payload()),
    "object that runs.pt": torch_file(Payload()),
    "object beside weights.pt": torch_file({"w": torch.ones(2), "more": Payload()}),
    "old form that runs.pt": torch_file(Payload(), _use_new_zipfile_serialization=False),
    "global that runs.pt": lambda: b"cos\nsystem\n(S'touch /tmp/synthgap-was-here'\ntR.",
    "whole module.pt": torch_file(lambda: torch.nn.Linear(2, 2)),
    "one tensor.pt": torch_file(torch.ones(2)),
    "list.pt": torch_file([torch.ones(2)]),
    "nothing in it.pt": torch_file({}),
    "numbers.pt": torch_file({"epoch": 3}),
    "nested nothing.pt": torch_file({"state_dict": {}}),
    "names of numbers.pt": torch_file({1: torch.ones(2)}),
    "sparse.pt": torch_file(lambda: {"w": torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (10**12,))}),
    "quantised.pt": torch_file(quantised),
    "without data.pt": torch_file(lambda: {"w": torch.empty(10**12, device="meta")}),
    "zip of something else.pt": lambda: zip_with({"hello.txt": b"hello"}),
    "zip of a pickle that runs.pt": lambda: zip_with({"archive/data.pkl": pickle.dumps(Payload()), "archive/version": b"3\n"}),
    "text of four gigabytes.pt": lambda: b"\x80\x04\x8d" + struct.pack("<Q", 2**32) + b"x",
    "deep pickle.pt": lambda: b"\x80\x02" + b"(" * 100_000 + b".",
    "list without end.pt": lambda: b"\x80\x02]" + b"]a" * 100_000 + b".",
}
WEIGHTS_HARMLESS: dict[str, Make] = {
    "one number, a million million times.pt": torch_file(lambda: {"w": torch.ones(1).expand(10**12)}),
    "packed anew.pt": packed_anew,
    "leads out.pt": lambda: zip_with({"../../evil": b"x"}),
    "not a number.pt": torch_file({"w": torch.tensor([float("nan")])}),
}
WEIGHTS_SPOILT = spoilt("weights", ".pt", torch_file(lambda: {"w": torch.arange(99.0)}), flips=4)
WEIGHTS_SPOILT |= spoilt("old weights", ".pt", torch_file(lambda: {"w": torch.arange(99.0)}, _use_new_zipfile_serialization=False), flips=4)


def zip_with(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
