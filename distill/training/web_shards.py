"""Web shards as a training set that never is in memory whole: images without classes, a few shards for each epoch.

An epoch reads the next few shards, decodes as many of their images as asked for, and has its own view of them; after the last shard
comes the first again. The teacher sees the very same views, live, for each is shown once. Any epoch can be read by itself, so that a
resumed run goes on with the same images.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from distill.data.columns import as_dataset
from distill.data.decode import BadImageError, decode, fit
from distill.data.pixel_cache import scan
from distill.data.shards import expand_braces, read_shards
from distill.errors import DistillError
from distill.models.teacher import Teacher
from distill.training.targets import TeacherTargets
from distill.training.train import TrainingImages
from distill.training.views import ViewConfig, Views

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.progress import Progress

logger = logging.getLogger(__name__)


class Shards:
    """The images of one epoch at a time.

    Args:
        spec: WebDataset shards, with braces or one file; only their images are used.
        folder: put before a relative path.
        images: number of images N an epoch gives.
        together: shards an epoch reads.
        size: side of the decoded images in pixels.
        epochs: number of epochs, after which nothing is read ahead.

    Raises:
        FileNotFoundError: when a shard is not there.
        ValueError: when `together` is more than there are.
    """

    def __init__(self, spec: str, *, folder: str, images: int, together: int, size: int, epochs: int) -> None:
        self.paths = [Path(folder) / part for part in expand_braces(spec)]
        for path in self.paths:
            if not path.is_file():
                raise FileNotFoundError(f"shard {path} must exist, got nothing there; check `data.streams` and `data.folder`.")
        if together > len(self.paths):
            raise ValueError(f"`together` must be at most the number of shards, {len(self.paths)}, got {together}; lower it.")
        self.images = images
        self.together = together
        self.size = size
        self.epochs = epochs
        self._loaded: tuple[int, Tensor] | None = None
        self._next: tuple[int, Future[Tensor]] | None = None
        self._pool = ThreadPoolExecutor(1)

    def epoch(self, number: int) -> Tensor:
        """Return the images of an epoch, uint8, shape (N, 3, S, S), and start reading those of the next one in the background."""
        if self._loaded is None or self._loaded[0] != number:
            self._loaded = None  # frees the memory before more is taken
            waiting = self._next if self._next is not None and self._next[0] == number else None
            self._loaded = (number, waiting[1].result() if waiting else self.read(number))
            self._next = (number + 1, self._pool.submit(self.read, number + 1)) if number + 1 < self.epochs else None
        return self._loaded[1]

    def read(self, number: int) -> Tensor:
        """Decode the images of an epoch; bad ones are left out and counted.

        Raises:
            ValueError: for a broken shard, or fewer good images than asked for.
        """
        start = number * self.together
        paths = [self.paths[(start + place) % len(self.paths)] for place in range(self.together)]
        pixels = np.empty((self.images, 3, self.size, self.size), np.uint8)
        done = bad = 0
        for path in paths:
            rows = as_dataset(read_shards([path], name=str(path)).table.select(["image"]))
            with closing(scan(rows, self._decode)) as scanned:
                for results in scanned:
                    good = [item for item in results if not isinstance(item, BadImageError)][: self.images - done]
                    bad += sum(isinstance(item, BadImageError) for item in results)
                    if good:
                        pixels[done : done + len(good)] = good
                        done += len(good)
                    if done == self.images:
                        break
        if bad:
            logger.info("%d images of %s cannot be used and are left out", bad, ", ".join(path.name for path in paths))
        if done < self.images:
            raise ValueError(
                f"`images` of a stream must be at most those in {self.together} shards, got {self.images} and only {done} good ones in "
                f"{paths[0].name} and what follows; lower `images` or raise `together`."
            )
        return torch.from_numpy(pixels)

    def _decode(self, data: bytes) -> np.ndarray:
        return np.asarray(fit(decode(data), self.size)).transpose(2, 0, 1)


class StreamViews(Views):
    """View k is that of epoch k's images; the last batch is kept, for the teacher wants it too.

    Args:
        shards: the images.
        config: strengths and seed; its `count` is the number of epochs.
    """

    def __init__(self, shards: Shards, config: ViewConfig) -> None:
        super().__init__(config, shards.images)
        self.shards = shards
        self._last: tuple[int, Tensor, Tensor] | None = None

    def images(self, pixels: Tensor, indices: Tensor, view: int) -> Tensor:
        """Draw view k of some images of epoch k.

        Args:
            pixels: not used.
            indices: rows to draw, int64, shape (B,).
            view: number k of the view, which is the epoch.

        Returns:
            float32 images in [0, 1], shape (B, 3, S, S).
        """
        if self._last is None or self._last[0] != view or not torch.equal(self._last[1], indices):
            self._last = (view, indices, super().images(self.shards.epoch(view), indices, view))
        return self._last[2]


class LiveTargets(TeacherTargets):
    """Teacher embeddings that are computed on every use and not stored."""

    def view(self, view: int, progress: Progress | None = None) -> Tensor:
        """Return an object that is indexed with rows and computes their unit embeddings (B, D) in view k.

        Args:
            view: number k of the view, which is the epoch.
            progress: not used.
        """
        self.teacher.fast_encode.to(self.accelerator.device)
        return _LiveRows(self, view)  # type: ignore[return-value]


class _LiveRows:
    """Indexed with rows, computes their teacher embeddings."""

    def __init__(self, targets: LiveTargets, view: int) -> None:
        self.targets = targets
        self.number = view

    def __getitem__(self, indices: Tensor) -> Tensor:
        targets = self.targets
        images = targets.views.images(targets.pixels, indices, self.number).to(targets.accelerator.device)
        with targets.accelerator.autocast():
            return targets.teacher.embed_images(images).clone()


def stream_images(shards: Shards, teacher: Teacher, views: ViewConfig, *, accelerator: Accelerator) -> TrainingImages:
    """Make a training set of a stream, with a view of its own for each epoch and no texts or labels.

    Args:
        shards: images of the stream.
        teacher: frozen.
        views: strengths and seed; its `count` is not used.
        accelerator: decides the precision.
    """
    stream_views = StreamViews(shards, views.model_copy(update={"count": shards.epochs}))
    pixels = torch.zeros(1, dtype=torch.uint8).expand(shards.images, 3, shards.size, shards.size)  # its shape is all that is used
    targets = LiveTargets(teacher, pixels, stream_views, fingerprint="stream", folder=Path(), accelerator=accelerator)
    return TrainingImages(pixels=pixels, views=stream_views, targets=targets, text={})


ABSENT = frozenset({"text", "shares", "class_weights", "rows"})
"""Fields that losses may need and a stream lacks: texts, classes, rows that are seen again."""


def refuse_unmet_by_stream(student: str, stream: str, needs: Collection[str]) -> None:
    """Refuse a loss that a stream cannot serve.

    Args:
        student: name in the config, for the message.
        stream: name in the config, for the message.
        needs: fields of the batch that the loss reads.

    Raises:
        DistillError: naming student, stream, what is missing and the remedy.
    """
    if lacking := sorted(ABSENT & set(needs)):
        raise DistillError(
            f"`loss` of {student} must need images alone on the stream {stream}, got one that needs {lacking[0]}; use l2 or another image target."
        )
