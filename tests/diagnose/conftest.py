"""Stand-in subjects: encoders made of fixed arithmetic, images whose class and domain are painted in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from diagnose.inputs.subjects import Images, Subject

CLASSES = ("cat", "dog", "<b>ship</b>")
SIDE = 6


def paint(domain: str, count: int, *, seed: int = 0) -> Images:
    """Give images whose red channel tells the class; on synthetic images the green one tells it too, on real ones it misleads."""
    random = np.random.default_rng([seed, domain == "real"])
    labels = np.arange(count) % len(CLASSES)
    green = labels if domain == "synthetic" else random.permutation(labels)
    pixels = random.integers(0, 40, (count, 3, SIDE, SIDE)).astype(np.uint8)
    pixels[:, 0] += (70 * labels).astype(np.uint8)[:, None, None]
    pixels[:, 1] += (70 * green).astype(np.uint8)[:, None, None]
    pixels[:, 2] += np.uint8(60 if domain == "real" else 0)
    return Images(domain, np.array([f"{domain}-{i}" for i in range(count)]), labels, pixels, CLASSES)  # type: ignore[arg-type]


def encoder(green: float, *, noise: float = 0.02, seed: int = 0) -> Callable[[torch.Tensor], torch.Tensor]:
    """Give an encoder that reads the class from red and, by the share `green`, from green."""
    centres = torch.tensor([20.0, 90.0, 160.0]) / 255
    mixing = torch.randn(3 * SIDE * SIDE, 4, generator=torch.Generator().manual_seed(seed)) * noise

    def encode(images: torch.Tensor) -> torch.Tensor:
        level = (1 - green) * images[:, 0].mean((1, 2)) + green * images[:, 1].mean((1, 2))
        near = -40 * (level[:, None] - centres) ** 2
        return torch.cat([near.exp(), images[:, 2].mean((1, 2))[:, None]], dim=1) + images.flatten(1) @ mixing

    return encode


@pytest.fixture(scope="session")
def real() -> Images:
    return paint("real", 150)


@pytest.fixture(scope="session")
def synthetic() -> Images:
    return paint("synthetic", 150)


@pytest.fixture(scope="session")
def class_weights() -> np.ndarray:
    return np.eye(4, 3)


@pytest.fixture
def teacher() -> Subject:
    return Subject("teacher <i>", encoder(0.0, noise=0.001), 1000, weights_hash="teacher")


def student(
    loss: str, seed: int, green: float, *, trained_on: str = "synthetic", target: str = "image", negatives: bool = False
) -> Subject:
    """Give a stand-in student."""
    return Subject(
        name=f"{loss}-{trained_on}-{seed}",
        encode=encoder(green, seed=seed),
        params=100,
        loss=loss,
        seed=seed,
        trained_on=trained_on,
        target=target,  # type: ignore[arg-type]
        negatives=negatives,
        curve=[{"epoch": e, "loss": 1 / (e + 1), "zero_shot_real": 0.3 + 0.05 * e, "zero_shot_synthetic": 0.3 + 0.1 * e} for e in range(4)],
        weights_hash=f"{loss}-{trained_on}-{seed}",
    )


@pytest.fixture
def students() -> list[Subject]:
    """Give three losses by two seeds on synthetic images, of which only the text target reads the misleading channel, and the grid."""
    found = []
    for seed in (0, 1):
        found += [
            student("l2", seed, 0.05),
            student("image_image", seed, 0.1, negatives=True),
            student("image_text", seed, 0.8, target="text", negatives=True),
            student("image_text", seed, 0.0, trained_on="real", target="text", negatives=True),
            student("l2", seed, 0.0, trained_on="real"),
        ]
    return found
