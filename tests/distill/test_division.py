"""How images are divided among processes: each once, equal work, whole batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from distill.division import pieces, place_in_launch, share_of, whole_batches


@pytest.mark.parametrize("total", [100_000_000, 99_999_937, 1_000_003, 64, 63, 1])
def test_64_ranks_take_every_image_once_and_equal_work(total):
    """The stage-1 division of docs/scale.md: 100 million images over 64 ranks, and numbers that do not divide."""
    shares = [share_of(total, rank, 64) for rank in range(64)]

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
        for piece in pieces(share_of(total, rank, world), size):
            assert 0 < len(piece) <= size
            seen[piece.start : piece.stop] += 1

    assert (seen == 1).all()


def test_every_batch_is_one_that_a_single_process_runs():
    alone = list(whole_batches(range(1000), 64, 1000))

    for rank in range(7):
        share = share_of(1000, rank, 7)
        batches = list(whole_batches(share, 64, 1000))
        assert set(batches) <= set(alone)
        assert batches[0].start <= share.start
        assert batches[-1].stop >= share.stop
        assert sum(map(len, batches)) - len(share) < 2 * 64  # what two neighbours run twice


def test_the_place_in_a_launch_is_read_from_the_environment():
    assert place_in_launch({}) == (0, 1)
    assert place_in_launch({"RANK": "3", "WORLD_SIZE": "8"}) == (3, 8)


@pytest.mark.parametrize(("rank", "world"), [("8", "8"), ("x", "2"), ("-1", "2"), ("0", "0")])
def test_a_place_that_cannot_be_is_refused(rank, world):
    with pytest.raises(ValueError, match="`RANK` must be a number below `WORLD_SIZE`"):
        place_in_launch({"RANK": rank, "WORLD_SIZE": world})
