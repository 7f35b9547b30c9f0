"""One student trained by two processes of torchrun: the weights of one process, for every kind of loss that looks at a whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from distill.distributed.gather import convert_sync_batchnorm
from distill.errors import DistillError
from distill.models.checkpoint import read_tensors
from distill.training.config import read_experiment
from distill.training.grid import train_grid
from distill.training.metrics import read_metrics

STUDENTS = {
    "l2": {"loss": {"l2": 1.0}},
    "text": {"loss": {"image_text_contrastive": 1.0}, "text": "caption", "temperature": "learned"},
    "memory": {"loss": {"crd_memory": 0.1, "image_image_contrastive": 1.0}},
    "masked": {"loss": {"masked_squared_l2": 1.0}},
    "average": {"loss": {"ema_soft_labels": 1.0}},
    "fused": {"loss": {"augmented_feature": 1.0}},
}
"""Images alone, a temperature that learns, negatives and a memory, a masked pass and a moving average, weights of the loss's own."""

TOLERANCE = 1e-5
"""Largest difference of a weight after six steps: sums in another order. Of SGD, since AdamW divides a gradient that is all rounding by itself."""

MASKED = 1e-3
"""The same where patches are hidden. All their pixels are alike, so that rounding may take them over the kink of a ReLU together: in one process
another order of the rows alone changes a gradient by up to 1e-3 of its norm."""


def launcher(*options: object) -> list[str]:
    return [*map(str, (sys.executable, "-m", "torch.distributed.run", "--standalone", *options)), "-m", "app.cli"]


def launch(*arguments: object, processes: int = 2, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*launcher("--nproc-per-node", processes), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


def weights(run: Path, name: str, file: str = "student") -> dict[str, torch.Tensor]:
    return read_tensors(run / "students" / f"{name}-synthetic-s0" / f"{file}.safetensors")[0]


@pytest.fixture(scope="module")
def training() -> dict[str, object]:
    return {"epochs": 2, "batch_size": 15, "precision": "fp32", "optimizer": "sgd", "learning_rate": 0.05}


def test_two_processes_train_the_students_of_one(write_config: Callable[..., Path], training: dict[str, object], tmp_path: Path) -> None:
    config = write_config(students=STUDENTS, training=training)  # 15 rows: 7 for the first process, 8 for the second

    done = launch("train", config, "--out", tmp_path / "both")
    train_grid(read_experiment(config), tmp_path / "alone")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: ") == 1
    for name in STUDENTS:
        together, alone = (weights(tmp_path / run, name) for run in ("both", "alone"))
        start = weights(tmp_path / "alone", name, "epoch-001")
        assert max(float((alone[key].float() - start[key].float()).abs().max()) for key in alone) > 50 * TOLERANCE  # they did learn
        near = MASKED if name == "masked" else TOLERANCE
        for key, tensor in alone.items():
            torch.testing.assert_close(
                together[key], tensor, rtol=10 * near, atol=near, msg=lambda text, at=f"{name}, {key}": f"{at}: {text}"
            )
    rows = [read_metrics(tmp_path / run / "metrics.jsonl") for run in ("both", "alone")]
    assert [(row["student"], row["epoch"]) for row in rows[0]] == [(row["student"], row["epoch"]) for row in rows[1]]
    assert [row["loss"] for row in rows[0]] == pytest.approx([row["loss"] for row in rows[1]], rel=1e-3)


def test_a_run_of_two_processes_goes_on_in_one(write_config: Callable[..., Path], training: dict[str, object], tmp_path: Path) -> None:
    config = write_config(training=training)
    assert launch("train", config, "--out", tmp_path / "run").returncode == 0
    folder = tmp_path / "run" / "students" / "l2-synthetic-s0"
    whole = weights(tmp_path / "run", "l2")

    (folder / "student.safetensors").unlink()

    train_grid(read_experiment(config), tmp_path / "run", resume=True)

    assert all(torch.equal(tensor, whole[key]) for key, tensor in weights(tmp_path / "run", "l2").items())


def test_jobs_beside_a_launcher_are_refused_in_one_line(write_config: Callable[..., Path], tmp_path: Path) -> None:
    done = launch("train", write_config(), "--out", tmp_path / "run", "--jobs", "2")

    assert done.returncode != 0
    assert "`jobs` must be 1 under a launcher, got 2; the processes share each student already." in done.stderr
    assert not (tmp_path / "run" / "students").exists()


def test_a_batch_norm_that_cannot_be_shared_is_named() -> None:
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(DistillError, match="batch norms of a student must be torch's own under a launcher, got Own at `0`"):
        convert_sync_batchnorm(nn.Sequential(Own(3)))


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_torchrun_starts_the_training_again_after_a_killed_process(victim: int, write_config: Callable[..., Path], tmp_path: Path) -> None:
    training = {"epochs": 8, "batch_size": 15, "precision": "fp32"}
    config = write_config(students={"average": STUDENTS["average"]}, training=training)
    command = [*launcher("--nproc-per-node", 2, "--max-restarts", 1), "train", str(config), "--out", str(tmp_path / "killed"), "--resume"]
    done = launch("train", config, "--out", tmp_path / "whole")
    assert done.returncode == 0, done.stderr

    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True) as running:
        epoch = tmp_path / "killed" / "students" / "average-synthetic-s0" / "epoch-002.safetensors"
        until = time.monotonic() + 300
        while not epoch.exists() and running.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        workers = psutil.Process(running.pid).children()
        assert len(workers) == 2
        workers[victim].kill()
        _, said = running.communicate(timeout=300)

    assert running.returncode == 0, said
    assert "exitcode: -9" in said, said
    whole, killed = (weights(tmp_path / run, "average") for run in ("whole", "killed"))
    assert all(torch.equal(tensor, killed[name]) for name, tensor in whole.items())
    rows = [row["epoch"] for row in read_metrics(tmp_path / "killed" / "metrics.jsonl")]
    assert sorted(set(rows)) == list(range(1, 9))
