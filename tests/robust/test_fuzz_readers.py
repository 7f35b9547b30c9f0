"""A fuzzer over every reader: whatever bytes and values it finds, one clear line or an answer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import bad_images
import bad_tables
import bad_texts
import bad_weights
import pytest
from bad_weights import torch_file
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from readers import READERS, refusal

GOOD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "images": (".png", bad_images.of("RGB", "PNG")),
    "source": (".tar", bad_tables.shard()),
    "metadata": (".jsonl", lambda: b'{"file_name": "cat/good.png", "text": "a cat"}\n'),
    "config": (".toml", bad_texts.config()),
    "planted config": (".toml", lambda: b"draws = 2\nstrengths = [0.6, 0.9]\n"),
    "contexts": (".json", bad_texts.contexts()),
    "class names": (".txt", lambda: b"cat\ndog\n"),
    "vocabulary": (".txt", lambda: b"# colour\nred\nblue\n"),
    "class weights": (".npy", bad_tables.npy([[1.0, 0.5], [0.0, 1.0]])),
    "weights": (".pt", torch_file(lambda: {"w": __import__("torch").arange(9.0)})),
    "checkpoint": (".safetensors", bad_weights.student()),
    "generator": (".json", lambda: b'{"_class_name": "X", "unet": ["diffusers", "UNet2DConditionModel"]}'),
    "table.json": (".json", lambda: b'{"dimension": 2, "name": "x", "rows": 2, "schema_version": 1}'),
    "rows.parquet": (".parquet", bad_tables.parquet()),
    "embeddings.npy": (".npy", bad_tables.npy([[1.0, 0.0], [0.0, 1.0]])),
    "result.json": (".json", bad_texts.result()),
    "result.npz": (".npz", bad_tables.npz(a=[1.0, 2.0])),
    "report": (".json", bad_texts.report()),
    "dashboard report": (".json", bad_texts.report()),
    "dashboard thumbnails": (".parquet", bad_tables.parquet()),
    "dashboard metrics": (".jsonl", lambda: bad_texts.GOOD_ROW.encode()),
    "metrics": (".jsonl", lambda: bad_texts.GOOD_ROW.encode()),
    "records": (".jsonl", lambda: b'{"name": "a", "draw": {}, "truth": {}}\n'),
}
"""Reader -> what its files are called, and a good one to spoil."""

FORMATS = ("jpg", "gif", "webp", "bmp", "tif", "ppm")

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
CHANGES = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=12)
QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.large_base_example]


def spoil(data: bytes, changes: list[tuple[int, int]], cut: int, more: bytes) -> bytes:
    """Change some bytes, cut the end off and put others there."""
    spoilt = bytearray(data)
    for place, value in changes:
        if spoilt:
            spoilt[place % len(spoilt)] = value
    return bytes(spoilt[: len(spoilt) - cut % (len(spoilt) + 1)]) + more


def graft(data: bytes, path: list[int], value: object) -> bytes:
    """Put a value somewhere into a JSON document."""
    whole = json.loads(data)
    place = whole
    for step in path:
        keys = list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
        if not keys:
            break
        key = keys[step % len(keys)]
        if not isinstance(place[key], dict | list) or step == path[-1]:
            place[key] = value
            break
        place = place[key]
    return json.dumps(whole).encode()


def attack(reader: str, data: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"fuzzed{suffix}"
        file.write_bytes(data)
        refusal(READERS[reader], file, Path(folder) / "work")


def fuzz(reader: str, examples: int) -> None:
    suffix, make = GOOD[reader]
    good = make()
    phases = (Phase.explicit, Phase.generate)  # shrinking would take longer than finding

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET, phases=phases)
    @given(CHANGES, st.sampled_from([0, 0, 0, 1, 7, 100, 4000]), st.binary(max_size=16))
    def bytes_anywhere(changes: list[tuple[int, int]], cut: int, more: bytes) -> None:
        attack(reader, spoil(good, changes, cut, more), suffix)

    bytes_anywhere()
    if suffix in (".json", ".jsonl"):

        @settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET, phases=phases)
        @given(st.lists(st.integers(0, 20), min_size=1, max_size=5), VALUES)
        def values_anywhere(path: list[int], value: object) -> None:
            attack(reader, graft(good.strip(), path, value), suffix)

        values_anywhere()


def test_every_reader_has_a_good_file_that_it_takes() -> None:
    assert GOOD.keys() == READERS.keys()
    refused = {}
    for reader, (suffix, make) in GOOD.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"good{suffix}"
            file.write_bytes(make())
            if (line := refusal(READERS[reader], file, Path(folder) / "work")) is not None:
                refused[reader] = line

    # an index without its components, and rows without `label` are here to be spoilt only
    assert refused.keys() <= {"generator", "rows.parquet", "dashboard thumbnails"}


@pytest.mark.parametrize("reader", READERS)
def test_reader_answers_a_few_fuzzed_files_in_one_line(reader: str) -> None:
    fuzz(reader, 6)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("reader", READERS)
def test_reader_answers_hundreds_of_fuzzed_files_in_one_line(reader: str) -> None:
    fuzz(reader, 400)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", FORMATS)
def test_images_of_other_formats_are_answered_in_one_line(kind: str) -> None:
    good = bad_images.of("RGB", bad_images.FORMATS[kind])()

    @settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
    @given(CHANGES, st.sampled_from([0, 0, 1, 100]))
    def bytes_anywhere(changes: list[tuple[int, int]], cut: int) -> None:
        attack("images", spoil(good, changes, cut, b""), f".{kind}")

    bytes_anywhere()
