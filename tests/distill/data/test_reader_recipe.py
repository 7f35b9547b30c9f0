"""The recipe of a data reader, followed on a toy: one function and one row, and every command reads the format."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from distill.data import readers
from distill.data.columns import IMAGE_TYPE, Source
from distill.data.readers import FILE_READERS, FileReader, ReadOptions
from distill.data.split import load_split

ROOT = Path(__file__).parents[3]


def read_toy(paths: list[Path], name: str, options: ReadOptions) -> Source:
    """A format that lists colours: {"class": [r, g, b], ...}."""
    images, classes = [], []
    for path in paths:
        for class_name, colour in json.loads(path.read_text()).items():
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8), tuple(colour)).save(buffer, "PNG")
            images.append({"bytes": buffer.getvalue(), "path": None})
            classes.append(class_name)
    keys = [f"{name}/{row}" for row in range(len(images))]
    return Source(pa.table({"key": keys, "image": pa.array(images, IMAGE_TYPE), "class_name": classes}), name)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The row, and a file of the format."""
    monkeypatch.setitem(FILE_READERS, ".toy", FileReader(read_toy))
    path = tmp_path / "colours.toy"
    path.write_text(json.dumps({"red": [250, 0, 0], "blue": [0, 0, 250]}))
    return path


def test_a_format_with_a_row_is_read_as_a_split(toy: Path) -> None:
    split = load_split(str(toy), domain="synthetic")

    assert split.class_names == ("blue", "red")
    assert split.pixels()[split.labels == 1, 0].tolist() == np.full((1, 8, 8), 250).tolist()
    assert set(split.domains) == {"synthetic"}


def test_a_command_reads_it_too(toy: Path, run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, printed, _ = run("embed", "builtin:small_resnet", toy, "--domain", "real", "--out", tmp_path / "table")

    assert code == 0
    assert "(2 x " in printed


def test_several_files_are_refused_where_the_row_does_not_say_several(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (toy.parent / "more.toy").write_bytes(toy.read_bytes())

    with pytest.raises(ValueError, match="files of a source must all be"):
        load_split(str(toy.parent / "*.toy"), domain="real")

    monkeypatch.setitem(FILE_READERS, ".toy", FileReader(read_toy, several=True))
    assert len(load_split(str(toy.parent / "*.toy"), domain="real")) == 4


def test_every_ending_stands_on_the_page_of_data() -> None:
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")

    assert [ending for ending in readers.FILE_READERS if ending not in page] == []
