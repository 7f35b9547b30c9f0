"""Metrics in TensorBoard and W&B: off unless asked for, the same numbers as metrics.jsonl, never in the way of training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from distill.errors import DistillError
from distill.training import trackers
from distill.training.config import read_experiment
from distill.training.grid import train_grid
from distill.training.metrics import read_metrics


def test_tensorboard_holds_the_numbers_of_the_metrics_file(write_config: Callable[..., Path], tmp_path: Path) -> None:
    experiment = read_experiment(write_config(), ["training.trackers=['tensorboard']", "seeds=[0, 1]"])

    assert train_grid(experiment, tmp_path / "run") == {}

    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    for student in ("l2-synthetic-s0", "l2-synthetic-s1"):
        events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / student)).Reload()
        for name in ("loss", "zero_shot_real"):
            wanted = [(row["epoch"], pytest.approx(row[name])) for row in rows if row["student"] == student]
            assert [(event.step, event.value) for event in events.Scalars(name)] == wanted
            assert len(wanted) == 2


def test_nothing_is_tracked_unless_asked_for_and_resuming_may_change_it(write_config: Callable[..., Path], tmp_path: Path) -> None:
    assert train_grid(read_experiment(write_config(), ["training.epochs=1"]), tmp_path / "run") == {}
    assert not (tmp_path / "run" / "tensorboard").exists()

    looked_at = read_experiment(write_config(), ["training.epochs=1", "training.trackers=['tensorboard']"])
    assert train_grid(looked_at, tmp_path / "run", resume=True) == {}


class _Broken:
    name = "broken"

    def __init__(self, *_: Any, **__: Any) -> None:
        self.finished = False

    def log(self, values: dict[str, float], step: int) -> None:
        raise ConnectionError("no network")


def test_a_tracker_that_fails_is_left_out_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import accelerate.tracking

    monkeypatch.setattr(accelerate.tracking, "TensorBoardTracker", _Broken)
    rows: list[dict[str, Any]] = []

    with (
        caplog.at_level(logging.WARNING),
        trackers.tracked(["tensorboard"], tmp_path, run="r", student="s", settings={}, log=rows.append) as log,
    ):
        log({"student": "s", "epoch": 1, "loss": 0.5})
        log({"student": "s", "epoch": 2, "loss": 0.4})

    assert [row["epoch"] for row in rows] == [1, 2]
    assert [record.message for record in caplog.records] == ["tracker broken is left out from here on: ConnectionError: no network"]


def test_wandb_writes_files_only_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import accelerate.tracking

    given: list[dict[str, Any]] = []

    class Recorded(_Broken):
        def __init__(self, project: str, **options: Any) -> None:
            given.append({"project": project, **options})

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            given[-1]["settings"] = values

        def finish(self) -> None:
            given[-1]["finished"] = True

    monkeypatch.setattr(accelerate.tracking, "WandBTracker", Recorded)
    for mode in (None, "online"):
        monkeypatch.delenv("WANDB_MODE", raising=False)
        if mode:
            monkeypatch.setenv("WANDB_MODE", mode)
        with trackers.tracked(["wandb"], tmp_path, run="r", student="s", settings={"seed": 0}, log=lambda row: None):
            pass

    common = {"project": "synthgap", "name": "s", "group": "r", "dir": str(tmp_path), "settings": {"seed": 0}, "finished": True}
    assert given == [{**common, "mode": "offline"}, {**common, "mode": "online"}]


def test_missing_and_unknown_trackers_are_refused_before_training(write_config: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training\.trackers\.0"):
        read_experiment(write_config(), ["training.trackers=['mlflow']"])
    with pytest.raises(ValueError, match="`trackers` must be among tensorboard, wandb, got 'mlflow'"):
        trackers.refuse_missing(["mlflow"])


def test_a_tracker_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]

    with pytest.raises(DistillError, match=r"`trackers` wandb needs its package, got none installed; pip install 'synthgap\[track\]'"):
        trackers.refuse_missing(["wandb"])
