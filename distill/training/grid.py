"""Train the students of an experiment: losses x training sets x seeds, with equal starts and equal order."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w
import torch
from filelock import FileLock, Timeout

from distill.data.split import Split
from distill.errors import DistillError
from distill.system.atomic_files import sweep, write_then_rename
from distill.training.config import Experiment, read_experiment
from distill.training.experiment import Opened, open_experiment
from distill.training.grid_session import GridSession
from distill.training.loop import make_accelerator
from distill.training.parallel import threads_each, train_at_once
from distill.training.trackers import refuse_missing

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.progress import Progress


PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "accelerate", "transformers", "datasets", "numpy", "synthgap")


def train_grid(
    experiment: Experiment, out: Path, *, resume: bool = False, jobs: int = 1, progress: Progress | None = None
) -> dict[str, str]:
    """Train every student of an experiment. Under a launcher all processes train one student together, and the first one writes.

    Args:
        experiment: what to train.
        out: run directory.
        resume: go on with a run directory that was interrupted.
        jobs: students trained at once, each by one process with its share of the cores; small students train faster so.
        progress: rich progress, or None.

    Returns:
        Name of each student that failed -> why; the others are whole.

    Raises:
        FileExistsError: when `out` holds a run and `resume` is not set.
        DistillError: when another process uses the run, or its configuration is another one.
        FileNotFoundError, ValueError: for data or models that cannot be used, before anything is trained.
    """
    if jobs < 1:
        raise ValueError(f"`jobs` must be at least 1, got {jobs}; one for every two cores is a good start.")
    started = (out / "config.toml").exists()
    if started and not resume:
        raise FileExistsError(f"`out` must be a new folder, got {out}, which holds a run; add --resume or choose another folder.")
    config = tomli_w.dumps(experiment.model_dump(mode="json", exclude_none=True))
    if started and not _is(experiment, out / "config.toml"):
        raise DistillError(f"`config` must be the one that {out} was started with, got another; choose a new folder or the old config.")
    accelerator = make_accelerator(experiment.training.precision)
    if jobs > 1 and accelerator.num_processes > 1:
        raise ValueError(f"`jobs` must be 1 under a launcher, got {jobs}; the processes share each student already.")
    with locked(out) if accelerator.is_main_process else nullcontext():
        refuse_missing(experiment.training.trackers)
        opened = open_experiment(experiment, progress=progress is not None)
        session = GridSession(experiment, opened, out, accelerator, resume=resume, progress=progress)
        names = session.unfinished()
        accelerator.wait_for_everyone()  # all have looked before the first one writes
        if accelerator.is_main_process:
            write_then_rename(out / "config.toml", lambda file: file.write(config.encode()))
            _write_environment(out, accelerator, opened, jobs)
            if accelerator.num_processes > 1:
                session.fill_targets(names)
        accelerator.wait_for_everyone()
        if jobs == 1 or len(names) < 2:
            return session.train_all(names)
        groups = session.by_training_set(names)
        return train_at_once(groups, session.fill_targets, experiment, out, jobs=jobs, resume=resume, progress=progress)


def _is(experiment: Experiment, config: Path) -> bool:
    """Tell whether a run's file says the same, whatever keys have been added to the format since and whoever looks on."""
    try:
        return _untracked(read_experiment(config)) == _untracked(experiment)
    except ValueError:
        return False


def _untracked(experiment: Experiment) -> Experiment:
    return experiment.model_copy(update={"training": experiment.training.model_copy(update={"trackers": ()})})


def _write_environment(out: Path, accelerator: Accelerator, opened: Opened, jobs: int) -> None:
    facts: dict[str, object] = {
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "jobs": jobs,
        "threads": torch.get_num_threads() if jobs == 1 else threads_each(jobs),
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
        sweep(run)
        yield
    finally:
        lock.release()
