"""How images are divided among processes: each once, equal work, whole batches."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from distill.distributed.sharding import chunks, rank_and_world_size, shard_of, whole_batches


@pytest.mark.parametrize("total", [100_000_000, 99_999_937, 1_000_003, 64, 63, 1])
def test_64_ranks_take_every_image_once_and_equal_work(total):
    """The stage-1 division of docs/scale.md: 100 million images over 64 ranks, and numbers that do not divide."""
    shares = [shard_of(total, rank, 64) for rank in range(64)]

    assert shares[0].start == 0
    assert all(one.stop == other.start for one, other in itertools.pairwise(shares))
    assert shares[-1].stop == total
    sizes = [len(share) for share in shares]
    assert sum(sizes) == total
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("total", "world", "size"), [(1000, 7, 64), (5, 8, 2), (129, 2, 64)])
def test_pieces_of_all_ranks_cover_every_image_once(total, world, size):
    seen = np.zeros(total, dtype=int)

    for rank in range(world):
        for piece in chunks(shard_of(total, rank, world), size):
            assert 0 < len(piece) <= size
            seen[piece.start : piece.stop] += 1

    assert (seen == 1).all()


def test_every_batch_is_one_that_a_single_process_runs():
    alone = list(whole_batches(range(1000), 64, 1000))

    for rank in range(7):
        share = shard_of(1000, rank, 7)
        batches = list(whole_batches(share, 64, 1000))
        assert set(batches) <= set(alone)
        assert batches[0].start <= share.start
        assert batches[-1].stop >= share.stop
        assert sum(map(len, batches)) - len(share) < 2 * 64  # what two neighbours run twice


def test_the_place_in_a_launch_is_read_from_the_environment():
    assert rank_and_world_size({}) == (0, 1)
    assert rank_and_world_size({"RANK": "3", "WORLD_SIZE": "8"}) == (3, 8)


@pytest.mark.parametrize(("rank", "world"), [("8", "8"), ("x", "2"), ("-1", "2"), ("0", "0")])
def test_a_place_that_cannot_be_is_refused(rank, world):
    with pytest.raises(ValueError, match="`RANK` must be a number below `WORLD_SIZE`"):
        rank_and_world_size({"RANK": rank, "WORLD_SIZE": world})


def test_the_arithmetic_of_the_page_on_scale_holds():
    """docs/scale.md, stage 1 on 100 million images: the table's results from its assumptions."""
    images, image, teacher, student, gpu, decode, threads = 1e8, 35e3, 8.8e9, 12e9, 94e12, 3e-3, 8
    rate = threads / decode
    said = (Path(__file__).parents[3] / "docs" / "scale.md").read_text(encoding="utf-8")
    found = {
        "11,112 of 315 MB": (math.ceil(images / 9000) == 11_112, round(9000 * image / 1e6) == 315),
        "3.5 TB": (images * image == 3.5e12,),
        "2.6 GPU hours": (round(images * teacher / gpu / 3600, 1) == 2.6,),
        "3.5 GPU hours": (round(images * student / gpu / 3600, 1) == 3.5,),
        "83 core hours": (round(images * decode / 3600) == 83,),
        "205 GB": (round(images * 512 * 4 / 1e9) == 205,),
        "1,562,500 images each, 8 threads: 2,667 images/s": (images / 64 == 1_562_500, round(rate) == 2667),
        "10 minutes, 6.0 GB/s": (round(images / 64 / rate / 60) == 10, round(64 * rate * image / 1e9, 1) == 6.0),
        "2.4 minutes": (round(images / 64 / (gpu / teacher) / 60, 1) == 2.4,),
        "6.1 hours": (round(images * (teacher + student) / gpu / 3600, 1) == 6.1,),
        "10.4 hours": (round(images / rate / 3600, 1) == 10.4,),
    }

    for words, held in found.items():
        assert words in said, words
        assert all(held), words
