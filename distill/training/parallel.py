"""Train several students at once, each in a process of its own with its share of the cores."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from distill.errors import DistillError
from distill.training.config import Experiment
from distill.training.experiment import open_experiment
from distill.training.loop import make_accelerator

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

    from rich.progress import Progress, TaskID

    from distill.training.grid_session import GridSession

Message = tuple[str, str, float, int]
"""Action (add, advance or remove), label of the task, steps (of all where it is added), and steps that are done."""

_session: GridSession | None = None
"""The open experiment of this worker process."""


def train_at_once(
    groups: Sequence[Sequence[str]],
    prepare: Callable[[Sequence[str]], None],
    experiment: Experiment,
    out: Path,
    *,
    jobs: int,
    resume: bool,
    progress: Progress | None,
) -> dict[str, str]:
    """Train students in worker processes.

    Args:
        groups: students to train, in this order.
        prepare: called with a group before its students start; those of earlier groups train meanwhile.
        experiment: what they are part of.
        out: run directory, which this process holds.
        jobs: processes; each has `cores // jobs` threads, at least one.
        resume: take up unfinished students.
        progress: rich progress, or None.

    Returns:
        Name of each student that failed -> why.

    Raises:
        DistillError: when a worker was killed from outside; finished students and epochs are kept.
    """
    context = get_context("spawn")
    queue = context.Queue()
    threads = threads_each(jobs)
    start = (experiment.model_dump_json(), out, threads, resume, queue if progress else None)
    names = [name for group in groups for name in group]
    failed: dict[str, str] = {}
    overall = progress.add_task("students", total=len(names)) if progress else None
    with _displayed(queue, progress), ProcessPoolExecutor(min(jobs, len(names)), context, initializer=_open, initargs=start) as pool:
        futures: dict[Future[str | None], str] = {}
        try:
            for group in groups:
                prepare(group)
                futures |= {pool.submit(_train, name): name for name in group}
            for future in as_completed(futures):
                why = future.result()
                if why is not None:
                    failed[futures[future]] = why
                if progress is not None and overall is not None:
                    progress.advance(overall)
        except BrokenProcessPool as error:
            raise DistillError(
                f"the {jobs} training processes must live, got one that was killed (out of memory?); add --resume, with fewer --jobs."
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return {name: failed[name] for name in names if name in failed}


def threads_each(jobs: int) -> int:
    """Return the number of threads of each of `jobs` processes that train at once, at least 1."""
    return max(1, (os.cpu_count() or 1) // jobs)


def _open(experiment: str, out: Path, threads: int, resume: bool, queue: Queue[Message | None] | None) -> None:
    """Open the experiment once in a new worker process."""
    global _session
    from distill.training.grid_session import GridSession

    threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(threads)
    parsed = Experiment.model_validate_json(experiment)
    queued_progress = None if queue is None else cast("Progress", _QueuedProgress(queue))
    accelerator = make_accelerator(parsed.training.precision)
    _session = GridSession(parsed, open_experiment(parsed, progress=False), out, accelerator, resume=resume, progress=queued_progress)


def _exit_with_parent(parent: int) -> None:
    """Exit when the parent process is gone: this worker would otherwise go on writing to the run."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _train(name: str) -> str | None:
    if _session is None:
        raise DistillError("a training process must have its experiment open, got none; this is a fault of synthgap.")
    return _session.train(name)


class _QueuedProgress:
    """The calls that a training loop makes on a rich progress, sent to the process that displays it, a few times a second."""

    def __init__(self, queue: Queue[Message | None]) -> None:
        self.queue = queue
        self.last = 0.0
        self.due: dict[str, float] = {}

    def add_task(self, label: str, *, total: float, completed: int = 0) -> str:
        self.queue.put(("add", label, total, completed))
        return label

    def advance(self, task: str, steps: float = 1) -> None:
        self.due[task] = self.due.get(task, 0.0) + steps
        if time.monotonic() - self.last > 0.3:
            self._send()

    def remove_task(self, task: str) -> None:
        self._send()
        self.queue.put(("remove", task, 0, 0))

    def _send(self) -> None:
        for task, steps in self.due.items():
            self.queue.put(("advance", task, steps, 0))
        self.due = {}
        self.last = time.monotonic()


@contextmanager
def _displayed(queue: Queue[Message | None], progress: Progress | None) -> Iterator[None]:
    """Display the progress of the workers until the block ends."""
    if progress is None:
        yield
        return
    thread = threading.Thread(target=_display, args=(queue, progress), daemon=True)
    thread.start()
    try:
        yield
    finally:
        queue.put(None)
        thread.join(timeout=5)


def _display(queue: Queue[Message | None], progress: Progress) -> None:
    tasks: dict[str, TaskID] = {}
    while (message := queue.get()) is not None:
        action, label, number, completed = message
        if action == "add":
            tasks[label] = progress.add_task(label, total=number, completed=completed)
        elif label in tasks and action == "advance":
            progress.advance(tasks[label], number)
        elif label in tasks:
            progress.remove_task(tasks.pop(label))
