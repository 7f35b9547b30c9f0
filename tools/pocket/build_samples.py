"""Sample the pocket's synthetic images from its pipeline, with captions that follow the generator's biased training captions."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from diffusers import DiffusionPipeline

from distill.generate.pipelines import load_pipeline as load
from distill.generate.settings import GeneratorConfig
from distill.packs.pocket.captions import captions
from distill.packs.pocket.world import draw_scenes, encode

LOG = logging.getLogger(__name__)

TIE = 0.9
"""Share of the generator's training images whose ink, and independently whose ground, is the digit's own. Chosen, to be strong."""

STEPS = 10
GUIDANCE = 3.0
BATCH = 250
GENERATOR_NAME = "synthgap/pocket"
SEEDS = {"train-synthetic": 21, "test-synthetic": 22}


def load_pipeline(folder: Path) -> DiffusionPipeline:
    """Load a saved pipeline in single precision, silent."""
    return load(GeneratorConfig(model=str(folder), precision="fp32")).call


def draw(pipeline: DiffusionPipeline, prompts: list[str], seed: int, *, steps: int = STEPS, guidance: float = GUIDANCE) -> np.ndarray:
    """Generate one image for each prompt; its noise depends on the seed and its index only.

    Args:
        pipeline: from `load_pipeline`.
        prompts: N texts.
        seed: of the noise.
        steps: of the scheduler.
        guidance: scale of classifier-free guidance.

    Returns:
        uint8, shape (N, 32, 32, 3).
    """
    images = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        noise = [torch.Generator().manual_seed(seed * 1_000_000 + start + row) for row in range(len(batch))]
        settings = {"height": 32, "width": 32, "num_inference_steps": steps, "guidance_scale": guidance, "output_type": "np"}
        images.append(pipeline(batch, generator=noise, **settings).images)
        LOG.info("samples: %d of %d", start + len(batch), len(prompts))
    return np.rint(np.concatenate(images) * 255).astype(np.uint8)


def sample(out: Path, part: str, count: int, *, resume: bool = False) -> None:
    """Sample one synthetic part and write its manifest, images included, to `out/<part>.parquet`.

    Args:
        out: build folder, which holds `pipeline`.
        part: key of `SEEDS`.
        count: number of images.
        resume: keep a finished part.
    """
    path = out / f"{part}.parquet"
    if resume and path.exists():
        return
    seed = SEEDS[part]
    scenes = draw_scenes(count, "generator", seed, tie=TIE)
    prompts = captions(scenes, seed)
    images = draw(load_pipeline(out / "pipeline"), prompts, seed)
    asked = {name: scenes[name].tolist() for name in ("digit", "parity", "ink", "ground", "size", "tilt", "place")}
    table = {
        "id": [f"pocket/{part}/{row:05d}" for row in range(count)],
        "file": [encode(image) for image in images],
        "codec": ["jpeg"] * count,
        "caption": prompts,
        **asked,
        "generator": [GENERATOR_NAME] * count,
        "seed": [seed * 1_000_000 + row for row in range(count)],
        "steps": [STEPS] * count,
        "guidance": [GUIDANCE] * count,
    }
    pq.write_table(pa.table(table), path, compression="zstd")
