"""Images per second of our training loop against a bare PyTorch loop: same model, batch, dtype, views and targets, in turn in one run."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from distill.loop import Loop, TrainingConfig, image_order, make_accelerator
from distill.losses import l2
from distill.student import attach_projection, build_backbone
from distill.views import ViewConfig, Views

IMAGES, SIZE, DIM, BATCH = 5_120, 32, 128, 256


def student() -> torch.nn.Module:
    torch.manual_seed(0)
    return attach_projection(build_backbone("builtin:small_resnet"), DIM, image_size=SIZE)


def ours(pixels: torch.Tensor, targets: torch.Tensor, views: Views) -> float:
    accelerator = make_accelerator("auto")
    config = TrainingConfig(epochs=1, batch_size=BATCH, learning_rate=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(student(), config, n=IMAGES, seed=0, accelerator=accelerator, state=Path(folder) / "state.safetensors")
        speed = []

        def step(indices: torch.Tensor, epoch: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            embeddings = F.normalize(loop.module(views.images(pixels, indices, 0)).float(), dim=-1)
            return l2(embeddings, targets[indices]), {}

        loop.run(step, lambda epoch, means: speed.append(means["images_per_second"]))
    return speed[0]


def bare(pixels: torch.Tensor, targets: torch.Tensor, views: Views, bf16: bool) -> float:
    model = student().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    order = image_order(0, 0, IMAGES)
    start = time.perf_counter()
    for first in range(0, IMAGES - BATCH + 1, BATCH):
        indices = order[first : first + BATCH]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            embeddings = model(views.images(pixels, indices, 0))
        loss = l2(F.normalize(embeddings.float(), dim=-1), targets[indices])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return IMAGES // BATCH * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (IMAGES, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    targets = F.normalize(torch.randn(IMAGES, DIM, generator=generator), dim=-1)
    views = Views(ViewConfig(), IMAGES)
    bf16 = make_accelerator("auto").mixed_precision == "bf16"
    pairs = [(ours(pixels, targets, views), bare(pixels, targets, views, bf16)) for _ in range(rounds + 1)][1:]
    ratios = [a / b for a, b in pairs]
    print("| work | ours, images/s | bare loop, images/s | ratio, median (min to max) |")
    print("|---|---|---|---|")
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"| training step, 0.3 M student, batch {BATCH} | {a:.0f} | {b:.0f} | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
    )


if __name__ == "__main__":
    main()
