"""Published settings of each corruption at each severity, for small images and for large ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SEVERITIES = (1, 2, 3, 4, 5)
SMALL_SIDE, LARGE_SIDE = 32, 224
BOUNDARY = 96
"""Shorter sides below it take the numbers of CIFAR-10-C, others those of ImageNet-C."""

CIFAR: dict[str, tuple[Any, ...]] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": (500, 250, 100, 75, 50),
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg_compression": (80, 65, 58, 50, 40),
}
"""Settings for 32 pixels. Source: CIFAR-10-C, Hendrycks & Dietterich (2019), their make_cifar_c.py."""

IMAGENET: dict[str, tuple[Any, ...]] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    # 244 for 224 is the authors' own slip, kept so that the numbers agree
    "elastic_transform": tuple(
        (a * 244 / 224, s * 244 / 224, t * 244 / 224)
        for a, s, t in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
    ),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "jpeg_compression": (25, 18, 15, 10, 7),
}
"""Settings for 224 pixels. Source: ImageNet-C, Hendrycks & Dietterich (2019), their imagenet_c package."""


@dataclass(frozen=True)
class CorruptionSettings:
    """One corruption at one severity for one image size.

    Args:
        numbers: the published numbers.
        scale: factor for every length in pixels: the shorter side over the side that the numbers were made for.
        source: `CIFAR-10-C` or `ImageNet-C`.
    """

    numbers: Any
    scale: float
    source: str


def corruption_settings(name: str, severity: int, side: int) -> CorruptionSettings:
    """Return the settings of a corruption for one image size.

    Args:
        name: key in `CORRUPTIONS`.
        severity: 1 to 5.
        side: shorter side of the images in pixels.

    Raises:
        ValueError: for an unknown corruption or severity.
    """
    if name not in CIFAR:
        raise ValueError(f"`name` must be a corruption, got {name!r}; choose from {sorted(CIFAR)}.")
    if severity not in SEVERITIES:
        raise ValueError(f"`severity` must be 1 to 5, got {severity}; choose one of these.")
    if side < BOUNDARY:
        return CorruptionSettings(CIFAR[name][severity - 1], side / SMALL_SIDE, "CIFAR-10-C")
    return CorruptionSettings(IMAGENET[name][severity - 1], side / LARGE_SIDE, "ImageNet-C")
