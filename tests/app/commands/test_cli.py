"""The command line in process: exit codes, one-line errors, results on stdout, and the way from images to a verdict."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from app.commands import train
from diagnose.schema import ProbeRecord

Run = Callable[..., tuple[int, str, str]]

FOREIGN = """
import torch
from torch import nn


def build():
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 8))


def narrow():
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 5))


def wrong_size():
    return nn.Sequential(nn.Flatten(), nn.Linear(10, 8))
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write anybody's model and its state dict."""
    import torch

    folder = tmp_path_factory.mktemp("foreign")
    (folder / "net.py").write_text(FOREIGN)
    g = torch.Generator().manual_seed(0)
    torch.save({"2.weight": torch.randn(8, 48, generator=g), "2.bias": torch.zeros(8)}, folder / "net.pt")
    return folder


@pytest.fixture
def held_out(tiny_data: Path) -> tuple[str, ...]:
    return "--real", str(tiny_data / "test-real.parquet"), "--synthetic", str(tiny_data / "test-synthetic.parquet")


@pytest.fixture
def quick_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take two coordinates in place of the map's layout, which costs a minute of compiling."""
    monkeypatch.setattr("probes.maps.lay_out", lambda space, *_, **__: space[:, :2].copy())


@pytest.mark.usefixtures("quick_layout")
def test_way_from_a_config_to_a_verdict(run: Run, write_config: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out, err = run("train", write_config(), "--out", folder, "--set", "training.epochs=1")
    assert (code, out) == (0, f"run: {folder}\n")
    assert "students" in err

    code, out, err = run("diagnose", folder)
    assert code == 0
    assert out.startswith("\nverdict: ")
    assert f"report: {folder / 'report.html'}" in out
    for name in ("report.json", "report.html", "junit.xml", "done"):
        assert (folder / name).is_file()
    (student,) = json.loads((folder / "report.json").read_text())["students"]
    assert (student["name"], student["loss"], student["trained_on"], student["seed"]) == ("l2-synthetic-s0", "l2", "synthetic", 0)

    code, out, err = run("diagnose", folder, "--json")
    assert json.loads(out)["students"] == [student]

    code, out, err = run("diagnose", folder, "--fail-on", "zero_shot_real >= 0")
    assert code == 1
    assert "zero_shot_real >= 0" in err
    assert "zero_shot_real" in (folder / "junit.xml").read_text()
    assert run("diagnose", folder, "--fail-on", "zero_shot_real < 0")[0] == 0

    code, out, err = run("train", write_config(), "--out", folder, "--set", "training.epochs=1")
    assert (code, out) == (2, "")
    assert "add --resume" in err
    assert run("train", write_config(), "--out", folder, "--set", "training.epochs=1", "--resume")[0] == 0

    checkpoint = folder / "students" / "l2-synthetic-s0" / "student.safetensors"
    again = ("--student", checkpoint, "--teacher", f"local-dir:{_teacher(write_config)}", "--out", tmp_path / "alone")
    assert run("diagnose", *again, *_held_out(write_config))[0] == 0
    alone = json.loads((tmp_path / "alone" / "report.json").read_text())["students"][0]
    assert alone["zero_shot"] == student["zero_shot"]


def _teacher(write_config: Callable[..., Path]) -> str:
    import tomllib

    return tomllib.loads(write_config().read_text())["teacher"]["model"].removeprefix("local-dir:")


def _held_out(write_config: Callable[..., Path]) -> tuple[str, ...]:
    import tomllib

    data = tomllib.loads(write_config().read_text())["data"]
    return tuple(part for domain in ("real", "synthetic") for part in (f"--{domain}", f"{data['folder']}/{data['test'][domain]}"))


def test_probe_of_a_foreign_checkpoint_prints_pure_json(
    run: Run, foreign: Path, teacher_folder: Path, held_out: tuple[str, ...], tmp_path: Path
) -> None:
    from probes.result import ProbeResult

    student = ("--student", f"{foreign / 'net.py'}:build", "--weights", foreign / "net.pt", "--teacher", teacher_folder)

    code, out, err = run("probe", "transfer", *student, *held_out, "--out", tmp_path / "out", "--json")

    assert code == 0
    printed = json.loads(out)
    assert printed["probe"] == "transfer"
    assert printed["subject"] == "net"
    assert 0 <= printed["scores"]["zero_shot/real"]["low"] <= printed["scores"]["zero_shot/real"]["value"] <= 1
    assert "teacher/zero_shot/real" in printed["scores"]
    assert "result: " in err
    saved = ProbeResult.load(tmp_path / "out" / "transfer" / "net")
    assert saved.scores["gap"].value == printed["scores"]["gap"]["value"]

    code, out, err = run("probe", "transfer", *student, *held_out, "--out", tmp_path / "out2")
    assert code == 0
    assert any(line.startswith("zero_shot/real") for line in out.splitlines())

    code, out, _ = run("probe", "transfer", *student, *held_out, "--out", tmp_path / "few", "--limit", 12, "--json")
    assert code == 0
    assert json.loads(out)["counts"]["images/real"] == json.loads(out)["counts"]["images/synthetic"] == 12
    code, _, err = run("probe", "transfer", *student, *held_out, "--out", tmp_path / "few", "--limit", 2)
    assert code == 2
    assert "`--limit` must leave an image of every class" in err


def test_probe_agrees_with_numpy_on_the_same_embeddings(
    run: Run, foreign: Path, tiny_data: Path, held_out: tuple[str, ...], tmp_path: Path
) -> None:
    """Embeds, then scores by hand with given class weights: no teacher is needed."""
    from probes.embeddings import EmbeddingTable

    weights = np.random.default_rng(0).normal(size=(8, 3))
    np.save(tmp_path / "w.npy", weights)
    student = (f"{foreign / 'net.py'}:build", "--weights", foreign / "net.pt")

    code, out, _ = run("embed", student[0], tiny_data / "test-real.parquet", *student[1:], "--out", tmp_path / "table")
    assert code == 0
    assert out == f"table: {tmp_path / 'table'} (30 x 8)\n"
    code, out, _ = run(
        "probe", "transfer", "--student", *student, "--class-weights", tmp_path / "w.npy", *held_out, "--out", tmp_path / "out", "--json"
    )
    assert code == 0

    table = EmbeddingTable.load(tmp_path / "table")
    unit = weights / np.linalg.norm(weights, axis=0)
    right = ((table.embeddings @ unit).argmax(axis=1) == table.labels).mean()
    assert json.loads(out)["scores"]["zero_shot/real"]["value"] == pytest.approx(right)
    assert run("embed", student[0], tiny_data / "test-real.parquet", "--out", tmp_path / "table")[0] == 2


def test_taught_teacher_is_told_on_stdout(run: Run, tiny_data: Path, tmp_path: Path) -> None:
    # At 16 pixels the last maps are 1 x 1, and oneDNN's bf16 gradient of a 3 x 3 kernel there is NaN now and then.
    shape = ("--image-tower", "test_byobnet", "--input-size", "64", "--epochs", "1")
    data = (tiny_data / "train-real.parquet", "--test", tiny_data / "test-real.parquet")

    code, out, err = run("teach", *data, *shape, "--out", tmp_path / "teacher")

    assert code == 0, err
    assert out.startswith(f"zero-shot accuracy on {tiny_data / 'test-real.parquet'}: ")
    assert (tmp_path / "teacher" / "open_clip_config.json").is_file()
    assert run("teach", *data, *shape, "--out", tmp_path / "teacher")[0] == 2
    assert run("teach", *data, "--epochs", "0", "--out", tmp_path / "other")[0] == 2


def _replace(arguments: list[object], **change: object) -> list[object]:
    """Change options of `probe transfer --student ... `; None takes an option away."""
    changed = list(arguments)
    for option, value in change.items():
        flag = f"--{option.replace('_', '-')}"
        if flag in changed:
            place = changed.index(flag)
            changed[place : place + 2] = [] if value is None else [flag, value]
        elif value is not None:
            changed += [flag, value]
    return changed


BAD_PROBES: list[tuple[dict[str, object], str]] = [
    ({"real": "gone.parquet"}, "gone.parquet"),
    ({"real": None, "synthetic": None}, "`--real` and `--synthetic` must be given"),
    ({"student": "net.py:build"}, "must name a Python file that exists"),
    ({"student": "FOREIGN/net.py:absent"}, "must have a function absent"),
    ({"student": "FOREIGN/net.py:wrong_size", "weights": None}, "must take images of 16 x 16 pixels"),
    ({"student": "FOREIGN/net.py:narrow", "weights": None}, "must"),
    ({"student": "FOREIGN/net.py:narrow"}, "must have shape"),
    ({"student": "resnet18"}, "check the prefix"),
    ({"student": "timm:resnet81", "weights": None}, "did you mean"),
    ({"student": "FOREIGN/net.pt", "weights": None}, "give the file with `--weights`"),
    ({"weights": "FOREIGN/net.py"}, "must hold plain tensors"),
    ({"weights": "gone.pt"}, "gone.pt"),
    ({"teacher": "nowhere"}, "must be an open_clip model or a folder"),
    ({"teacher": "open_clip:ViT-B-32"}, "got a model without a tag"),
    ({"template": "no place"}, "must each hold one {}"),
    ({"class_weights": "gone.npy"}, "must be a .npy file that exists"),
    ({"image_size": "0"}, "must be at least 1 pixel"),
]


@pytest.mark.parametrize(("change", "message"), BAD_PROBES, ids=[" ".join(map(str, change.items())) for change, _ in BAD_PROBES])
def test_bad_input_is_one_line_and_exit_code_2(
    change: dict[str, object], message: str, run: Run, foreign: Path, teacher_folder: Path, held_out: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = ["--student", "FOREIGN/net.py:build", "--weights", "FOREIGN/net.pt", "--teacher", teacher_folder, *held_out]
    arguments += ["--out", tmp_path / "out"]
    changed = [str(value).replace("FOREIGN", str(foreign)) for value in _replace(arguments, **change)]

    code, out, err = run("probe", "transfer", *changed)

    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["probe", "transfre", "--student", "x", "--out", "y"], "choose from ['transfer']"),
        (["train", "gone.toml", "--out", "x"], "`config` must be a TOML file that exists, got gone.toml"),
        (["diagnose"], "must be given a run directory or --student, got neither"),
        (["diagnose", "run", "--student", "x"], "got both"),
        (["diagnose", "gone"], "`run` must be a run directory that exists, got gone"),
        (["diagnose", "."], "`run` must be a run directory with config.toml"),
        (["diagnose", "--student", "x"], "`--out` and `--teacher` must be given"),
        (["diagnose", "gone", "--fail-on", "separability about 3"], "separability about 3"),
        (["teach", "gone.parquet", "--out", "x"], "gone.parquet"),
        (["embed", "builtin:small_resnet", "gone.parquet", "--out", "x"], "gone.parquet"),
        (["app", "--port", "99999"], "99999"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_commands_are_one_line_and_exit_code_2(
    arguments: list[str], message: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    code, out, err = run(*arguments)

    assert (code, out) == (2, "")
    assert message in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert list(tmp_path.glob("*/*.json")) == []


@pytest.mark.parametrize("arguments", [["nothing"], ["train"], ["probe", "transfer"], ["train", "x", "--out", "y", "--bogus"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], run: Run) -> None:
    code, out, err = run(*arguments)

    assert (code, out) == (2, "")
    assert "Usage: " in err


def test_failed_students_are_named_and_exit_code_is_2(run: Run, write_config: Callable[..., Path], tmp_path: Path) -> None:
    """A learning rate of 1e30 throws the weights out of float32 within the first steps."""
    code, out, err = run("train", write_config(), "--out", tmp_path / "run", "--set", "training.learning_rate=1e30")

    assert code == 2
    assert "failed: l2-synthetic-s0: the " in err
    assert "must stay finite" in err
    assert out == f"run: {tmp_path / 'run'}\n"


def test_interrupt_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train_students", interrupted)

    code, out, err = run("train", "x.toml", "--out", "y")

    assert (code, out) == (130, "")
    assert "add --resume to go on" in err


def test_fault_of_ours_says_so_and_where_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("inside")

    monkeypatch.setattr(train, "train_students", broken)

    code, _, err = run("train", "x.toml", "--out", "y")

    assert code == 3
    assert "fault of synthgap, please report it: KeyError: 'inside'" in err
    assert "Traceback" not in err


def test_help_names_every_command(run: Run) -> None:
    code, out, err = run("--help")

    assert (code, err) == (0, "")
    for command in ("demo", "teach", "train", "embed", "probe", "diagnose", "app"):
        assert f"\n  {command} " in out


def test_help_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pydantic", "open_clip", "transformers", "datasets", "sklearn", "streamlit", "pandas", "pyarrow", "plotly")
    code = (
        "import sys\nsys.argv = ['synthgap', '--help']\nfrom app.cli import main\n"
        f"try:\n    main()\nexcept SystemExit:\n    print('LOADED', sorted(set({heavy!r}) & set(sys.modules)))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_python_m_probes_hands_over_to_the_command_line(foreign: Path, tmp_path: Path) -> None:
    """Only the names of the arguments are compared, in the cheapest way that goes through the real module: a bad probe's message."""
    done = subprocess.run(
        [sys.executable, "-m", "probes", "transfre", "--student", "x", "--out", str(tmp_path / "y")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )

    assert done.returncode == 2
    assert done.stderr.strip() == "error: `name` must be a probe, got 'transfre'; choose from ['transfer']."


def test_two_students_of_one_name_are_refused(
    run: Run, foreign: Path, teacher_folder: Path, held_out: tuple[str, ...], tmp_path: Path
) -> None:
    shutil.copy(foreign / "net.pt", tmp_path / "net.pt")
    student = ("--student", f"{foreign / 'net.py'}:build")

    code, _, err = run(
        *("diagnose", *student, *student, "--weights", foreign / "net.pt", "--weights", tmp_path / "net.pt"),
        *("--teacher", teacher_folder, *held_out, "--out", tmp_path / "out"),
    )

    assert code == 2
    assert "net" in err


def test_a_probe_that_failed_for_several_students_is_said_once_with_its_reason() -> None:
    from app.commands.diagnose import _failures

    rows = [("drift", "a", "done", ""), ("ladder", "a", "failed", "ValueError: no"), ("ladder", "b", "failed", "ValueError: no")]
    report = SimpleNamespace(probes=[ProbeRecord(probe=p, subject=s, status=status, error=why) for p, s, status, why in rows])

    assert _failures(report) == ["failed: ladder of a and 1 more: ValueError: no"]
