"""`synthgap compose` from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    objects, backgrounds = tmp_path / "objects", tmp_path / "backgrounds"
    for number, name in enumerate(("birds", "more birds", "fruit")):
        (objects / name).mkdir(parents=True)
        pixels = np.zeros((20, 20, 4), dtype=np.uint8)
        pixels[5:15, 4:16] = (200, 60 * number, 10, 255)
        Image.fromarray(pixels).save(objects / name / "one.png")
    for number, name in enumerate(("lake", "sea", "field")):
        (backgrounds / "real" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), (30 * number,) * 3).save(backgrounds / "real" / name / "one.png")
    return objects, backgrounds


def test_classes_and_places_are_named_by_options(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    objects, backgrounds = folders
    out = tmp_path / "set"

    code, printed, _ = run(
        *("compose", "--objects", objects, "--backgrounds", backgrounds, "--out", out, "--images", 8, "--size", 32, "--tie", 0.75),
        *("--object-class", "bird=birds,more birds", "--object-class", "fruit=fruit"),
        *("--place", "water=lake,sea", "--place", "land=field"),
    )

    assert code == 0
    assert "8 pictures" in printed
    from distill.data.split import load_split

    groups = load_split(str(out / "manifest.parquet")).column("group")
    assert sorted(set(groups)) == ["bird on land", "bird on water", "fruit on land", "fruit on water"]
    assert groups.count("bird on water") == 3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--scale", "big"), "`--scale` must be two numbers"),
        (("--place", "water"), "`--place` must be NAME=A,B"),
        (("--place", "a=lake", "--place", "a=sea"), "must name each once"),
        (("--part", "half"), "part"),
        (("--object-class", "bird=nowhere", "--object-class", "fruit=fruit"), "must hold the folder"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    options: tuple[str, ...], match: str, run: Run, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    objects, backgrounds = folders

    code, _, error = run("compose", "--objects", objects, "--backgrounds", backgrounds, "--out", tmp_path / "set", "--size", 32, *options)

    assert code == 2
    assert match in error
    assert "Traceback" not in error
    assert not (tmp_path / "set").exists()
