"""Train the students of an experiment: losses x training sets x seeds, with equal starts and equal order."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
import torch
from filelock import FileLock, Timeout

from distill.config import Experiment
from distill.data import Split
from distill.encoder import Encoder
from distill.errors import DistillError
from distill.experiment import Opened, open_experiment
from distill.loop import make_accelerator
from distill.metrics import MetricsLog
from distill.pixels import cache_folder
from distill.student import attach_projection, build_backbone
from distill.targets import TeacherTargets, write_then_rename
from distill.train import HeldOut, Recipe, TrainingImages, train_student
from distill.views import Views

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.progress import Progress

logger = logging.getLogger(__name__)

PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "accelerate", "transformers", "datasets", "numpy", "synthgap")


def recipes(experiment: Experiment) -> list[Recipe]:
    """List every student of an experiment, so ordered that an unfinished run still compares all losses.

    First come the students of each loss's first training set, seed by seed, then those of the second, the controls.
    """
    depth = max(len(cell.trained_on) for cell in experiment.students.values())
    return [
        Recipe(
            name=f"{name}-{trained_on}-s{seed}",
            loss_name=name,
            loss=cell.loss,
            trained_on=trained_on,
            seed=seed,
            text=cell.text,
            temperature=cell.temperature,
            spec=experiment.student.model,
            kwargs=experiment.student.kwargs,
        )
        for place in range(depth)
        for seed in experiment.seeds
        for name, cell in experiment.students.items()
        for trained_on in cell.trained_on[place : place + 1]
    ]


def initial_student(recipe: Recipe, *, embed_dim: int, image_size: int) -> Encoder:
    """Build a student whose initial weights depend on its seed alone, not on its loss."""
    torch.manual_seed(recipe.seed)
    return attach_projection(build_backbone(recipe.spec, recipe.kwargs), embed_dim, image_size=image_size)


def train_grid(experiment: Experiment, out: Path, *, resume: bool = False, progress: Progress | None = None) -> dict[str, str]:
    """Train every student of an experiment.

    Args:
        experiment: what to train.
        out: run directory.
        resume: go on with a run directory that was interrupted.
        progress: rich progress, or None.

    Returns:
        Name of each student that failed -> why; the others are whole.

    Raises:
        FileExistsError: when `out` holds a run and `resume` is not set.
        DistillError: when another process uses the run, or its configuration is another one.
        FileNotFoundError, ValueError: for data or models that cannot be used, before anything is trained.
    """
    started = (out / "config.toml").exists()
    if started and not resume:
        raise FileExistsError(f"`out` must be a new folder, got {out}, which holds a run; add --resume or choose another folder.")
    config = tomli_w.dumps(experiment.model_dump(mode="json", exclude_none=True))
    if started and (out / "config.toml").read_text(encoding="utf-8") != config:
        raise DistillError(f"`config` must be the one that {out} was started with, got another; choose a new folder or the old config.")
    with locked(out):
        accelerator = make_accelerator(experiment.training.precision)
        opened = open_experiment(experiment, progress=progress is not None)
        write_then_rename(out / "config.toml", lambda file: file.write(config.encode()))
        _write_environment(out, accelerator, opened)
        return _train_all(experiment, opened, out, accelerator=accelerator, resume=resume, progress=progress)


def _train_all(
    experiment: Experiment, opened: Opened, out: Path, *, accelerator: Accelerator, resume: bool, progress: Progress | None
) -> dict[str, str]:
    size = opened.image_size
    held_out = {domain: HeldOut(_pixels(split, size), torch.from_numpy(split.labels)) for domain, split in opened.test.items()}
    images: dict[str, TrainingImages] = {}
    todo = recipes(experiment)
    overall = progress.add_task("students", total=len(todo)) if progress else None
    failed: dict[str, str] = {}
    for recipe in todo:
        folder = out / "students" / recipe.name
        if not (resume and (folder / "student.safetensors").is_file()):
            if recipe.trained_on not in images:
                images[recipe.trained_on] = _training_images(experiment, opened, recipe.trained_on, accelerator)
            log = MetricsLog(out / "metrics.jsonl", recipe.name)
            try:
                train_student(
                    recipe,
                    initial_student(recipe, embed_dim=opened.teacher.embed_dim, image_size=size),
                    images[recipe.trained_on],
                    config=experiment.training,
                    class_weights=opened.class_weights,
                    held_out=held_out,
                    out=folder,
                    accelerator=accelerator,
                    log=log.write,
                    resume=resume,
                    progress=progress,
                )
                (folder / "failed.json").unlink(missing_ok=True)
            except DistillError as error:
                # One student that diverges must not cost the others; a full disk will stop them too, and says so.
                failed[recipe.name] = str(error)
                logger.error("%s failed: %s", recipe.name, error)
                write_then_rename(folder / "failed.json", lambda file, why=str(error): file.write(json.dumps({"error": why}).encode()))
            finally:
                accelerator.free_memory()  # it keeps every prepared model and optimiser otherwise
        if progress is not None and overall is not None:
            progress.advance(overall)
    return failed


def _training_images(experiment: Experiment, opened: Opened, name: str, accelerator: Accelerator) -> TrainingImages:
    split = opened.train[name]
    pixels = _pixels(split, opened.image_size)
    views = Views(experiment.views, len(split))
    targets = TeacherTargets(
        opened.teacher, pixels, views, fingerprint=split.fingerprint, folder=cache_folder() / "targets", accelerator=accelerator
    )
    text = {"prompt": opened.class_weights.T[torch.from_numpy(split.labels)].contiguous()}
    if any(cell.text == "caption" for cell in experiment.students.values()):
        text["caption"] = opened.teacher.embed_text([str(caption) for caption in split.captions or []])
    return TrainingImages(pixels=pixels, views=views, targets=targets, text=text)


def _pixels(split: Split, size: int) -> torch.Tensor:
    return torch.from_numpy(split.pixels(size))


def _write_environment(out: Path, accelerator: Accelerator, opened: Opened) -> None:
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": accelerator.mixed_precision,
        "teacher_hash": opened.teacher.hash,
        "packages": {name: _version(name) for name in PACKAGES},
        "splits": {
            name: {"images": len(split), "skipped": split.skipped, "fingerprint": split.fingerprint} for name, split in _all(opened)
        },
    }
    write_then_rename(out / "environment.json", lambda file: file.write(json.dumps(facts, indent=1).encode()))


def _all(opened: Opened) -> Iterator[tuple[str, Split]]:
    yield from ((f"train/{name}", split) for name, split in opened.train.items())
    yield from ((f"test/{name}", split) for name, split in opened.test.items())


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run directory for this process.

    Raises:
        DistillError: when another process holds it, or it cannot be written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise DistillError(f"{run} must be free, got a run directory that another process uses; wait for it or choose another.") from error
    except OSError as error:
        raise DistillError(f"{run} must be writable, got {error.strerror or error}; free space or choose another folder.") from error
    try:
        yield
    finally:
        lock.release()
