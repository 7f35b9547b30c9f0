"""The same numbers from other processes, other thread counts and bf16, within what docs/numbers.md states."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from distill.models.encoder import Encoder, weights_hash
from distill.models.student import build_backbone

THREADS = 1e-5
"""Largest difference of an embedding's entry between thread counts: sums of a few hundred float32 products in another order."""

BF16 = 0.999
"""Smallest cosine of a bf16 embedding with the fp32 one: eight bits of mantissa, some ten layers, each rounding independently."""

PROGRAM = """
import torch
torch.set_num_threads(1)
from distill.models.student import build_backbone
torch.manual_seed(0)
model = build_backbone("builtin:small_resnet", {"widths": [16, 32]}).eval()
with torch.inference_mode():
    print(model(torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))).numpy().tobytes().hex())
"""


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def encoder() -> Encoder:
    torch.manual_seed(0)
    return build_backbone("builtin:small_resnet", {"widths": [16, 32]}).eval()


def images(count: int = 128) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_two_processes_give_the_same_bits() -> None:
    said = [subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout for _ in range(2)]

    assert said[0] == said[1] != ""


@torch.inference_mode()
def test_thread_counts_agree_within_the_stated_tolerance(threads: Callable[[int], None]) -> None:
    model = encoder()

    threads(1)
    one = F.normalize(model(images()), dim=-1)
    threads(2)
    two = F.normalize(model(images()), dim=-1)

    assert (one - two).abs().max() <= THREADS


@torch.inference_mode()
def test_bf16_embeddings_point_where_fp32_ones_do(threads: Callable[[int], None]) -> None:
    """This also runs where torch emulates bf16: the rounding is the same, only slow."""
    threads(1)
    model = encoder()

    whole = F.normalize(model(images()), dim=-1)
    with torch.autocast("cpu", torch.bfloat16):
        half = F.normalize(model(images()).float(), dim=-1)

    cosine = (whole * half).sum(dim=-1)
    assert BF16 <= cosine.min() < 1.0


def test_training_with_other_threads_ends_near(write_config: Callable[..., Path], tmp_path: Path, threads: Callable[[int], None]) -> None:
    from distill.models.checkpoint import load_student
    from distill.training.config import read_experiment
    from distill.training.grid import train_grid

    experiment = read_experiment(write_config(student={"model": "builtin:small_resnet", "kwargs": {"widths": [8, 16]}}))
    found = []
    for count in (1, 2, 1):
        threads(count)
        train_grid(experiment, tmp_path / f"run-{len(found)}")
        found.append(load_student(tmp_path / f"run-{len(found)}" / "students" / "l2-synthetic-s0" / "student.safetensors")[0])

    assert weights_hash(found[0]) == weights_hash(found[2])
    with torch.inference_mode():
        one, two = (F.normalize(model(images(32)), dim=-1) for model in found[:2])
    assert (one * two).sum(dim=-1).min() > 0.9999
