"""Rebuild the pocket: `python -m tools.pocket.build --out DIR` trains the teacher and the generator and samples.

Budgets are processor seconds of one thread, so that a busy machine takes longer but trains as much. Weights differ in the last digits
between machines; the scenes, captions and seeds do not.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from pathlib import Path
from typing import cast

import torch

from distill.packs.pocket import SIZES, PocketPart, teacher_folder
from distill.packs.pocket.captions import TASKS, captions
from distill.packs.pocket.world import blend, compose, draw_scenes
from tools.pocket import build_autoencoder, build_generator, build_samples, build_teacher

LOG = logging.getLogger("tools.pocket")

GENERATOR_IMAGES = 30_000
GENERATOR_SEED = 3
STEPS = ("teacher", "autoencoder", "generator", "samples", "report")
SECONDS = {"teacher": 480.0, "autoencoder": 240.0, "generator": 1100.0}
SHIPPED = ("teacher", "pipeline", "train-synthetic.parquet", "test-synthetic.parquet", "report.json")


def build(out: Path, steps: tuple[str, ...] = STEPS, *, resume: bool = False, scale: float = 1.0) -> None:
    """Run the steps of the build in order.

    Args:
        out: folder of everything that is made; `SHIPPED` names what belongs into the package's `assets`.
        steps: some of `STEPS`.
        resume: keep what is finished and go on with a generator's saved state.
        scale: factor on all training budgets.
    """
    out.mkdir(parents=True, exist_ok=True)
    if "teacher" in steps:
        build_teacher.train(out, SECONDS["teacher"] * scale, resume=resume)
    if {"autoencoder", "generator"} & set(steps):
        scenes = draw_scenes(GENERATOR_IMAGES, "generator", GENERATOR_SEED, tie=build_samples.TIE)
        images = build_teacher.pixels(compose(scenes, "generator", GENERATOR_SEED))
        ink = torch.from_numpy(blend(scenes, "generator", GENERATOR_SEED)[1])
        if "autoencoder" in steps:
            build_autoencoder.train(out, images, SECONDS["autoencoder"] * scale, resume=resume)
        if "generator" in steps:
            latents = build_autoencoder.encode(build_autoencoder.load(out), images)
            build_generator.train(out, latents, captions(scenes, GENERATOR_SEED), ink, SECONDS["generator"] * scale, resume=resume)
    if "samples" in steps:
        for part in build_samples.SEEDS:
            build_samples.sample(out, part, SIZES[cast(PocketPart, part)], resume=resume)
    if "report" in steps:
        (out / "report.json").write_text(json.dumps(report(out), indent=2) + "\n")


def report(out: Path) -> dict[str, dict[str, float]]:
    """Measure the teacher on held-out real images and on the synthetic test images: zero-shot accuracy by task, in [0, 1]."""
    import pyarrow.parquet as pq

    scenes = draw_scenes(SIZES["test-real"], "heldout", 12)
    real = build_teacher.pixels(compose(scenes, "heldout", 12))
    manifest = pq.read_table(out / "test-synthetic.parquet").to_pandas()
    synthetic = build_teacher.pixels(manifest["file"].tolist())
    truth = {task: scenes[task].to_numpy() for task in TASKS}, {task: manifest[task].to_numpy() for task in TASKS}
    return {
        "teacher on test-real": build_teacher.evaluate(out / "teacher", real, truth[0]),
        "teacher on test-synthetic": build_teacher.evaluate(out / "teacher", synthetic, truth[1]),
    }


def install(out: Path, assets: Path) -> None:
    """Copy what a build has made over the files that the package ships.

    Args:
        out: folder of the build.
        assets: folder of the shipped files.
    """
    for name in SHIPPED:
        source = out / name
        if source.is_dir():
            shutil.rmtree(assets / name, ignore_errors=True)
            shutil.copytree(source, assets / name)
        else:
            shutil.copy2(source, assets / name)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(prog="python -m tools.pocket.build", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="what to run (default: all)")
    parser.add_argument("--resume", action="store_true", help="keep what is finished, go on with what was interrupted")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the training budgets (0.01 for a trial)")
    parser.add_argument("--install", action="store_true", help="copy the results over the package's own assets")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    LOG.setLevel(logging.INFO)
    torch.set_num_threads(1)
    build(options.out, tuple(options.steps), resume=options.resume, scale=options.scale)
    if options.install:
        install(options.out, teacher_folder().parent)


if __name__ == "__main__":
    main()
