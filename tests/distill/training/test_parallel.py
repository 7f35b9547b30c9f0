"""Students that train at once, in processes of their own, are those that train one after another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import psutil
import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from distill.errors import DistillError
from distill.models.checkpoint import load_student
from distill.models.encoder import weights_hash
from distill.training.config import read_experiment
from distill.training.grid import train_grid
from distill.training.metrics import read_metrics

Write = Callable[..., Path]

TWO = {"l2": {"loss": {"l2": 1.0}}, "text": {"loss": {"image_text_contrastive": 1.0}}}


def test_students_trained_at_once_have_the_bits_of_those_trained_one_by_one(
    write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # one thread for each of two processes
    experiment = read_experiment(write_config(students=TWO, seeds=[0]))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train_grid(experiment, tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
    shown = StringIO()

    with Progress(console=Console(file=shown)) as progress:
        failed = train_grid(experiment, tmp_path / "two", jobs=2, progress=progress)

    assert failed == {}
    for name in ("l2-synthetic-s0", "text-synthetic-s0"):
        one, two = (load_student(tmp_path / run / "students" / name / "student.safetensors")[0] for run in ("one", "two"))
        assert weights_hash(one) == weights_hash(two)
    rows = [
        [{k: v for k, v in row.items() if k != "images_per_second"} for row in read_metrics(tmp_path / run / "metrics.jsonl")]
        for run in ("one", "two")
    ]
    assert sorted(rows[0], key=str) == sorted(rows[1], key=str)
    assert "students" in shown.getvalue()


def test_number_of_jobs_must_be_positive(write_config: Write, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`jobs` must be at least 1, got 0"):
        train_grid(read_experiment(write_config()), tmp_path / "run", jobs=0)


@pytest.mark.slow
def test_killed_worker_is_one_line_and_the_run_goes_on(write_config: Write, tmp_path: Path) -> None:
    experiment = read_experiment(write_config(students=TWO, seeds=[0, 1], training={"epochs": 30}))

    def kill() -> None:
        while True:
            started = list((tmp_path / "run" / "students").glob("*/epoch-002.safetensors"))
            workers = [child for child in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
            if started and workers:
                os.kill(workers[0].pid, signal.SIGKILL)
                return
            time.sleep(0.02)

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(DistillError, match="got one that was killed"):
        train_grid(experiment, tmp_path / "run", jobs=2)

    assert train_grid(experiment, tmp_path / "run", jobs=2, resume=True) == {}
    assert len(list((tmp_path / "run" / "students").glob("*/student.safetensors"))) == 4


@pytest.mark.slow
def test_workers_end_when_the_run_is_killed(write_config: Write, tmp_path: Path) -> None:
    config = write_config(students=TWO, seeds=[0, 1], training={"epochs": 300})
    command = [sys.executable, "-m", "app.cli", "train", str(config), "--out", str(tmp_path / "run"), "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("run/students/*/epoch-002.safetensors")):
        assert process.poll() is None
        time.sleep(0.1)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]

    process.kill()
    process.wait()

    assert len(workers) == 2
    assert psutil.wait_procs(workers, timeout=20)[1] == []
