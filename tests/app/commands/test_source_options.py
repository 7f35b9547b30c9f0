"""Options that say what foreign data hold, from the shell: each command takes them, and each remedy in a message works as it stands."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

Run = Callable[..., tuple[int, str, str]]
CATS = ("cat", "dog")


def png(seed: int, label: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 120, (16, 16, 3), dtype=np.uint8)
    pixels[..., label] += 120
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_folders(root: Path, levels: str, *, count: int = 12) -> Path:
    """Write images below class and domain folders, in the order that `levels` says."""
    seed = 0
    for label, domain in product((0, 1), ("real", "fake")):
        names = {"class": CATS[label], "domain": domain}
        folder = root.joinpath(*[names[level] for level in levels.split("/")])
        folder.mkdir(parents=True)
        for index in range(count):
            (folder / f"{index}.png").write_bytes(png(seed, label))
            seed += 1
    return root


def write_table(path: Path, first: int, *, count: int = 24, **columns: object) -> Path:
    labels = [row % 2 for row in range(count)]
    data = {
        "front": [png(first + row, label) for row, label in enumerate(labels)],
        "kind_of": labels,
        "spare": [png(0, 0)] * count,
    } | columns
    pq.write_table(pa.table(data), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef build():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 8))\n"
    )
    return f"{tmp_path / 'net.py'}:build"


def rows(out: str) -> int:
    return int(out.rpartition("(")[2].split(" x ")[0])


@pytest.mark.parametrize("levels", ["class/domain", "domain/class"])
def test_embed_uses_each_image_of_a_domain_once(run: Run, model: str, tmp_path: Path, levels: str) -> None:
    root = write_folders(tmp_path / "images", levels)

    counts = {}
    for domain in ("real", "synthetic"):
        code, out, err = run("embed", model, root, "--domain", domain, "--out", tmp_path / domain)
        assert code == 0, err
        counts[domain] = rows(out)

    assert counts == {"real": 24, "synthetic": 24}


def test_a_probe_separates_domains_below_class_folders(run: Run, model: str, tmp_path: Path) -> None:
    """Before, both domains were all images, and nothing could be told apart for another reason than that nothing can be."""
    root = write_folders(tmp_path / "images", "class/domain")
    for path in root.glob("*/fake/*.png"):
        pixels = np.asarray(Image.open(path)).copy()
        pixels[:8, :8] = 255
        Image.fromarray(pixels).save(path)

    code, out, err = run(
        "probe", "separability", "--student", model, "--real", root, "--synthetic", root, "--out", tmp_path / "out", "--json"
    )

    assert code == 0, err
    assert json.loads(out)["scores"]["linear/auc"]["value"] > 0.95


@pytest.mark.parametrize("command", ["probe", "diagnose"])
def test_one_folder_for_both_domains_is_refused_with_its_count(
    run: Run, model: str, tmp_path: Path, teacher_folder: Path, command: str
) -> None:
    root = write_folders(tmp_path / "images", "class/domain") / "cat"
    (tmp_path / "plain").mkdir()
    for name in CATS:
        (tmp_path / "plain" / name).symlink_to(root.parent / name / "real")
    start = ("probe", "separability") if command == "probe" else ("diagnose", "--teacher", f"local-dir:{teacher_folder}")

    code, _, err = run(
        *start, "--student", model, "--real", tmp_path / "plain", "--synthetic", tmp_path / "plain", "--out", tmp_path / "out"
    )

    assert code == 2
    assert "got 24 of 24 in `plain` and 24 of 24 in `plain` with the same pixels" in err


def suggested(err: str) -> list[str]:
    """The option that an error names in backticks, as a shell would split it."""
    return shlex.split(err[err.index("`--") + 1 :].split("`")[0])


def test_remedies_of_messages_can_be_given_one_after_the_other(run: Run, model: str, tmp_path: Path) -> None:
    """A table in which nothing has the name that we look for: each message names the next option."""
    table = write_table(tmp_path / "x.parquet", 0)
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    given: list[str] = []
    answers = {"--image-column": "front", "--class-column": "kind_of", "--class-names": str(tmp_path / "names.txt"), "--domain": "real"}

    seen = []
    for _ in range(6):
        code, out, err = run("embed", model, table, "--out", tmp_path / "out", *given)
        if code == 0:
            break
        option = suggested(err)[0]
        seen.append(option)
        given += [option, answers[option]]

    assert code == 0, err
    assert rows(out) == 24
    assert sorted(seen) == sorted(answers)


def test_probe_takes_the_options_for_both_sources(run: Run, model: str, tmp_path: Path) -> None:
    real = write_table(tmp_path / "r.parquet", 0, origin=[0] * 24)
    synthetic = write_table(tmp_path / "s.parquet", 100, origin=[1] * 24)
    options = (
        "--image-column",
        "front",
        "--class-column",
        "kind_of",
        "--class-names",
        "cat,dog",
        "--domain-column",
        "origin=real,synthetic",
    )

    code, out, err = run(
        "probe", "separability", "--student", model, "--real", real, "--synthetic", synthetic, "--out", tmp_path / "out", "--json", *options
    )
    exchanged = run(
        "probe", "separability", "--student", model, "--real", synthetic, "--synthetic", real, "--out", tmp_path / "out2", *options
    )

    assert code == 0, err
    assert json.loads(out)["scores"]
    assert exchanged[0] == 2
    assert "must hold real images, got only synthetic ones" in exchanged[2]


def test_teach_takes_a_layout_and_a_split(run: Run, tmp_path: Path) -> None:
    for split, name in product(("train", "test"), ("a", "b")):
        write_folders(tmp_path / "images" / name / split, "class/domain", count=4)
    options = ("--layout", "*/split/class/domain", "--split", "valid")

    code, _, err = run("teach", tmp_path / "images", "--out", tmp_path / "out", *options)

    assert code == 2
    assert "must be one of ['test', 'train'], got 'valid'; give it (`--split test`)" in err


@pytest.mark.parametrize(("part", "option"), [("test-real", "--real"), ("test-synthetic", "--synthetic")])
def test_parts_of_the_pocket_can_be_named_wherever_images_can(run: Run, model: str, tmp_path: Path, part: str, option: str) -> None:
    domain = part.removeprefix("test-")
    code, out, err = run("embed", model, f"pocket:{part}", "--domain", domain, "--out", tmp_path / "table")
    other = run(
        "probe",
        "transfer",
        "--student",
        model,
        "--synthetic" if domain == "real" else "--real",
        f"pocket:{part}",
        "--out",
        tmp_path / "out",
    )

    assert code == 0, err
    assert rows(out) == {"real": 2000, "synthetic": 1000}[domain]
    assert other[0] == 2
    assert f"must hold {'synthetic' if domain == 'real' else 'real'} images, got only {domain} ones; give pocket:test-" in other[2]


def test_an_unknown_part_of_the_pocket_lists_the_parts(run: Run, model: str, tmp_path: Path) -> None:
    code, _, err = run("embed", model, "pocket:test", "--out", tmp_path / "table")

    assert code == 2
    assert "`part` must be one of ['train-synthetic', 'test-synthetic', 'train-real', 'test-real'], got 'test'" in err


def test_groups_of_the_pocket_are_its_columns() -> None:
    from app.terminal.inputs import SourceOptions

    split = SourceOptions(group_column="ink").open("pocket:test-synthetic", domain="synthetic")

    assert split.groups is not None
    assert split.groups.tolist() == split.column("ink")


def test_an_experiment_names_columns_as_options_do(write_config: Callable[..., Path], tmp_path: Path) -> None:
    from distill.training.config import read_experiment
    from distill.training.experiment import open_split

    path = tmp_path / "x.parquet"
    pq.write_table(
        pa.table({"image": [png(row, row % 2) for row in range(4)], "kind": [0, 1, 0, 1], "is": [1, 0, 1, 0], "place": [7, 8, 8, 7]}), path
    )
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    data = {"folder": str(tmp_path), "train": {"real": "x.parquet"}, "test": {"real": "x.parquet"}}
    columns = {"class_column": "kind", "class_names": "names.txt", "domain_column": "is=synthetic,real", "group_column": "place"}

    config = read_experiment(write_config(data=data | columns)).data
    split = open_split("x.parquet", config, domain="real")

    assert split.class_names == CATS
    assert split.ids.tolist() == ["real/x/0", "real/x/2"]
    assert split.groups is not None
    assert split.groups.tolist() == ["7", "8"]
