"""Embedding a folder of JPEGs against a bare forward loop on decoded tensors, and against open_clip's own data pipeline."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import limits
import synthetic_inputs
import torch
from pairs import Row, in_turn, median_cpu, once

SIDE, BATCH = 224, 32


def _flops(encoder: torch.nn.Module) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.eval()(torch.zeros(1, 3, SIDE, SIDE))
    return float(counter.get_total_flops())


def _ours(subject: object, split: object, folder: Path) -> Path:
    from app.commands.embed import embed_in_parts

    shutil.rmtree(folder / "table", ignore_errors=True)
    table, _ = embed_in_parts(subject, split, folder / "table", size=SIDE, batch_size=BATCH)
    assert table is not None  # noqa: S101
    return table


def _decode(split: object) -> None:
    """Read, decode and resize as embedding does, for nobody."""
    from distill.data.prefetch import prefetched

    for _ in prefetched(split, SIDE, [range(start, min(start + BATCH, len(split))) for start in range(0, len(split), BATCH)]):
        pass


def _forward(encoder: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([encoder(part.float() / 255) for part in pixels.split(BATCH)])


def _open_clip(encoder: torch.nn.Module, folder: Path) -> torch.Tensor:
    """Do it as open_clip's documents and CLIP_benchmark do: its transform, ImageFolder, DataLoader with a worker a core."""
    import open_clip
    from torchvision.datasets import ImageFolder

    transform = open_clip.image_transform(
        SIDE, is_train=False, mean=tuple(encoder.mean.flatten().tolist()), std=tuple(encoder.std.flatten().tolist())
    )
    loader = torch.utils.data.DataLoader(ImageFolder(folder / "real", transform), batch_size=BATCH, num_workers=torch.get_num_threads())
    with torch.no_grad():
        return torch.cat([encoder.backbone(images) for images, _ in loader])


def rows(effort: int) -> list[Row]:
    import numpy as np

    from diagnose.inputs.load import load_subject
    from distill.data.split import load_split
    from distill.models.checkpoint import load_encoder
    from distill.system.allocator import keep_freed_memory
    from probes.embeddings import EmbeddingTable

    keep_freed_memory(threads=True)  # as the command does when it starts; the others have it too
    table_rows, peak = [], limits.measure().flops
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for spec, words, n in (
            ("timm:vit_small_patch16_224", "ViT-S/16", (32, 64, 128)[effort]),
            ("timm:mobilenetv3_small_100", "MobileNetV3-S", (64, 192, 512)[effort]),
        ):
            data = synthetic_inputs.photographs(folder / f"photographs-{n}", n)
            torch.manual_seed(0)
            encoder = load_encoder(spec, image_size=SIDE).eval()  # as people have it
            torch.manual_seed(0)
            subject = load_subject(spec, image_size=SIDE)
            split = load_split(data)
            pixels = torch.from_numpy(np.array(split.pixels(SIDE)))
            flops = n * _flops(encoder)
            rounds = (1, 2, 3)[effort]
            decoding = once(lambda: _decode(split)).cpu
            ours, bare = in_turn(lambda: _ours(subject, split, folder), lambda: _forward(encoder, pixels), rounds=2 * rounds - 1)
            table = EmbeddingTable.load(folder / "table")
            answer = torch.nn.functional.normalize(bare[-1].result, dim=-1).numpy()
            apart = float(np.abs(table.embeddings - answer).max())
            table_rows.append(
                Row(
                    f"embedding {n} JPEGs of 320 x 256, {words} at {SIDE}",
                    "a bare forward loop on decoded tensors",
                    ours,
                    bare,
                    goal=">= 0.95",
                    least=0.95,
                    flops=flops,
                    note=f"embeddings differ by at most {apart:.0e}; decoding takes the same two cores as the forward pass, there are no others: "
                    f"reading, decoding and resizing alone take {decoding:.3g} processor seconds, so that with nothing else the ratio would be "
                    f"{median_cpu(bare) / (median_cpu(bare) + decoding):.2f}",
                )
            )
            ours, theirs = in_turn(lambda: _ours(subject, split, folder), lambda: _open_clip(encoder, data), rounds=rounds, warm=False)
            table_rows.append(
                Row(
                    f"embedding {n} JPEGs of 320 x 256, {words} at {SIDE}",
                    "open_clip's transform, ImageFolder and DataLoader with 2 workers (what CLIP_benchmark does too)",
                    ours,
                    theirs,
                    goal=">= 1.5",
                    least=1.5,
                    flops=flops,
                    note=f"with the forward pass at all FLOP/s of the processor and decoding for nothing it would be {median_cpu(theirs) * peak / flops:.1f}",
                )
            )
    return table_rows
