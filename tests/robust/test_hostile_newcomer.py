"""Everything a newcomer can get wrong on the command line: exit code 2 and one line that says what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_images import noise, saved
from filelock import FileLock

NETS = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 8))


class Constant(nn.Module):
    def forward(self, images):
        return torch.ones(len(images), 8)


class Unknown(nn.Module):
    def forward(self, images):
        return torch.full((len(images), 8), float("nan"))


class Zero(nn.Module):
    def forward(self, images):
        return torch.zeros(len(images), 8)


def large():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 8))
"""

Answer = tuple[int, str, str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, teacher_folder: Path) -> Path:
    """Write everything that can be named wrongly; tests only read it."""
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "net.py").write_text(NETS)
    for name in ("real", "synthetic"):
        whole = pq.read_table(tiny_data / f"test-{name}.parquet")
        pq.write_table(whole, folder / f"{name}.parquet")
        pq.write_table(whole.slice(0, 3), folder / f"few-{name}.parquet")
        pq.write_table(whole.slice(0, 1), folder / f"one-{name}.parquet")
    real = pq.read_table(tiny_data / "test-real.parquet")
    for name, other in (("other-classes", {"ship": "boat"}), ("two-other-classes", {"ship": "boat", "dog": "hound"})):
        renamed = pa.array([other.get(word, word) for word in real.column("class_name").to_pylist()])
        pq.write_table(real.set_column(real.column_names.index("class_name"), "class_name", renamed), folder / f"{name}.parquet")
    doubled = pa.array(["same"] * real.num_rows)
    pq.write_table(real.set_column(real.column_names.index("id"), "id", doubled), folder / "doubled.parquet")
    (folder / "empty").mkdir()
    for name in ("cat", "dog"):
        (folder / "class-empty" / name).mkdir(parents=True)
        (folder / "sizes" / name).mkdir(parents=True)
        (folder / "sizes" / name / "a.png").write_bytes(saved(noise(side=8 if name == "cat" else 16), "PNG"))
    (folder / "class-empty" / "cat" / "a.png").write_bytes(saved(noise(), "PNG"))
    (folder / "text.parquet").write_text("hello")
    np.save(folder / "narrow.npy", np.ones((5, 3)))
    np.save(folder / "two-classes.npy", np.random.default_rng(0).normal(size=(8, 2)))
    np.save(folder / "nan.npy", np.full((8, 3), np.nan))
    np.savez(folder / "archive.npz", a=np.ones((8, 3)))
    _write_weights(folder)
    (folder / "file").write_text("I am no folder")
    shutil.copytree(teacher_folder, folder / "teacher")
    shutil.copytree(teacher_folder, folder / "broken-teacher")
    (folder / "broken-teacher" / "open_clip_model.safetensors").write_bytes(b"hello")
    return folder


def _write_weights(folder: Path) -> None:
    import torch

    good = {"2.weight": torch.randn(8, 48, generator=torch.Generator().manual_seed(0)), "2.bias": torch.zeros(8)}
    torch.save(good, folder / "net.pt")
    torch.save({**good, "2.bias": torch.full((8,), float("nan"))}, folder / "nan.pt")
    torch.save({**good, "2.bias": torch.zeros(9)}, folder / "shape.pt")
    torch.save({"2.weight": good["2.weight"]}, folder / "lacking.pt")


PROBE = "--student net.py:build --weights net.pt --teacher teacher --real real.parquet --synthetic synthetic.parquet --out OUT"

CASES: list[tuple[str, str]] = [
    # data
    (f"probe transfer {PROBE.replace('real.parquet', 'gone', 1)}", "gone"),
    (f"probe transfer {PROBE.replace('--real real.parquet', '--real empty')}", "must hold class folders"),
    (f"probe transfer {PROBE.replace('--real real.parquet', '--real class-empty')}", "must hold images"),
    (f"probe transfer {PROBE.replace('--real real.parquet', '--real two-other-classes.parquet')}", "must have the same classes"),
    (
        f"probe transfer {PROBE.replace('--real real.parquet', '--real other-classes.parquet').replace('--teacher teacher', '--class-weights net.npy')}",
        "`--class-weights` must have a column for every class",
    ),
    (f"probe transfer {PROBE.replace('--real real.parquet', '--real doubled.parquet')}", "must be unique, got 'same' more than once"),
    (f"probe transfer {PROBE.replace('--real real.parquet', '--real text.parquet')}", "must be a whole parquet file"),
    (
        f"probe transfer {PROBE.replace('--real real.parquet', '--real sizes')}",
        "`--image-size` must be given when images are not square and equal",
    ),
    (f"probe transfer {PROBE.replace('--real real.parquet', '')}", "must hold at least 5 real images, got 0"),
    (f"probe transfer {PROBE.replace('--synthetic synthetic.parquet', '')}", "must hold at least 5 synthetic images, got 0"),
    (f"probe transfer {PROBE.replace('--real real.parquet', '--real one-real.parquet')}", "must have the same classes"),
    (
        f"probe separability {PROBE.replace('real.parquet', 'few-real.parquet').replace('synthetic.parquet', 'few-synthetic.parquet')}",
        "must",
    ),
    (f"probe transfer {PROBE.replace('--real real.parquet', '--real hf:')}", "must be hf:NAME"),
    ("embed net.py:build sizes --domain real --out OUT", "`--image-size` must be given when images are not square and equal"),
    ("embed net.py:build real.parquet --image-size 1000000 --out OUT", "must be at least 1 pixel and at most"),
    ("embed net.py:build real.parquet --image-size -5 --out OUT", "must"),
    ("embed net.py:build empty --domain real --out OUT", "must hold class folders"),
    ("embed net.py:build real.parquet --domain painted --out OUT", "'real' or 'synthetic', got 'painted'"),
    ("embed net.py:build real.parquet --out file", "must be a new folder"),
    ("embed net.py:build real.parquet --out file/table", "must be"),
    ("embed net.py:build shard-{0..99999999999}.tar --domain real --out OUT", "must stand for at most 100,000 files"),
    # models
    (
        f"probe transfer {PROBE.replace('--student net.py:build --weights net.pt', '--student net.py:Constant')}",
        "must vary, got one vector",
    ),
    (f"probe transfer {PROBE.replace('--student net.py:build --weights net.pt', '--student net.py:Unknown')}", "must be finite, got NaN"),
    (f"probe transfer {PROBE.replace('--student net.py:build --weights net.pt', '--student net.py:Zero')}", "must not be zero"),
    (f"probe transfer {PROBE.replace('--student net.py:build --weights net.pt', '--student net.py:large')}", "must take images of 16 x 16"),
    (f"probe transfer {PROBE.replace('--weights net.pt', '--weights nan.pt')}", "must be finite, got NaN or infinity in `2.bias`"),
    (f"probe transfer {PROBE.replace('--weights net.pt', '--weights shape.pt')}", "`2.bias` in shape.pt must have shape (8,), got (9,)"),
    (f"probe transfer {PROBE.replace('--weights net.pt', '--weights lacking.pt')}", "`2.bias` missing"),
    (f"probe transfer {PROBE.replace('--teacher teacher', '--teacher gone')}", "must be an open_clip model or a folder"),
    (f"probe transfer {PROBE.replace('--teacher teacher', '--teacher empty')}", "open_clip_config.json"),
    (f"probe transfer {PROBE.replace('--teacher teacher', '--teacher broken-teacher')}", "must be loadable"),
    (f"probe transfer {PROBE.replace('--teacher teacher', '--teacher open_clip:ViT-B-99/x')}", "did you mean"),
    (f"probe transfer {PROBE.replace('--teacher teacher', '--class-weights narrow.npy')}", "must have shape (D, C)"),
    (f"probe transfer {PROBE.replace('--teacher teacher', '--class-weights two-classes.npy')}", "must"),
    (f"probe transfer {PROBE.replace('--teacher teacher', '--class-weights nan.npy')}", "must be finite"),
    (
        f"probe transfer {PROBE.replace('--teacher teacher', '--class-weights archive.npz')}",
        "must be finite numbers of shape (D, C), got an archive",
    ),
    (f"probe transfer {PROBE.replace('--teacher teacher', '--class-weights text.parquet')}", "must be a .npy array"),
    # names
    (f"probe transfr {PROBE}", "must be a probe, got 'transfr'"),
    (f"diagnose {PROBE} --probe separabilty", "must be a probe, got 'separabilty'"),
    (f"diagnose {PROBE} --fail-on separability~3", "must be like 'separability > 0.9'"),
    (f"diagnose {PROBE} --fail-on gap>NaN", "must end in a number"),
    (f"diagnose {PROBE.replace('--out OUT', '--out file')}", "must be usable, got File exists"),
    ("diagnose empty", "must be a run directory with config.toml"),
    ("diagnose file", "must be a run directory"),
    ("train gone.toml --out OUT", "must be a TOML file that exists"),
    ("train text.parquet --out OUT", "must be TOML"),
    ("train CONFIG --out file", "must be writable"),
    ("train CONFIG --out OUT --set training.epochs=many", "`training.epochs` must be a valid integer"),
    ("train CONFIG --out OUT --set trainig.epochs=3", "unknown key `trainig`; did you mean training"),
    ("train CONFIG --out OUT --set students.l2.loss.l3=1", "did you mean l2"),
    ("train CONFIG --out OUT --set students.l2.trained_on=['painted']", "must name a set of data.train"),
    ("train CONFIG --out OUT --set student.model=timm:resnet81", "did you mean"),
    ("train CONFIG --out OUT --set student.kwargs.widths=[1000000,1000000]", "must"),
    ("train CONFIG --out OUT --set data.test.real=gone.parquet", "gone.parquet"),
    ("train CONFIG --out OUT --jobs 0", "`jobs` must be at least 1"),
    ("train CONFIG --out OUT --track paper", "training.trackers"),
    ("teach real.parquet --out OUT --epochs 0", "`--epochs` must be at least 1"),
    ("teach real.parquet --out OUT --input-size 0", "must be"),
    ("teach real.parquet --out OUT --image-tower resnet81", "must"),
    ("teach empty --out OUT", "must hold class folders"),
    ("synthesize --generator pocket --out OUT", "`--classes` must be given"),
    ("synthesize --generator pocket --classes cat,Cat --out OUT", "must be told apart"),
    ("synthesize --generator empty --classes cat --out OUT", "model_index.json"),
    ("synthesize --generator gone/too/deep --classes cat --out OUT", "must be pocket, a folder that exists or a hub id"),
    ("synthesize --generator nobody/nothing --classes cat --out OUT", "add --allow-download or give a folder"),
    ("synthesize --generator pocket --classes text.parquet --per-class 0 --out OUT", "must be"),
    ("synthesize --generator pocket --classes LONG --batch-size 0 --out OUT", "must be"),
    ("synthesize --generator pocket --classes cat --codec gif --out OUT", "must be"),
    ("synthesize --generator pocket --classes cat --contexts gone.toml --out OUT", "must be a TOML or JSON file that exists"),
    ("synthesize --generator pocket --classes cat --out file", "must be a folder that can be written"),
    ("export gone.safetensors --out OUT", "must be a file that exists"),
    ("export net.pt --out OUT", "must be a whole safetensors file"),
    ("export net.pt --format png --out OUT", "must be one of"),
    ("planted --out OUT --families nonsense", "must"),
    ("planted --out OUT --strengths a,b", "must be numbers from 0 to 1"),
    ("planted --out OUT --config text.parquet", "must be TOML"),
    ("app --port 0", "must be between 1 and 65535"),
]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("line", "message"), CASES, ids=[line[:110] for line, _ in CASES])
def test_mistake_is_one_line_and_exit_code_2(
    line: str,
    message: str,
    place: Path,
    run: Callable[..., Answer],
    write_config: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names = {"OUT": str(tmp_path / "out"), "CONFIG": str(write_config()), "LONG": ",".join(f"class number {i}" for i in range(200))}
    words = [names.get(word, word) for word in line.split()]
    before = sorted(place.rglob("*"))

    code, out, err = run(*words)

    assert code == 2, err[-500:]
    assert out == ""
    errors = [one for one in err.splitlines() if one.startswith("error: ")]
    assert len(errors) == 1, err[-500:]
    assert message in errors[0]
    assert len(errors[0]) < 1500
    assert "Traceback" not in err
    assert sorted(place.rglob("*")) == before or line.startswith("diagnose empty")


def test_run_directory_in_use_is_named(place: Path, run: Callable[..., Answer], write_config: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    with FileLock(tmp_path / "run" / ".lock"):
        code, _, err = run("train", write_config(), "--out", tmp_path / "run")

    assert code == 2
    assert "got a run directory that another process uses" in err


def test_tables_of_other_images_are_not_compared() -> None:
    from probes.embeddings import EmbeddingTable
    from probes.registry import PROBES

    random = np.random.default_rng(0)
    columns = (np.tile([0, 1], 20), np.repeat(["real", "synthetic"], 20))
    student = EmbeddingTable(np.array([f"a{i}" for i in range(40)]), random.normal(size=(40, 4)), *columns, "s")
    teacher = EmbeddingTable(np.array([f"b{i}" for i in range(40)]), random.normal(size=(40, 4)), *columns, "t")

    with pytest.raises(ValueError, match=r"must have the ids of `student` in the same order, got 'b0' for 'a0' in row 0"):
        PROBES["drift"].function(student, teacher, class_weights=random.normal(size=(4, 2)), seed=0)
