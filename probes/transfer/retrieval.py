"""Image-text retrieval: recall@k from images to their captions and from captions to their images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.result import Score
from probes.stats.intervals import Interval, as_score, wilson
from probes.transfer.zero_shot import rows_at_once

RECALL_AT = (1, 5, 10)


def best_positive_ranks(queries: np.ndarray, gallery: np.ndarray, query_image: np.ndarray, gallery_image: np.ndarray) -> np.ndarray:
    """Count the gallery entries that are ranked before the best-ranked positive of each query, (Q,) int64; 0 is a hit at k = 1.

    Query and entry are a positive pair when they belong to the same image. Memory does not grow with Q times G.

    Args:
        queries: (Q, D) rows of length one.
        gallery: (G, D) rows of length one.
        query_image: (Q,) int, image of each query.
        gallery_image: (G,) int, image of each entry.
    """
    ranks, step = np.empty(len(queries), dtype=np.int64), rows_at_once(len(gallery))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        cosines = queries[rows] @ gallery.T
        positive = query_image[rows, None] == gallery_image
        best = np.where(positive, cosines, -np.inf).argmax(axis=1)  # of equal positives the first
        best_cosine = np.take_along_axis(cosines, best[:, None], axis=1)
        tied_before = (cosines == best_cosine) & (np.arange(len(gallery)) < best[:, None])
        ranks[rows] = (cosines > best_cosine).sum(axis=1) + tied_before.sum(axis=1)
    return ranks


def retrieval_recall(images: np.ndarray, texts: np.ndarray, text_image: np.ndarray, *, ks: Sequence[int] = RECALL_AT) -> dict[str, Score]:
    """Measure recall@k of image-text retrieval, in [0, 1]; an image may have several captions.

    A query counts 1 when at least one of its positives is among the k entries with the largest cosine, else 0; recall@k is the mean over queries.

    Args:
        images: (N, D) image embeddings; rows are brought to length one.
        texts: (M, D) caption embeddings; rows are brought to length one.
        text_image: (M,) int in [0, N), the image of each caption; every image needs at least one.
        ks: numbers of retrieved entries.

    Returns:
        `recall/<k>/image_to_text` (CLIP_benchmark's `text_retrieval_recall@k`) and `recall/<k>/text_to_image` (its `image_retrieval_recall@k`).
        Wilson's interval over images; captions of one image count as fewer than their number as far as they agree. The gallery is taken
        as given. Chance is the probability of a hit when k entries are drawn at random. A k of at least the gallery's size is left out.

    Raises:
        ValueError: for arrays that do not fit each other, embeddings that are not finite or have no length, or an image without a caption.

    Example:
        >>> captions = np.array([[1.0, 0.1, 0.0], [0.9, 0.0, 0.1], [0.0, 1.0, 0.0], [0.0, 0.8, 0.6]])
        >>> scores = retrieval_recall(np.eye(3), captions, np.array([0, 0, 1, 2]), ks=(1,))
        >>> {name: round(score.value, 2) for name, score in scores.items()}
        {'recall/1/image_to_text': 1.0, 'recall/1/text_to_image': 0.75}

    Source: Hodosh, Young & Hockenmaier (2013); CLIP_benchmark, `zeroshot_retrieval`.
    """
    text_image = np.asarray(text_image)
    _check(images, texts, text_image)
    images, texts = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (np.asarray(images), np.asarray(texts)))
    numbers, captions = np.arange(len(images)), np.bincount(text_image, minlength=len(images))
    image_ranks = best_positive_ranks(images, texts, numbers, text_image)
    text_ranks = best_positive_ranks(texts, images, text_image, numbers)
    scores = {}
    for k in ks:
        if k < len(texts):
            hits = image_ranks < k
            miss = _miss_probability(len(texts), captions, k)
            scores[f"recall/{k}/image_to_text"] = as_score(
                float(hits.mean()), wilson(float(hits.sum()), len(hits)), chance=float(1 - miss.mean()), direction="higher"
            )
        if k < len(images):
            hits = text_ranks < k
            interval = _clustered_wilson(np.bincount(text_image, hits, len(images)), captions)
            scores[f"recall/{k}/text_to_image"] = as_score(float(hits.mean()), interval, chance=k / len(images), direction="higher")
    return scores


def _check(images: np.ndarray, texts: np.ndarray, text_image: np.ndarray) -> None:
    if images.ndim != 2 or texts.ndim != 2 or images.shape[1] != texts.shape[1]:
        raise ValueError(
            f"`images` and `texts` must have shapes (N, D) and (M, D), got {images.shape} and {texts.shape}; embed both with the same model."
        )
    for name, rows in (("images", images), ("texts", texts)):
        if not np.isfinite(rows).all() or not rows.any(axis=1).all():
            raise ValueError(f"`{name}` must be finite rows that are not zero, got another row; check the weights of the model.")
    if text_image.shape != (len(texts),) or text_image.dtype.kind not in "iu":
        raise ValueError(
            f"`text_image` must be ({len(texts)},) int, one image a caption, got {text_image.dtype} {text_image.shape}; give image numbers."
        )
    if len(text_image) and not 0 <= text_image.min() <= text_image.max() < len(images):
        raise ValueError(f"`text_image` must be from 0 to {len(images) - 1}, got {text_image.min()} to {text_image.max()}; count from 0.")
    without_caption = np.flatnonzero(np.bincount(text_image, minlength=len(images)) == 0)
    if len(without_caption):
        raise ValueError(
            f"`text_image` must name every image at least once, got no caption for {len(without_caption)} images, the first "
            f"{without_caption[0]}; drop images without captions."
        )


def _miss_probability(entries: int, positives: np.ndarray, k: int) -> np.ndarray:
    """Compute the probability that k of M entries, drawn at random, hold none of an image's m positives, prod_i (M - m - i) / (M - i)."""
    draws = np.arange(k)
    return np.prod(np.maximum(entries - positives[:, None] - draws, 0) / (entries - draws), axis=1)


def _clustered_wilson(hits: np.ndarray, captions: np.ndarray) -> Interval:
    """Compute Wilson's interval of a share of captions with the effective number of captions that their agreement within images leaves.

    Args:
        hits: (N,) captions of each image that found it.
        captions: (N,) captions of each image.

    Source: Rao & Scott (1992), design effect of clustered proportions.
    """
    n, total = len(captions), float(captions.sum())
    share = float(hits.sum()) / total
    binomial = share * (1 - share) / total
    if binomial == 0 or n < 2:  # no spread to see: images, not captions, are independent
        return wilson(share * n, n)
    clustered = n / (n - 1) * float(np.sum((hits - share * captions) ** 2)) / total**2
    effective = total / max(1.0, clustered / binomial)
    return wilson(share * effective, effective)
