"""Digital: contrast, elastic transform, pixelate, JPEG. Images (B, 3, H, W) float32 in [0, 1] to the same; one random stream an image."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from probes.corruptions.blur import smooth
from probes.corruptions.noise import Streams
from probes.corruptions.severity import CorruptionSettings


def contrast(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Draw every value towards its colour's mean over the image; the number is what stays of the distance."""
    mean = images.mean(axis=(2, 3), keepdims=True)
    return (images - mean) * settings.numbers + mean


def elastic_transform(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Move three points by chance and pixels by a smooth random field, bilinear, edges mirrored.

    The numbers, as shares of the shorter side: strength and smoothness of the field, and the reach of the points.
    """
    side = min(images.shape[2:])
    strength, sigma, reach = (number * side for number in settings.numbers)
    height, width = images.shape[2:]
    third, middle = side // 3, (width // 2, height // 2)
    points = np.array([(third, third), (third, -third), (-third, -third)], dtype=np.float64) + middle  # x, y
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    here = np.stack([columns.ravel(), rows.ravel(), np.ones(height * width)])  # (3, H W)
    places = np.empty((len(images), height, width, 2))
    for number, stream in enumerate(streams):
        moved = points + stream.uniform(-reach, reach, size=(3, 2))
        back = np.linalg.lstsq(np.c_[moved, np.ones(3)], points, rcond=None)[0]  # where a pixel of the result comes from
        field = stream.uniform(-1, 1, size=(2, height, width))
        field = smooth(field, sigma, truncate=3.0, mode="reflect") * strength
        bent = here.copy()
        bent[:2] += field.reshape(2, -1)
        places[number] = (back.T @ bent).T.reshape(height, width, 2)
    return _sampled(images, places)


def _sampled(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Read images at places (B, H, W, 2) of x and y in pixels."""
    import torch
    from torch.nn import functional as F

    size = np.array([images.shape[3], images.shape[2]])
    grid = torch.from_numpy((2 * places / np.maximum(size - 1, 1) - 1).astype(np.float32))
    tensor = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    return F.grid_sample(tensor, grid, mode="bilinear", padding_mode="reflection", align_corners=True).numpy()


def pixelate(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Shrink and enlarge by boxes; the number is the factor."""
    from PIL import Image

    height, width = images.shape[2:]
    small = max(1, int(width * settings.numbers)), max(1, int(height * settings.numbers))
    return _each(images, lambda image: image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BOX))


def jpeg_compression(images: np.ndarray, settings: CorruptionSettings, streams: Streams) -> np.ndarray:
    """Encode as JPEG and decode; the number is the quality."""
    from PIL import Image

    def squeezed(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=settings.numbers)
        return Image.open(buffer)

    return _each(images, squeezed)


def _each(images: np.ndarray, change: Callable[[Any], Any]) -> np.ndarray:
    """Apply a change of eight-bit pictures to each image."""
    from PIL import Image

    pixels = (images * 255).round().clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    changed = np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels])
    return changed.transpose(0, 3, 1, 2).astype(np.float32) / 255
