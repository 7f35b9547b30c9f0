"""Recall@k: the hit rate of torchmetrics, CLIP_benchmark's definition by brute force, closed forms of chance, and what is refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from torchmetrics.retrieval import RetrievalHitRate

from probes.transfer.retrieval import retrieval_recall

KS = (1, 5, 10)


def pairs(n=60, dimension=12, noise=1.5, seed=0):
    """Images with one to five captions each, in mixed order."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, dimension))
    text_image = rng.permutation(np.repeat(np.arange(n), rng.integers(1, 6, n)))
    return images, images[text_image] + noise * rng.normal(size=(len(text_image), dimension)), text_image


def cosines(images, texts):
    return (images / np.linalg.norm(images, axis=1, keepdims=True)) @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T


def test_recall_is_the_hit_rate_of_torchmetrics():
    images, texts, text_image = pairs()
    similarity = torch.from_numpy(cosines(images, texts))
    positive = torch.from_numpy(np.arange(len(images))[:, None] == text_image)

    scores = retrieval_recall(images, texts, text_image)

    for direction, similar, relevant in (("image_to_text", similarity, positive), ("text_to_image", similarity.T, positive.T)):
        queries = torch.arange(len(similar))[:, None].expand(similar.shape)
        for k in KS:
            reference = RetrievalHitRate(top_k=k)(similar.flatten(), relevant.flatten(), indexes=queries.flatten())
            assert scores[f"recall/{k}/{direction}"].value == pytest.approx(float(reference))
            assert 0 < scores[f"recall/{k}/{direction}"].value < 1


def test_recall_is_the_mean_over_queries_of_whether_any_positive_is_among_the_top_k():
    """CLIP_benchmark: an image counts 1 when at least one of its captions is among the k texts, else 0."""
    images, texts, text_image = pairs(seed=1)
    similarity = cosines(images, texts)

    scores = retrieval_recall(images, texts, text_image)

    for k in KS:
        by_image = [any(text_image[text] == image for text in np.argsort(-row)[:k]) for image, row in enumerate(similarity)]
        by_text = [text_image[text] in np.argsort(-column)[:k] for text, column in enumerate(similarity.T)]
        assert scores[f"recall/{k}/image_to_text"].value == pytest.approx(np.mean(by_image))
        assert scores[f"recall/{k}/text_to_image"].value == pytest.approx(np.mean(by_text))


def test_recall_at_one_is_one_where_captions_lie_on_their_images():
    images, _, text_image = pairs()

    scores = retrieval_recall(images, images[text_image], text_image)

    assert {score.value for score in scores.values()} == {1.0}
    assert scores["recall/1/image_to_text"].low == pytest.approx(60 / (60 + 1.959964**2))  # Wilson's, of 60 images
    assert scores["recall/1/text_to_image"].low == scores["recall/1/image_to_text"].low  # captions of one image are no new evidence


def test_chance_is_the_mean_recall_of_embeddings_that_say_nothing():
    """300 draws of 20 images: the mean is within four standard errors of the closed form, for both directions."""
    rng = np.random.default_rng(2)
    text_image = np.repeat(np.arange(20), np.arange(20) % 4 + 1)

    draws = [retrieval_recall(rng.normal(size=(20, 6)), rng.normal(size=(50, 6)), text_image) for _ in range(300)]

    for name in ("recall/1/image_to_text", "recall/5/image_to_text", "recall/5/text_to_image"):
        values = np.array([draw[name].value for draw in draws])
        assert abs(values.mean() - draws[0][name].chance) < 4 * values.std() / np.sqrt(300)
    assert draws[0]["recall/5/text_to_image"].chance == 5 / 20
    assert draws[0]["recall/1/image_to_text"].chance == pytest.approx(50 / 20 / 50)


def test_captions_that_agree_within_an_image_widen_the_interval():
    """Ten copies of every caption are no more evidence than one; noise of their own is."""
    images, texts, text_image = pairs(n=80, noise=2.0, seed=3)
    first = np.unique(text_image, return_index=True)[1]
    texts, text_image = texts[first], text_image[first]

    once = retrieval_recall(images, texts, text_image)["recall/5/text_to_image"]
    copied = retrieval_recall(images, np.repeat(texts, 10, axis=0), np.repeat(text_image, 10))["recall/5/text_to_image"]

    assert copied.value == pytest.approx(once.value)
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.02)


def test_a_k_that_is_the_whole_gallery_is_left_out():
    scores = retrieval_recall(np.eye(4), np.eye(4)[[0, 1, 2, 3, 0, 1]], np.array([0, 1, 2, 3, 0, 1]))

    assert sorted(scores) == ["recall/1/image_to_text", "recall/1/text_to_image", "recall/5/image_to_text"]


def test_recall_needs_no_dense_copy_and_does_not_depend_on_the_blocks(monkeypatch):
    """Cosines of 4,000 images and 20,000 captions take 610 MiB in float64."""
    rng = np.random.default_rng(4)
    images = rng.normal(size=(4000, 8))
    text_image = np.repeat(np.arange(4000), 5)
    texts = images[text_image] + 0.3 * rng.normal(size=(20_000, 8))

    tracemalloc.start()
    scores = retrieval_recall(images, texts, text_image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4000 * 20_000 * 8 / 2
    small = retrieval_recall(images[:100], texts[:500], text_image[:500])
    monkeypatch.setattr("probes.transfer.zero_shot._LOGITS_AT_ONCE", 3500)
    assert retrieval_recall(images[:100], texts[:500], text_image[:500]) == small
    assert 0 < scores["recall/1/text_to_image"].value < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, t, m: (i[:, :5], t, m), r"`images` and `texts` must have shapes \(N, D\) and \(M, D\), got \(60, 5\)"),
        (lambda i, t, m: (i, np.where(np.arange(len(t))[:, None] == 3, np.nan, t), m), "`texts` must be finite rows"),
        (lambda i, t, m: (i * 0, t, m), "`images` must be finite rows that are not zero"),
        (lambda i, t, m: (i, t, m[:-1]), r"`text_image` must be \(\d+,\) int"),
        (lambda i, t, m: (i, t, m + 1), "`text_image` must be from 0 to 59, got 1 to 60"),
        (lambda i, t, m: (i, t, np.where(m == 7, 8, m)), "got no caption for 1 images, the first 7; drop images without captions"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        retrieval_recall(*change(*pairs()))
