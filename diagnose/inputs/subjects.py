"""What a diagnosis is given: encoders to judge and held-out images of the two domains, whatever files they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from probes.text_space import TextSpace

Encode = Callable[[Any], Any]
"""`encode(images: Tensor float32 (B, 3, H, W) in [0, 1]) -> Tensor (B, D)`, raw embeddings; normalisation and resizing live inside."""

Domain = Literal["real", "synthetic"]
DOMAINS: tuple[Domain, Domain] = ("real", "synthetic")


@dataclass(frozen=True)
class Subject:
    """One encoder to judge, and what is known of its training.

    Args:
        name: unique among the encoders of one diagnosis.
        encode: images (B, 3, H, W) float32 in [0, 1] -> embeddings (B, D), where D is the dimension of the class weights.
        params: number of parameters, at least 0.
        loss: name of the loss; students that differ in seed alone share it. None where unknown.
        seed: seed of the training; students of one seed share initial weights and image order. None where unknown.
        trained_on: "real", "synthetic" or a mixture's name; None where unknown.
        target: what the loss draws the embedding to, the teacher's image embedding or a text embedding; None where unknown.
        negatives: whether the loss pushes away from the other images or texts of the batch; None where unknown.
        levels: factor -> level, in what the recipe differs from others; see `distill.training.factor_levels.levels`. Empty where unknown.
        recipe: key of the loss, equal for equal terms, weights and options. Empty where unknown.
        curve: one row an epoch, `epoch` and any of `loss`, `zero_shot_real`, `zero_shot_synthetic`, terms.
        checkpoints: epoch -> loader without arguments that returns the encoder of that epoch.
        weights_hash: hash of the weights' content; the key under which embeddings are kept. Empty: they are never reused.
        fast_encode: the same function as `encode` in fewer passes, for embeddings alone; None: `encode` itself.
        text_space: of its own text tower, where that is not its teacher's space. None: it is scored by the teacher's texts.

    Raises:
        ValueError: for an empty name or a target other than "image", "text" or None.
        TypeError: for an `encode` that cannot be called.
    """

    name: str
    encode: Encode
    params: int
    loss: str | None = None
    seed: int | None = None
    trained_on: str | None = None
    target: Literal["image", "text"] | None = None
    negatives: bool | None = None
    levels: Mapping[str, str] = field(default_factory=dict)
    recipe: str = ""
    curve: Sequence[Mapping[str, float]] = ()
    checkpoints: Mapping[int, Callable[[], Encode]] = field(default_factory=dict)
    weights_hash: str = ""
    fast_encode: Encode | None = None
    text_space: TextSpace | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("`name` must be a name, got an empty text; give each encoder a name of its own.")
        if not callable(self.encode):
            raise TypeError(f"`encode` of {self.name!r} must be callable, got {type(self.encode).__name__}; pass the encoder itself.")
        if self.target not in ("image", "text", None):
            raise ValueError(f"`target` of {self.name!r} must be 'image', 'text' or None, got {self.target!r}; leave it out where unknown.")

    @property
    def embed(self) -> Encode:
        """What gives embeddings soonest."""
        return self.encode if self.fast_encode is None else self.fast_encode


@dataclass(frozen=True)
class Images:
    """Held-out images of one domain.

    Args:
        domain: "real" or "synthetic".
        ids: (N,) str, unique and stable.
        labels: (N,) int in [0, C).
        pixels: (N, 3, H, W) uint8; a memory map is fine.
        class_names: C names.
        metadata: file facts, each (N,): `codec`, `bytes`, `width`, `height`, `quality` where known.
        fingerprint: hash of the images' content; computed from the pixels when left empty.
        groups: (N,) str, such as the background of each image; None where unknown.
        captions: (N,) str, empty for an image without one; None where there are none.

    Raises:
        ValueError: for shapes, types or labels that do not fit, or for ids that occur twice.
    """

    domain: Domain
    ids: np.ndarray
    labels: np.ndarray
    pixels: np.ndarray
    class_names: tuple[str, ...]
    metadata: Mapping[str, np.ndarray] = field(default_factory=dict)
    fingerprint: str = ""
    groups: np.ndarray | None = None
    captions: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("groups", None if self.groups is None else np.asarray(self.groups).astype(str)),
            ("captions", None if self.captions is None else np.asarray(self.captions).astype(str)),
            ("ids", np.asarray(self.ids).astype(str)),
            ("labels", np.asarray(self.labels, dtype=np.int64)),
            ("class_names", tuple(self.class_names)),
            ("metadata", {key: np.asarray(fact) for key, fact in self.metadata.items()}),
        ):
            object.__setattr__(self, name, value)
        _check(self)
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", _fingerprint(self))

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: np.ndarray) -> Images:
        """Keep some images, in the order given, with all that is known of them.

        Args:
            rows: positions (M,) in 0..N-1, at least one.
        """
        optional = {name: value[rows] for name in ("groups", "captions") if (value := getattr(self, name)) is not None}
        return replace(
            self,
            ids=self.ids[rows],
            labels=self.labels[rows],
            pixels=self.pixels[rows],
            metadata={name: fact[rows] for name, fact in self.metadata.items()},
            fingerprint="",
            **optional,
        )


def _check(images: Images) -> None:
    what, pixels, count = f"of the {images.domain} images", images.pixels, len(images.ids)
    if images.domain not in DOMAINS:
        raise ValueError(f"`domain` must be 'real' or 'synthetic', got {images.domain!r}; name one of the two.")
    if getattr(pixels, "dtype", None) != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
        got = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {getattr(pixels, 'shape', '')}"
        raise ValueError(f"`pixels` {what} must be uint8 of shape (N, 3, H, W), got {got}; convert them to RGB first.")
    if count == 0:
        raise ValueError(f"`ids` {what} must hold at least one image, got none; pass None for a domain without images.")
    for name, length in (
        ("labels", images.labels.shape),
        ("pixels", pixels.shape[:1]),
        *((name, value.shape) for name in ("groups", "captions") if (value := getattr(images, name)) is not None),
        *((k, v.shape) for k, v in images.metadata.items()),
    ):
        if tuple(length) != (count,):
            raise ValueError(
                f"`{name}` {what} must have one entry for each of the {count} ids, got shape {tuple(length)}; drop or add rows."
            )
    names, repeats = np.unique(images.ids, return_counts=True)
    if repeats.max() > 1:
        raise ValueError(f"`ids` {what} must be unique, got {names[repeats.argmax()]!r} {repeats.max()} times; rename the images.")
    if images.labels.min() < 0 or images.labels.max() >= len(images.class_names):
        raise ValueError(
            f"`labels` {what} must be in [0, {len(images.class_names)}), got {images.labels.min()} to {images.labels.max()}; "
            "give a class name for each label."
        )


def _fingerprint(images: Images) -> str:
    digest = hashlib.sha256()
    for part in (images.domain, *images.class_names, *images.ids.tolist()):
        digest.update(part.encode() + b"\0")
    digest.update(images.labels.tobytes())
    for start in range(0, len(images), 4096):
        digest.update(np.ascontiguousarray(images.pixels[start : start + 4096]).tobytes())
    return digest.hexdigest()[:32]


def groups_of(images: Sequence[Images]) -> np.ndarray | None:
    """Join the groups of several domains in the order of their images.

    Args:
        images: images of each domain.

    Returns:
        (N,) str, "" where an image has none; None where none has one.
    """
    if all(part.groups is None for part in images):
        return None
    return np.concatenate([np.full(len(part), "") if part.groups is None else part.groups for part in images])
