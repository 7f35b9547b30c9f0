"""Hub data sets without a network: a local copy loads, a dead or silent hub fails fast and in one sentence."""

from __future__ import annotations

import io
import socket
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from distill.data import hub
from distill.data.split import load_split
from distill.errors import DistillError
from distill.system import hub_access


@pytest.fixture(autouse=True)
def private_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHGAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))


@pytest.fixture
def repository(tmp_path: Path) -> str:
    """A copy of a hub repository: two splits of parquet files, CIFAR-10's column names."""
    features = datasets.Features({"img": datasets.Image(), "fine": datasets.ClassLabel(names=["dog", "cat"])})
    for split, count in (("train", 4), ("test", 2)):
        images = []
        for seed in range(count):
            buffer = io.BytesIO()
            Image.fromarray(np.full((8, 8, 3), seed, np.uint8)).save(buffer, "PNG")
            images.append({"bytes": buffer.getvalue(), "path": None})
        (tmp_path / "repo" / "data").mkdir(parents=True, exist_ok=True)
        rows = datasets.Dataset.from_dict({"img": images, "fine": [0, 1] * (count // 2)}, features)
        rows.to_parquet(tmp_path / "repo" / "data" / f"{split}-00000-of-00001.parquet")
    return str(tmp_path / "repo")


def use_hub(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Send the hub client to an address on this machine."""
    import huggingface_hub.hf_api

    monkeypatch.setattr(huggingface_hub.hf_api.constants, "ENDPOINT", address)


def test_local_copy_of_a_hub_repository_loads(repository: str) -> None:
    split = load_split(f"hf:{repository}@test", domain="real")

    assert (split.class_names, split.labels.tolist()) == (("dog", "cat"), [0, 1])
    assert split.ids.tolist() == ["real/test/0", "real/test/1"]
    assert split.pixels()[1].max() == 1


def test_split_may_be_given_beside_the_name(repository: str) -> None:
    assert len(load_split(f"hf:{repository}", split="train", domain="real")) == 4


@pytest.mark.parametrize(("suffix", "got"), [("", "None"), ("@tset", "'tset'")])
def test_unnamed_or_unknown_split_lists_the_splits(repository: str, suffix: str, got: str) -> None:
    with pytest.raises(ValueError, match=rf"must be one of \['train', 'test'\], got {got}"):
        load_split(f"hf:{repository}{suffix}", domain="real")


def test_hub_that_refuses_the_connection_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9")
    start = time.perf_counter()

    with pytest.raises(DistillError, match=r"^hub `some/photos` cannot be reached \(.*\); download it first or give a local folder\.$"):
        load_split("hf:some/photos@train", domain="real")

    assert time.perf_counter() - start < 5


def test_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_access, "TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_hub(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.perf_counter()

        with pytest.raises(DistillError, match=r"hub `some/photos` cannot be reached \(timed out\)"):
            load_split("hf:some/photos", domain="real")

    assert time.perf_counter() - start < 5


def test_offline_switch_of_datasets_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9")
    before = datasets.config.HF_HUB_OFFLINE

    with pytest.raises(DistillError):
        load_split("hf:some/photos", domain="real")

    assert datasets.config.HF_HUB_OFFLINE is before


def test_hub_source_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be hf:NAME\[:CONFIG\]\[@SPLIT\], got 'hf:@train'"):
        load_split("hf:@train", domain="real")


@pytest.mark.parametrize(
    ("spec", "parts"),
    [("hf:a/b", ("a/b", None, None)), ("hf:a/b:c", ("a/b", "c", None)), ("hf:a@test", ("a", None, "test")), ("hf:a:c@t", ("a", "c", "t"))],
)
def test_hub_names_are_taken_apart(spec: str, parts: tuple[str | None, ...]) -> None:
    assert hub.parse(spec) == parts
