"""The metrics of a run in TensorBoard or Weights & Biases, through accelerate's trackers; only where asked for."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from distill.errors import DistillError

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

logger = logging.getLogger(__name__)

Name = Literal["tensorboard", "wandb"]


def refuse_missing(names: Sequence[str]) -> None:
    """Check trackers before anything is trained.

    Raises:
        ValueError: for an unknown tracker.
        DistillError: for one whose package is not installed.
    """
    for name in names:
        if name not in get_args(Name):
            raise ValueError(f"`trackers` must be among {', '.join(get_args(Name))}, got {name!r}; choose from these.")
        if importlib.util.find_spec(name) is None:
            raise DistillError(f"`trackers` {name} needs its package, got none installed; pip install 'synthgap[track]'.")


@contextmanager
def tracked(
    names: Sequence[str], out: Path, *, run: str, student: str, settings: dict[str, object], log: Callable[[dict[str, Any]], None]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a log that also writes to trackers, one tracker run for each student, so that their charts overlay students.

    A tracker that fails is warned of and left out: training goes on. W&B writes files only, unless WANDB_MODE says `online`.

    Args:
        names: trackers; none leaves `log` as it is.
        out: run directory; TensorBoard's files go to `tensorboard/<student>` there, W&B's to `wandb`.
        run: name of the experiment.
        student: name of the student.
        settings: plain facts of the student.
        log: is given every row first.
    """
    trackers = [tracker for name in names if (tracker := _start(name, out, run, student, settings)) is not None]

    def write(row: dict[str, Any]) -> None:
        log(row)
        values = {key: float(value) for key, value in row.items() if isinstance(value, int | float) and key != "epoch"}
        for tracker in list(trackers):
            if not _tried(tracker.name, partial(tracker.log, values, step=int(row["epoch"]))):
                trackers.remove(tracker)

    try:
        yield write
    finally:
        for tracker in trackers:
            _tried(tracker.name, tracker.finish)


def _start(name: str, out: Path, run: str, student: str, settings: dict[str, object]) -> GeneralTracker | None:
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    tracker: GeneralTracker
    if name == "tensorboard":
        tracker = TensorBoardTracker(student, logging_dir=str(out / "tensorboard"))
    else:
        mode = os.environ.get("WANDB_MODE", "offline")
        tracker = WandBTracker("synthgap", name=student, group=run, dir=str(out), mode=mode)

    def start() -> None:
        if hasattr(tracker, "start"):  # since accelerate 1.7; before, making it started it
            tracker.start()
        if name == "wandb":  # TensorBoard's table of settings makes a second, empty run of each student
            tracker.store_init_configuration(settings)

    return tracker if _tried(name, start) else None


def _tried(name: str, work: Callable[[], object]) -> bool:
    try:
        work()
    except Exception as error:  # whatever the tracker's client raises: a log must not cost the training
        logger.warning("tracker %s is left out from here on: %s: %s", name, type(error).__name__, error)
        return False
    return True
