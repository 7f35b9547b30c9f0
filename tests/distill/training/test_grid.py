"""Whole experiments on tiny images: equal starts, resuming to the same bits, failures of single students, and refusals."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from rich.console import Console
from rich.progress import Progress

from distill import losses
from distill.errors import DistillError
from distill.models.checkpoint import load_student, read_description, read_tensors
from distill.models.encoder import weights_hash
from distill.models.teacher import load_teacher
from distill.system import atomic_files
from distill.training import grid, loop, metrics, train
from distill.training.config import Experiment, read_experiment
from distill.training.experiment import open_experiment
from distill.training.grid import train_grid
from distill.training.grid_session import initial_student, recipes
from distill.training.metrics import read_metrics

Write = Callable[..., Path]

FOUR = {
    "l2": {"loss": {"l2": 1.0}, "trained_on": ["synthetic", "real"]},
    "text": {"loss": {"image_text_contrastive": 1.0}, "text": "caption", "temperature": "learned"},
    "mixed": {"loss": {"squared_l2": 0.5, "image_image_contrastive": 1.0}},
}


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of ours catches it."""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def curve(run: Path) -> list[dict]:
    """Rows without the one thing that may differ between runs."""
    return [{key: value for key, value in row.items() if key != "images_per_second"} for row in read_metrics(run / "metrics.jsonl")]


def test_grid_trains_every_student_and_writes_the_run(write_config: Write, teacher_folder: Path, tmp_path: Path) -> None:
    experiment = read_experiment(write_config(students=FOUR, seeds=[0, 1]))
    before = load_teacher(str(teacher_folder)).hash

    failed = train_grid(experiment, tmp_path / "run")

    assert failed == {}
    names = sorted(folder.name for folder in (tmp_path / "run" / "students").iterdir())
    assert names == sorted(f"{n}-s{seed}" for n in ("l2-synthetic", "l2-real", "text-synthetic", "mixed-synthetic") for seed in (0, 1))
    assert read_experiment(tmp_path / "run" / "config.toml") == experiment
    rows = curve(tmp_path / "run")
    assert sorted((row["student"], row["epoch"]) for row in rows) == sorted((name, epoch) for name in names for epoch in (1, 2))
    assert all(0 <= row[f"zero_shot_{domain}"] <= 1 for row in rows for domain in ("real", "synthetic"))
    assert {tuple(sorted(row.keys() & losses.LOSSES.keys())) for row in rows if row["student"].startswith("mixed")} == {
        ("image_image_contrastive", "squared_l2")
    }
    scales = [row["logit_scale"] for row in rows if row["student"] == "text-synthetic-s0"]
    assert scales[0] != scales[1]
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["teacher_hash"] == before == load_teacher(str(teacher_folder)).hash
    assert environment["splits"]["train/synthetic"]["images"] == 48
    description = read_description(tmp_path / "run" / "students" / "text-synthetic-s1" / "student.safetensors")
    assert {key: description[key] for key in ("loss", "seed", "trained_on", "target", "negatives", "text", "temperature", "epoch")} == {
        "loss": "text", "seed": 1, "trained_on": "synthetic", "target": "text", "negatives": True, "text": "caption", "temperature": "learned", "epoch": 2,
    }  # fmt: skip
    encoder, _ = load_student(tmp_path / "run" / "students" / "l2-real-s0" / "student.safetensors")
    assert encoder(torch.rand(2, 3, 16, 16)).shape == (2, 8)


def test_students_of_a_seed_start_from_the_same_weights(write_config: Write) -> None:
    todo = recipes(read_experiment(write_config(students=FOUR, seeds=[0, 1])))

    starts = {recipe.name: weights_hash(initial_student(recipe, embed_dim=8, image_size=16)) for recipe in todo}

    assert len({start for name, start in starts.items() if name.endswith("s0")}) == 1
    assert len(set(starts.values())) == 2


def test_an_unfinished_run_compares_all_losses_before_it_trains_controls(write_config: Write) -> None:
    names = [recipe.name for recipe in recipes(read_experiment(write_config(students=FOUR, seeds=[0, 1])))]

    first = [f"{name}-synthetic-s{seed}" for seed in (0, 1) for name in ("l2", "text", "mixed")]
    assert names == [*first, "l2-real-s0", "l2-real-s1"]


def test_students_of_a_seed_see_the_same_views_in_the_same_order(
    write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[torch.Tensor]] = {"l2": [], "image_text_contrastive": []}
    for name in seen:
        real = losses.LOSSES[name]

        def watched(batch: losses.Batch, name: str = name, real: losses.Loss = real) -> torch.Tensor:
            seen[name].append(batch.teacher.clone())
            return real.function(batch)

        monkeypatch.setitem(losses.LOSSES, name, losses.Loss(watched, real.target, real.negatives))

    train_grid(
        read_experiment(write_config(students={"a": {"loss": {"l2": 1.0}}, "b": {"loss": {"image_text_contrastive": 1.0}}})),
        tmp_path / "run",
    )

    assert len(seen["l2"]) == 6
    assert all(torch.equal(a, b) for a, b in zip(*seen.values(), strict=True))


def test_l2_training_brings_the_student_nearer(write_config: Write, tmp_path: Path) -> None:
    config = write_config(training={"epochs": 6, "batch_size": 16, "precision": "fp32", "learning_rate": 0.01})

    train_grid(read_experiment(config), tmp_path / "run")

    terms = [row["l2"] for row in curve(tmp_path / "run")]
    assert terms[-1] < 0.5 * terms[0]


PLACES = [("step", 0), ("step", 7), ("metrics", 0), ("save_student", 1), ("save_state", 0), ("rename", 9)]


@pytest.fixture(scope="module")
def whole() -> dict[str, object]:
    return {}


@pytest.mark.parametrize(("place", "count"), PLACES)
def test_killed_and_resumed_run_ends_in_the_same_bits(
    place: str, count: int, write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: dict[str, object]
) -> None:
    students = {"a": {"loss": {"l2": 1.0}}, "b": {"loss": {"image_text_contrastive": 1.0}, "temperature": "learned"}}
    experiment = read_experiment(write_config(students=students))
    if not whole:
        train_grid(experiment, tmp_path / "whole")
        whole["weights"] = {path.parent.name: digest(path) for path in (tmp_path / "whole").glob("students/*/student.safetensors")}
        whole["curve"] = curve(tmp_path / "whole")
        assert len(whole["weights"]) == 2

    calls = 0

    def before(real: Callable) -> Callable:
        def killing(*args: object, **kwargs: object) -> object:
            nonlocal calls
            calls += 1
            if calls == count + 1:
                raise Killed
            return real(*args, **kwargs)

        return killing

    with monkeypatch.context() as patch:
        owner, name = {
            "step": (train, "mixed_loss"),
            "metrics": (metrics.MetricsLog, "write"),
            "save_student": (train, "save_student"),
            "save_state": (loop, "save_tensors"),
            "rename": (os, "replace"),
        }[place]
        patch.setattr(owner, name, before(getattr(owner, name)))
        with pytest.raises(Killed):
            train_grid(experiment, tmp_path / "run")
    if (tmp_path / "run" / "config.toml").exists():
        with pytest.raises(FileExistsError, match="add --resume or choose another folder"):
            train_grid(experiment, tmp_path / "run")
    train_grid(experiment, tmp_path / "run", resume=True)

    assert {path.parent.name: digest(path) for path in (tmp_path / "run").glob("students/*/student.safetensors")} == whole["weights"]
    key = lambda row: (row["student"], row["epoch"])  # noqa: E731
    assert sorted(curve(tmp_path / "run"), key=key) == sorted(whole["curve"], key=key)


@pytest.mark.slow
def test_process_killed_at_random_moments_ends_in_the_same_bits(write_config: Write, tmp_path: Path, own_cache: Path) -> None:
    config = write_config(training={"epochs": 12, "batch_size": 8, "precision": "fp32"})
    command = [sys.executable, "-c", "from app.cli import main; main()", "train", str(config), "--resume", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    moments = random.Random(1)
    killed = 0

    for _ in range(4):
        process = subprocess.Popen([*command, str(tmp_path / "run")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list((tmp_path / "run").glob("students/*/epoch-*")):
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    subprocess.run([*command, str(tmp_path / "run")], check=True, capture_output=True)

    student = "students/l2-synthetic-s0/student.safetensors"
    assert killed > 0
    assert digest(tmp_path / "run" / student) == digest(tmp_path / "whole" / student)
    assert curve(tmp_path / "run") == curve(tmp_path / "whole")


def test_student_that_diverges_does_not_cost_the_others(write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    students = {"bad": {"loss": {"spoilt": 1.0}}, "good": {"loss": {"l2": 1.0}}}
    monkeypatch.setitem(losses.LOSSES, "spoilt", losses.Loss(lambda b: b.student.mean() * float("nan"), "image", False))
    experiment = read_experiment(write_config(students=students))

    failed = train_grid(experiment, tmp_path / "run")

    folder = tmp_path / "run" / "students"
    assert list(failed) == ["bad-synthetic-s0"]
    assert (
        "the loss must stay finite, got nan in epoch 0, step 0"
        in json.loads((folder / "bad-synthetic-s0" / "failed.json").read_text())["error"]
    )
    assert not (folder / "bad-synthetic-s0" / "student.safetensors").exists()
    assert (folder / "good-synthetic-s0" / "student.safetensors").exists()
    monkeypatch.setitem(losses.LOSSES, "spoilt", losses.LOSSES["l2"])
    assert train_grid(experiment, tmp_path / "run", resume=True) == {}
    assert not (folder / "bad-synthetic-s0" / "failed.json").exists()


def test_full_disk_stops_the_run_in_one_line_and_what_was_saved_is_whole(
    write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = read_experiment(write_config())
    real, full = os.fsync, tmp_path / "run" / "students" / "l2-synthetic-s0" / "epoch-001.safetensors"

    def fsync(descriptor: int) -> None:
        if full.exists():
            raise OSError(28, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(atomic_files.os, "fsync", fsync)
        with pytest.raises(DistillError, match="No space left on device; free space"):
            train_grid(experiment, tmp_path / "run")

    assert load_student(full)[1]["epoch"] == 1
    assert read_experiment(tmp_path / "run" / "config.toml") == experiment
    assert train_grid(experiment, tmp_path / "run", resume=True) == {}
    assert len(curve(tmp_path / "run")) == 2


def test_other_configuration_cannot_take_up_a_run(write_config: Write, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text("name = 'other'\n")

    with pytest.raises(DistillError, match=r"`config` must be the one that .* was started with"):
        train_grid(read_experiment(write_config()), tmp_path / "run", resume=True)


def test_run_in_use_and_run_that_is_a_file_are_refused(write_config: Write, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "file").write_text("")
    experiment = read_experiment(write_config())

    with FileLock(tmp_path / "run" / ".lock"):
        with pytest.raises(DistillError, match="got a run directory that another process uses"):
            train_grid(experiment, tmp_path / "run")
    with pytest.raises(DistillError, match="file must be writable, got File exists"):
        train_grid(experiment, tmp_path / "file")


def test_limit_takes_the_same_share_of_each_class_from_training_sets_only(write_config: Write, tiny_data: Path) -> None:
    data = tomllib.loads(write_config().read_text())["data"]

    opened = open_experiment(read_experiment(write_config(data={**data, "limit": 10})))

    assert len(opened.train["synthetic"]) == 10
    assert len(opened.test["real"]) == 30
    assert sorted(np.bincount(opened.train["synthetic"].labels)) == [3, 3, 4]
    assert opened.class_names == ("cat", "dog", "ship")


def test_progress_is_drawn_on_the_console_it_is_given_and_stdout_stays_empty(
    write_config: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tomllib.loads(write_config().read_text())["data"]
    experiment = read_experiment(write_config(data={**data, "skip_bad": True}))

    with Progress(console=Console(stderr=True)) as progress:
        train_grid(experiment, tmp_path / "run", progress=progress)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "students" in captured.err


def test_memory_of_a_student_is_given_back(write_config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = grid.make_accelerator
    monkeypatch.setattr(grid, "make_accelerator", lambda precision: made.append(real(precision)) or made[-1])

    train_grid(read_experiment(write_config(seeds=[0, 1])), tmp_path / "run")

    assert made[0]._models == []
    assert made[0]._optimizers == []


BAD = [
    ({"training": {"epoch": 3}}, r"unknown key `training.epoch`; did you mean epochs"),
    ({"student": {"modle": "x"}}, r"unknown key `student.modle`; did you mean model"),
    ({"view": {"count": 3}}, r"unknown key `view`; did you mean views"),
    ({"students": {"a": {"loss": {"l2": 1.0}, "txt": "prompt"}}}, r"unknown key `students.a.txt`; did you mean text"),
    (
        {"students": {"a": {"loss": {"l3": 1.0}}}},
        r"`loss` must name one of 29 losses .docs/losses.md., got 'l3'; did you mean l2 or \w+\?$",
    ),
    ({"students": {"a": {"loss": {"l2": 1.0}, "options": {"siglip": {"bia": 1.0}}}}}, r"add the loss or drop its options\.$"),
    ({"students": {"a": {"loss": {"l2": -1.0}}}}, "must be a positive number"),
    ({"students": {"a": {"loss": {}}}}, "must name at least one loss"),
    ({"students": {"a": {}}}, r"`students.a.loss` must be given, got nothing; add it"),
    ({"students": {}}, "students"),
    ({"students": {"a/b": {"loss": {"l2": 1.0}}}}, "names must be letters, digits"),
    ({"students": {"a": {"loss": {"l2": 1.0}, "temperature": 0}}}, r"must be in \[0.001, 100\] or 'learned', got 0"),
    ({"students": {"a": {"loss": {"l2": 1.0}, "trained_on": ["real", "real"]}}}, "'a-real' twice"),
    ({"students": {"a": {"loss": {"l2": 1.0}, "trained_on": []}}}, "trained_on"),
    ({"seeds": [-1]}, "must be distinct and in"),
    ({"seeds": [1, 1]}, "must be distinct and in"),
    ({"seeds": [2**60]}, "must be distinct and in"),
    ({"seeds": []}, "seeds"),
    ({"name": "../x"}, "name"),
    ({"data": {"train": {"../x": "a"}, "test": {"real": "a"}}}, "names must be letters, digits"),
    ({"data": {"train": {"real": "a"}, "test": {"fake": "a"}}}, "the keys must be `real` and `synthetic`"),
    ({"teacher": {"model": "x", "templates": ["no place"]}}, "must each hold one"),
    ({"training": {"batch_size": 1}}, "training.batch_size"),
    ({"training": {"precision": "fp8"}}, "training.precision"),
    ({"views": {"min_area": 0}}, "views.min_area"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_bad_configuration_is_one_line_that_names_the_file_and_the_key(change: dict, message: str, write_config: Write) -> None:
    path = write_config(**change)

    with pytest.raises(ValueError, match=message) as caught:
        read_experiment(path)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_file_that_is_not_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(content)

    with pytest.raises(ValueError, match=r"x.toml must be TOML, got an error|must be text in UTF-8, got .*x.toml"):
        read_experiment(tmp_path / "x.toml")
    with pytest.raises(FileNotFoundError, match=r"`config` must be a TOML file that exists"):
        read_experiment(tmp_path / "gone.toml")


def test_overrides_change_keys_of_any_depth(write_config: Write) -> None:
    overrides = [
        "training.epochs=3",
        "data.folder=some/where",
        "students.l2.loss.squared_l2=0.5",
        "seeds=[4, 5]",
        "views.mixup = 0.5",
        "data.limit=4",
    ]

    experiment = read_experiment(write_config(), overrides)

    assert experiment.training.epochs == 3
    assert experiment.data.folder == "some/where"
    assert experiment.students["l2"].loss == {"l2": 1.0, "squared_l2": 0.5}
    assert experiment.seeds == [4, 5]
    assert experiment.views.mixup == 0.5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "must be key=value, got 'training.epochs'"),
        ("=3", "must be key=value"),
        ("training.epoch=3", "did you mean epochs"),
        ("training.epochs=three", "training.epochs"),
        ("name.x=3", "must name a key, got name, which is a value"),
        ("data=3", "`data`"),
    ],
)
def test_bad_overrides_are_refused(override: str, message: str, write_config: Write) -> None:
    with pytest.raises(ValueError, match=message):
        read_experiment(write_config(), [override])


def opening(write_config: Write, *, students: dict | None = None, teacher: dict | None = None, **data: object) -> Experiment:
    tables = tomllib.loads(write_config().read_text())
    path = write_config(data={**tables["data"], **data}, students=students or tables["students"], teacher=teacher or tables["teacher"])
    return read_experiment(path)


def test_training_set_that_is_not_there_is_refused(write_config: Write) -> None:
    students = {"a": {"loss": {"l2": 1.0}, "trained_on": ["painted"]}}

    with pytest.raises(ValueError, match=r"`trained_on` must name a set of data.train \['real', 'synthetic'\], got 'painted'"):
        open_experiment(opening(write_config, students=students))


def test_captions_must_be_there_where_they_are_asked_for(write_config: Write, tiny_data: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(tiny_data / "train-synthetic.parquet").drop_columns(["caption"]), tmp_path / "plain.parquet")
    students = {"a": {"loss": {"image_text_contrastive": 1.0}, "text": "caption"}}
    train_sets = {"synthetic": str(tmp_path / "plain.parquet")}

    with pytest.raises(
        ValueError, match=r"`text` = 'caption' of a needs a caption for every image, got none in synthetic; use text = 'prompt'"
    ):
        open_experiment(opening(write_config, students=students, train=train_sets))


def test_images_that_are_not_one_square_size_need_a_size(write_config: Write, tiny_data: Path, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("cat", "dog", "ship"):
        (tmp_path / "wide" / name).mkdir(parents=True)
        Image.new("RGB", (20, 12)).save(tmp_path / "wide" / name / "a.png")

    with pytest.raises(ValueError, match=r"`data.image_size` must be given when images are not square and equal, got 16 x 16, 20 x 12"):
        open_experiment(opening(write_config, test={"real": str(tmp_path / "wide")}))
    opened = open_experiment(opening(write_config, test={"real": str(tmp_path / "wide")}, image_size=16))
    assert opened.image_size == 16


def test_missing_teacher_or_data_stop_before_anything_is_written(write_config: Write, tmp_path: Path) -> None:
    for experiment in (
        opening(write_config, teacher={"model": "local-dir:nowhere"}),
        opening(write_config, test={"real": "gone.parquet"}),
    ):
        with pytest.raises(FileNotFoundError):
            train_grid(experiment, tmp_path / "run")

    assert [path.name for path in (tmp_path / "run").iterdir() if path.name != ".lock"] == []


def test_resume_state_holds_finite_numbers_only(write_config: Write, tmp_path: Path) -> None:
    train_grid(read_experiment(write_config()), tmp_path / "run")

    tensors, description = read_tensors(tmp_path / "run" / "students" / "l2-synthetic-s0" / "resume.safetensors")

    assert description == {"epoch": 2}
    assert any(name.startswith("optimizer/") for name in tensors)
    assert all(torch.isfinite(tensor.float()).all() for tensor in tensors.values())
