"""Training: a step against a bare loop, and an epoch with cached teacher views against the teacher in the loop."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pairs import Row, Run, in_turn
from torch.nn import functional as F

from distill.losses import l2
from distill.models.student import attach_projection, build_backbone
from distill.training.loop import Loop, TrainingConfig, image_order, make_accelerator
from distill.training.views import ViewConfig, Views

SIZE, DIM, BATCH = 32, 128, 256

Targets = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Views of some images, their rows -> what the student aims at."""


def student(dimension: int = DIM) -> torch.nn.Module:
    torch.manual_seed(0)
    return attach_projection(build_backbone("builtin:small_resnet"), dimension, image_size=SIZE)


def images(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def through_loop(module: torch.nn.Module, pixels: torch.Tensor, views: Views, targets: Targets, epochs: int = 1) -> torch.nn.Module:
    """Train by `distill.training.loop`; its time holds the checkpoint that it writes after an epoch."""
    config = TrainingConfig(epochs=epochs, batch_size=BATCH, learning_rate=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(module, config, n=len(pixels), seed=0, accelerator=make_accelerator("auto"), state=Path(folder) / "state.safetensors")

        def step(indices: torch.Tensor, epoch: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            images = views.images(pixels, indices, epoch % views.config.count)
            return l2(F.normalize(loop.module(images).float(), dim=-1), targets(images, indices)), {}

        loop.run(step, lambda epoch, means: None)
    return module


def bare(module: torch.nn.Module, pixels: torch.Tensor, views: Views, targets: Targets) -> None:
    """Do the same by hand: what a plain PyTorch script has in its loop, and nothing else."""
    module.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    bf16 = make_accelerator("auto").mixed_precision == "bf16"
    order = image_order(0, 0, len(pixels))
    for first in range(0, len(pixels) - BATCH + 1, BATCH):
        indices = order[first : first + BATCH]
        images = views.images(pixels, indices, 0)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            embeddings = module(images)
        loss = l2(F.normalize(embeddings.float(), dim=-1), targets(images, indices))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()


def flops_of(module: torch.nn.Module, batch: int = 8) -> float:
    """Count the floating point operations of a forward pass of one image."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(torch.zeros(batch, 3, SIZE, SIZE))
    return counter.get_total_flops() / batch


def step_row(effort: int) -> Row:
    n = BATCH * (4, 8, 40)[effort]
    pixels, views = images(n), Views(ViewConfig(), n)
    table = F.normalize(torch.randn(n, DIM, generator=torch.Generator().manual_seed(0)), dim=-1)
    from_table: Targets = lambda images, indices: table[indices]  # noqa: E731
    ours, theirs = in_turn(
        lambda: through_loop(student(), pixels, views, from_table),
        lambda: bare(student(), pixels, views, from_table),
        rounds=(2, 5, 5)[effort],
    )
    return Row(
        work=f"training step, 0.3 M student, batch {BATCH}, fp32 or bf16 as the processor has it",
        against="a bare PyTorch loop: same model, views, batch, dtype, clipping",
        ours=ours,
        theirs=theirs,
        goal=">= 0.98",
        least=0.98,
        flops=3 * flops_of(student()) * n,
        note=f"{n // BATCH} steps a repetition, and of ours the checkpoint at the end of the epoch",
    )


def epoch_row(effort: int) -> Row:
    """The teacher is a network whose forward pass takes about as long as four training steps of the student."""
    from distill.models.architectures import small_resnet

    n = BATCH * (1, 2, 6)[effort]
    pixels, views = images(n), Views(ViewConfig(count=4), n)
    torch.manual_seed(1)
    teacher = small_resnet(widths=(48, 96, 192, 384), depth=2).eval().requires_grad_(False)
    dimension = teacher.num_features

    def embed(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return F.normalize(teacher(images.contiguous(memory_format=torch.channels_last)), dim=-1).clone()

    started = time.perf_counter()
    cached_rows = torch.cat([embed(views.images(pixels, torch.arange(at, at + BATCH), 0)) for at in range(0, n, BATCH)])
    taught = time.perf_counter() - started

    cached: Targets = lambda images, indices: cached_rows[indices]  # noqa: E731
    live: Targets = lambda images, indices: embed(images)  # noqa: E731
    ours, theirs = in_turn(
        lambda: through_loop(student(dimension), pixels, views, cached),
        lambda: through_loop(student(dimension), pixels, views, live),
        rounds=(1, 3, 5)[effort],
    )
    first, second = (runs[0].result.state_dict() for runs in (ours, theirs))
    apart = max(float((first[name].float() - second[name].float()).abs().max()) for name in first)
    cost = taught / statistics.median(run.clock for run in ours)
    return Row(
        work="epoch with cached teacher views",
        against="the teacher in the loop, as published codes do; same views and loop",
        ours=ours,
        theirs=theirs,
        goal=">= 3",
        least=3.0,
        flops=3 * flops_of(student(dimension)) * n,
        note=(
            f"teacher's forward pass costs {cost:.1f} epochs of the student; weights after the epoch differ by at most {apart:.0e}, so that "
            f"accuracy is the same; with 4 views the cache is paid once for every 4 epochs of the first student and free for the others"
        ),
    )


def rows(effort: int) -> list[Row]:
    return [step_row(effort), epoch_row(effort)]


__all__ = ["Run", "rows"]
