"""Mixtures of real and synthetic images: matched totals, stratified, nested, the same on every call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.data.mixtures import apportion, limited, mix, stratified
from distill.data.split import Split, load_split
from distill.training.config import read_experiment
from distill.training.experiment import open_experiment


@pytest.fixture(scope="module")
def sets(tiny_data: Path) -> tuple[Split, Split]:
    """48 synthetic and 48 real images of three classes, 16 of each."""
    return tuple(load_split(str(tiny_data / f"train-{domain}.parquet")) for domain in ("synthetic", "real"))  # type: ignore[return-value]


@given(st.lists(st.integers(0, 500), min_size=1, max_size=12).filter(any), st.integers(0, 2000))
def test_apportioned_parts_add_up_and_stay_within_one_of_their_exact_part(weights: list[int], total: int) -> None:
    parts = apportion(np.array(weights), total)

    assert parts.sum() == total
    assert np.all(np.abs(parts - total * np.array(weights) / sum(weights)) < 1)
    assert parts.min() >= 0


def test_a_limit_takes_the_same_share_of_every_class() -> None:
    # Sorted by class, as most sources are; of 100, 50 and 10 images a fifth is 20, 10 and 2.
    labels = np.repeat([0, 1, 2], [100, 50, 10])

    chosen = stratified(labels, apportion(np.bincount(labels), 32))

    assert np.bincount(labels[chosen]).tolist() == [20, 10, 2]
    assert len(set(chosen)) == 32


def test_a_smaller_choice_is_part_of_a_larger_one_and_another_seed_is_another_choice() -> None:
    labels = np.arange(90) % 3

    small, large = (set(stratified(labels, np.array([n, n, n]))) for n in (4, 9))

    assert small < large
    assert small != set(stratified(labels, np.array([4, 4, 4]), seed=1))


@pytest.mark.parametrize(("share", "real"), [(0.0, 0), (0.01, 0), (0.1, 3), (0.5, 15), (1.0, 30)])
def test_a_mixture_has_the_total_the_share_and_the_classes_asked_for(sets: tuple[Split, Split], share: float, real: int) -> None:
    mixture = mix(*sets, share, total=30)

    assert len(mixture) == 30
    assert int((mixture.domains == "real").sum()) == real
    assert np.bincount(mixture.labels).tolist() == [10, 10, 10]
    for domain in ("real", "synthetic"):
        counts = np.bincount(mixture.labels[mixture.domains == domain], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_mixtures_differ_only_in_the_images_that_were_replaced(sets: tuple[Split, Split]) -> None:
    synthetic, real = sets
    pure = set(limited(synthetic, 30).ids)
    ids = {share: set(mix(synthetic, real, share, total=30).ids) for share in (0.1, 0.5)}

    assert ids[0.5] & set(synthetic.ids) < ids[0.1] & set(synthetic.ids) < pure
    assert ids[0.1] & set(real.ids) < ids[0.5] & set(real.ids) < set(limited(real, 30).ids)


def test_the_same_call_gives_the_same_mixture(sets: tuple[Split, Split]) -> None:
    assert mix(*sets, 0.5, total=20).fingerprint == mix(*sets, 0.5, total=20).fingerprint


def test_a_mixture_that_needs_more_images_than_there_are_is_refused(sets: tuple[Split, Split]) -> None:
    with pytest.raises(ValueError, match=r"real images of cat, got 16; lower `data\.limit`"):
        mix(*sets, 1.0, total=60)
    with pytest.raises(ValueError, match=r"`share` of `mix-x` must be in \[0, 1\], got 10"):
        mix(*sets, 10, total=30, name="mix-x")


def test_a_limit_without_room_for_a_class_is_refused(sets: tuple[Split, Split]) -> None:
    with pytest.raises(ValueError, match="an image of every class"):
        limited(sets[0], 2)


MIXED = {"l2": {"loss": {"l2": 1.0}, "trained_on": ["synthetic", "mix-50", "real"]}}


def data(folder: Path, **more: object) -> dict[str, object]:
    return {
        "folder": str(folder),
        "train": {"synthetic": "train-synthetic.parquet", "real": "train-real.parquet"},
        "test": {"synthetic": "test-synthetic.parquet", "real": "test-real.parquet"},
        **more,
    }


def test_an_experiment_opens_its_mixtures_at_the_size_of_the_pure_sets(write_config: Callable[..., Path], tiny_data: Path) -> None:
    config = write_config(data=data(tiny_data, limit=30, mixtures={"mix-50": 0.5}), students=MIXED)

    opened = open_experiment(read_experiment(config))

    assert {name: len(split) for name, split in opened.train.items()} == {"synthetic": 30, "mix-50": 30, "real": 30}
    assert {name: int((split.domains == "real").sum()) for name, split in opened.train.items()} == {
        "synthetic": 0,
        "mix-50": 15,
        "real": 30,
    }


@pytest.mark.parametrize(
    ("mixtures", "match"),
    [
        ({"mix-50": 50}, r"share of real images in \(0, 1\)"),
        ({"real": 0.5}, "is a training set already"),
        ({"a b": 0.5}, "letters, digits"),
    ],
)
def test_mixtures_that_cannot_be_meant_are_refused(
    write_config: Callable[..., Path], tiny_data: Path, mixtures: dict[str, float], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        read_experiment(write_config(data=data(tiny_data, limit=30, mixtures=mixtures)))


def test_a_mixture_of_sets_of_unequal_size_needs_a_limit(write_config: Callable[..., Path], tiny_data: Path) -> None:
    unequal = data(tiny_data, mixtures={"mix-50": 0.5})
    unequal["train"] = {"synthetic": "train-synthetic.parquet", "real": "test-real.parquet"}

    with pytest.raises(ValueError, match=r"`data\.limit` must be given, at most 30, for the mixtures to match"):
        open_experiment(read_experiment(write_config(data=unequal, students=MIXED)))
