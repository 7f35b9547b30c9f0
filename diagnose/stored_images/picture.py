"""Uploaded pictures: limited in bytes and pixels, and resized to the students' size. Nothing heavy is imported."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

MOST_BYTES = 8 * 2**20
MOST_PIXELS = 16 * 10**6
FORMATS = ("PNG", "JPEG", "WEBP")


def read_picture(content: bytes, size: int) -> np.ndarray:
    """Decode a picture, crop its centre square and resize it to the students' image size.

    Args:
        content: PNG, JPEG or WebP, at most 8 MiB and 16 megapixels.
        size: side in pixels.

    Returns:
        (3, size, size) uint8.

    Raises:
        ValueError: for another format, a broken file, or one above these limits.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"`image` must be at most {MOST_BYTES // 2**20} MiB, got {len(content) / 2**20:.1f}; make it smaller.")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(
                    f"`image` must have at most {MOST_PIXELS // 10**6} megapixels, got {image.width} x {image.height}; make it smaller."
                )
            whole = image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"`image` must be a whole {', '.join(FORMATS)} picture, got {type(error).__name__}; save it anew.") from error
    side = min(whole.size)
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    square = whole.crop((left, top, left + side, top + side))
    if square.size != (size, size):
        square = square.resize((size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))
