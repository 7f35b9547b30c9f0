"""One encoded image to eight-bit RGB, or a plain reason why not."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import get_sampling

MAX_PIXELS = 50_000_000
"""Largest accepted width x height; a 50-megapixel photograph is 150 MB once decoded, and a few hundred kilobytes can claim far more."""

MAX_SIZE = 2048
"""Largest side that images are resized to; beyond, one image takes 12 MB and the first layer of an encoder gigabytes."""

MAX_BYTES = 256 * 2**20
"""Largest accepted file: more than 50 megapixels without any compression."""

MAX_SCANS = 100
"""Most scans of a JPEG; encoders write about ten, and a small file that repeats one ten thousand times would be decoded for minutes."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Decoders that may be tried. Others are left out on purpose: EPS, for one, would start Ghostscript on the file."""

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".ppm",
    ".pgm",
    ".jfif",
    ".jpe",
    ".avif",
    ".heic",
    ".heif",
    ".jxl",
)
"""File endings that are taken for images in folders and shards; those of formats that are not read are named as bad images rather than passed over."""

DECODER_VERSION = 1
"""Raise it when `decode` or `fit` changes a pixel: cached pixels are keyed by it."""

_SAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}

# Annex K of ITU-T T.81 (JPEG), table K.1, luminance, row by row: what libjpeg scales by its quality setting.
# fmt: off
_LUMINANCE = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])
# fmt: on
_QUALITIES = np.arange(1, 101)
_SCALES = np.where(_QUALITIES < 50, 5000 // _QUALITIES, 200 - 2 * _QUALITIES)
_TABLES = np.clip((_SCALES[:, None] * _LUMINANCE + 50) // 100, 1, 255)


class BadImageError(ValueError):
    """Raised with the reason why one image cannot be used; the caller knows its name."""


@dataclass(frozen=True)
class ImageFacts:
    """What the file says of itself, before any pixel is decoded.

    Args:
        codec: `JPEG`, `PNG`, ...; empty where the file cannot be read.
        bytes: size of the file.
        width: columns as stored.
        height: rows as stored.
        quality: libjpeg quality 1..100 nearest to the luminance table, NaN for other codecs.
        subsampling: chroma subsampling of a JPEG such as `4:2:0`, empty for other codecs and grey images.
    """

    codec: str
    bytes: int
    width: int
    height: int
    quality: float
    subsampling: str


def _open(data: bytes) -> Image.Image:
    if not data:
        raise BadImageError("zero bytes")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImageError("gigantic") from error
    except Exception as error:  # a decoder that is fed arbitrary bytes may raise anything
        raise BadImageError("unreadable") from error


def _deeper_than_eight_bits(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":  # Pillow hands a 16-bit colour PNG over as plain RGB; byte 24 is the depth in its header
        return len(data) > 24 and data[24] == 16
    if image.format == "TIFF":
        return any(bits > 8 for bits in image.tag_v2.get(258, ()))  # type: ignore[attr-defined]
    return image.mode.startswith(("I", "F"))


def _refusal(image: Image.Image, data: bytes, max_pixels: int) -> str | None:
    """Tell from the header alone why the image is refused, or None."""
    bound = min(max_pixels, Image.MAX_IMAGE_PIXELS or max_pixels)
    if image.width * image.height > bound:
        return f"gigantic: {image.width} x {image.height} is more than {bound / 1e6:g} megapixels"
    if (
        image.format in ("JPEG", "MPO") and (scans := data.count(b"\xff\xda")) > MAX_SCANS
    ):  # these bytes are a marker wherever data are coded
        return f"{scans} scans"
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # an MPO is a camera's JPEG with a preview behind it
        return f"animated: {image.n_frames} frames"  # type: ignore[attr-defined]
    if _deeper_than_eight_bits(image, data) or image.mode.startswith(("I", "F")):
        return "16-bit or deeper"
    if image.mode in ("P", "PA"):
        return "palette"
    if image.mode not in ("RGB", "L", "1", "RGBA", "LA"):
        return f"{image.mode} colours"
    return None


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one image to RGB, upright, without ever guessing about its colours.

    Greyscale becomes RGB with equal channels and an alpha channel that is opaque everywhere is dropped, for neither changes what is
    seen. CMYK, palettes, more than eight bits, animation and transparency would need a choice that leaves traces in the
    pixels, different ones in the two domains, and so are refused.

    Args:
        data: the encoded file.
        max_pixels: bound on width x height; Pillow's own `Image.MAX_IMAGE_PIXELS` holds where it is lower.

    Returns:
        An RGB image (H, W) of eight bits a channel, turned as its EXIF orientation says.

    Raises:
        BadImageError: with the reason: zero bytes, unreadable, truncated, gigantic, too many scans, animated, 16-bit, palette, other colours, transparent.

    Source: ours.
    """
    with _open(data) as image:
        return _decoded(image, data, max_pixels)


def decode_with_facts(data: bytes) -> tuple[Image.Image, ImageFacts]:
    """Decode an image and read its file facts, as `decode` and `facts` do, opening the file once."""
    with _open(data) as image:
        try:
            image_facts = _facts(image, data)  # of the header: decoding turns some files upright
        except Exception as error:  # see `_open`
            raise BadImageError("truncated or damaged") from error
        return _decoded(image, data, MAX_PIXELS), image_facts


def _decoded(image: Image.Image, data: bytes, max_pixels: int) -> Image.Image:
    try:
        reason = _refusal(image, data, max_pixels)
        if reason is None:
            image.load()
            if image.has_transparency_data and image.convert("RGBA").getextrema()[3] != (255, 255):  # type: ignore[misc]
                reason = "transparent"
    except Exception as error:  # see `_open`
        raise BadImageError("truncated or damaged") from error
    if reason is not None:
        raise BadImageError(reason)
    if image.getexif().get(0x0112, 1) != 1:
        image = ImageOps.exif_transpose(image)
    return image if image.mode == "RGB" else image.convert("RGB")  # `convert` would copy what is RGB already


def fit(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` (bicubic, with Pillow's antialiasing), then crop the centre square.

    Args:
        image: an RGB image.
        size: side of the result in pixels, at least 1.

    Returns:
        An RGB image of `size` x `size`; the very same pixels where it already has that size.

    Source: the evaluation transform of CLIP (Radford et al., 2021): resize, then centre crop.
    """
    width, height = image.size
    if min(width, height) != size:
        # Rounding as torchvision's Resize and CenterCrop do it, on which open_clip's own preprocessing rests.
        width, height = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    if (width, height) == (size, size):
        return image
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def facts(data: bytes) -> ImageFacts:
    """Read codec, size and JPEG settings from the header.

    Args:
        data: the encoded file.

    Returns:
        The facts; for a file that cannot be read, an empty codec and zero width and height.

    Source: ours; quality is the libjpeg setting whose scaled table K.1 of ITU-T T.81 is nearest in absolute difference.
    """
    try:
        image = _open(data)
    except BadImageError:
        return ImageFacts("", len(data), 0, 0, math.nan, "")
    with image:
        return _facts(image, data)


def _facts(image: Image.Image, data: bytes) -> ImageFacts:
    codec = "JPEG" if image.format == "MPO" else str(image.format)
    quality, subsampling = math.nan, ""
    if codec == "JPEG":
        table = np.asarray(image.quantization[min(image.quantization)])  # type: ignore[attr-defined]
        quality = float(_QUALITIES[np.abs(_TABLES - table).sum(axis=1).argmin()])
        subsampling = _SAMPLING.get(get_sampling(image), "")
    return ImageFacts(codec, len(data), image.width, image.height, quality, subsampling)


def fact_columns(facts_of_files: Sequence[ImageFacts]) -> dict[str, np.ndarray]:
    """Turn the facts of N files to columns, name -> (N,)."""
    kinds = {"codec": str, "bytes": np.int64, "width": np.int64, "height": np.int64, "quality": np.float64, "subsampling": str}
    return {name: np.array([getattr(each, name) for each in facts_of_files], dtype=kind) for name, kind in kinds.items()}
