"""Find the codec of real images; a synthetic set must be written with the same one, or the files tell the domains apart."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np

from distill.generate.settings import Codec
from distill.generate.sources import open_images

logger = logging.getLogger(__name__)

SAMPLE = 200
"""Images looked at, spread evenly."""


def codec_of(real: str) -> Codec:
    """Return the codec that most real images were written with.

    Args:
        real: any source of `load_split`, or `pocket:PART`.

    Raises:
        FileNotFoundError, ValueError: for a source that cannot be read, or a codec we do not write.
    """
    facts = _facts(real)
    name = _common(facts["codec"]).lower()
    if name not in ("png", "jpeg", "webp"):
        raise ValueError(f"`codec` must be png, jpeg or webp, got {name} for most of {real}; convert these images or name a codec.")
    if name != "jpeg":
        return Codec.model_validate({"name": name})
    subsampling = _common(facts["subsampling"][facts["codec"] == "JPEG"]) or "4:2:0"
    return Codec.model_validate({"name": name, "quality": int(np.nanmedian(facts["quality"])), "subsampling": subsampling})


def check_codec(codec: Codec, real: str) -> None:
    """Warn when real images were written with another codec: lossless and JPEG pictures are told apart by their grain alone.

    The warning is one line of the log and names the remedy, `--codec match`.

    Args:
        codec: of the synthetic images.
        real: any source of `load_split`, or `pocket:PART`.
    """
    real_codec = codec_of(real)
    alike = real_codec.name == codec.name and (codec.name == "png" or abs((real_codec.quality or 95) - (codec.quality or 95)) <= 2)
    if not alike:
        logger.warning(
            "the pictures are written as %s, but most of %s are %s: a model can tell the domains apart by the codec alone; add --codec match",
            codec,
            real,
            real_codec,
        )


def _facts(real: str) -> dict[str, np.ndarray]:
    split = open_images(real)
    places = np.linspace(0, len(split) - 1, min(SAMPLE, len(split))).round().astype(int)
    return split.select(places).metadata


def _common(values: np.ndarray) -> str:
    return Counter(str(value) for value in values).most_common(1)[0][0]
