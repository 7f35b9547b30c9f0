"""The flagship data as they are, where they are there: `SYNTHGAP_CIFAKE`, or `shared/data/cifake` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from distill.data import cifake
from distill.data.split import Split, load_split, require_same_classes

pytestmark = pytest.mark.cifake


@pytest.fixture(scope="module")
def parts() -> dict[str, str]:
    folder = Path(os.environ.get("SYNTHGAP_CIFAKE") or Path(__file__).parents[4] / "shared" / "data" / "cifake")
    try:
        return cifake.find(folder)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def tests(parts: dict[str, str]) -> dict[str, Split]:
    return {domain: load_split(parts[f"test-{domain}"]) for domain in ("real", "synthetic")}


def test_cifake_test_sets_are_five_hundred_images_of_each_class(tests: dict[str, Split]) -> None:
    for domain, split in tests.items():
        assert split.class_names == cifake.CLASS_NAMES
        assert np.bincount(split.labels).tolist() == [500] * 10
        assert set(split.domains) == {domain}
    require_same_classes(*tests.values())


def test_cifake_images_are_whole_and_32_pixels(tests: dict[str, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHGAP_CACHE", str(tmp_path))

    for split in tests.values():
        assert split.pixels().shape == (5000, 3, cifake.SIZE, cifake.SIZE)


def test_cifake_domains_share_codec_quality_and_size(tests: dict[str, Split]) -> None:
    """The confound this data set was made without: both domains went through the same JPEG settings."""
    facts = [split.metadata for split in tests.values()]

    for name in ("codec", "quality", "subsampling", "width", "height"):
        assert set(facts[0][name]) == set(facts[1][name])
        assert len(set(facts[0][name])) == 1


def test_cifake_train_and_test_share_no_image(parts: dict[str, str], tests: dict[str, Split]) -> None:
    """Ids must differ; how many images are byte for byte the same in both is a fact of the data, at most a handful."""
    train = load_split(parts["train-real"])

    assert not set(train.ids) & set(tests["real"].ids)
    digests = [{row.tobytes() for row in split.digests} for split in (train, tests["real"])]
    assert len(digests[0] & digests[1]) <= 10
