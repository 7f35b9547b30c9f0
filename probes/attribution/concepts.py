"""Testing with concept activation vectors (TCAV, captum): whether named concepts raise a number of the encoder more than random ones do."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from probes.attribution.attribution_maps import Target, check_scalar, prepare_encoder, target_directions
from probes.attribution.methods.preserved_state import undisturbed
from probes.attribution.scalars import domain_logit
from probes.edits import EDITS, Material
from probes.stats.intervals import as_score

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.differentiable import AttributionTarget
    from probes.probe_input import ProbeInput
    from probes.result import Score

RANDOM_SETS = 12
"""Random concepts, each of as many images as a named one."""
FEWEST_IMAGES = 8
FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class ConceptScore:
    """The TCAV score of a concept beside those of random concepts.

    Both intervals count how far one random concept differs from another.

    Args:
        score: share of the images whose number rises with the concept, mean over the random sets it was set against; chance 1/2.
        sensitivity: mean slope of the number along the concept's vector of unit length, chance 0. It tells concepts apart where the share
            is 0 or 1 for random ones too. Its interval leaves 0 out when `p` is below 0.05.
        p: two-sided t-test of the concept's sensitivity as one more draw among those of the random concepts.
        p_runs: the paper's two-sided t-test, of the concept's scores in its runs against runs of random concepts. The runs share the
            concept's images, which the test does not know; it calls random concepts significant far too often (see the documentation).
        random: (R,) scores of the random concepts.
    """

    score: Score
    sensitivity: Score
    p: float
    p_runs: float
    random: np.ndarray


def edited_concept(images: np.ndarray, edit: str, *, seed: int = 0) -> np.ndarray:
    """Make a concept of an edit, such as `grey`: the images after it.

    Args:
        images: (n, 3, H, W) uint8.
        edit: an edit without a partner, a key of `probes.edits.EDITS`.
        seed: seed of edits that draw.

    Raises:
        ValueError: for an unknown edit or one that needs a partner.
    """
    import torch

    alone = sorted(name for name, row in EDITS.items() if row.kind in ("removes", "isolates"))
    if edit not in alone:
        raise ValueError(f"`edit` must be one of {alone}, got {edit!r}; choose one that needs no partner.")
    keys = np.random.default_rng(seed).integers(0, 2**31, len(images))
    edited = EDITS[edit].apply(Material(torch.from_numpy(np.ascontiguousarray(images)).float() / 255, keys))
    return (edited.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def read_concept(folder: Path | str, size: tuple[int, int]) -> np.ndarray:
    """Read the pictures of a folder as a concept, each cut to the middle and resized, (n, 3, H, W) uint8.

    Args:
        folder: holds PNG, JPEG or WebP files; other files are passed over.
        size: (H, W) of the encoder's images.

    Raises:
        FileNotFoundError: for a folder that does not exist.
        ValueError: for a folder with too few pictures.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"`folder` must be a folder that exists, got {folder}; check the path.")
    pictures = []
    for path in sorted(file for file in folder.iterdir() if file.is_file()):
        try:
            with Image.open(path, formats=FORMATS) as image:
                pictures.append(np.asarray(ImageOps.fit(image.convert("RGB"), (size[1], size[0]), Image.Resampling.BICUBIC)))
        except UnidentifiedImageError:
            continue
    if len(pictures) < FEWEST_IMAGES:
        raise ValueError(f"`folder` must hold at least {FEWEST_IMAGES} pictures, got {len(pictures)} in {folder}; add some.")
    return np.stack(pictures).transpose(0, 3, 1, 2)


def tcav(
    probe_input: ProbeInput,
    rows: np.ndarray,
    concepts: Mapping[str, np.ndarray],
    *,
    of: str = "zero_shot",
    class_weights: np.ndarray | None = None,
    target: Target = "true",
    random_sets: int = RANDOM_SETS,
    seed: int = 0,
) -> dict[str, ConceptScore]:
    """Score named concepts: does the number rise when the last feature map moves towards the concept?

    Random concepts are drawn from the images of the table that are not explained.

    Args:
        probe_input: the encoder with its images.
        rows: (n,) rows of the table whose number is explained.
        concepts: name -> (m, 3, H, W) uint8 images that show it, see `read_concept` and `edited_concept`.
        of: `zero_shot` or `domain`, as in `probes.attribution.maps`.
        class_weights: (D, C), needed for `zero_shot`.
        target: class of the zero-shot logit: the label's, or the one the encoder predicts.
        random_sets: random concepts R; R (R + 1) / 2 vectors are fitted for the first concept.
        seed: seed of the random concepts and of the domain probe.

    Returns:
        Name -> score and tests.

    Raises:
        ValueError: for concepts that do not fit the encoder, too few images, or an encoder without a feature map.

    Source: Kim et al. (2018), sections 3.3 and 3.5.
    """
    import torch

    check_scalar(of, class_weights)
    rows = np.atleast_1d(np.asarray(rows))
    _check(probe_input, rows, concepts, random_sets)
    if of == "zero_shot" and class_weights is not None:
        directions = target_directions(probe_input, rows, class_weights, target)
    else:
        directions = domain_logit(probe_input.table, seed=seed).directions(rows)
    rng = np.random.default_rng(seed)
    pool = np.setdiff1d(np.arange(len(probe_input)), rows)
    scores = {}
    with undisturbed(probe_input.encode):
        torch.manual_seed(seed)
        encoder = prepare_encoder(probe_input)
        for name, images in concepts.items():
            sets = [probe_input.raw(np.sort(rng.choice(pool, min(len(images), len(pool)), replace=False))) for _ in range(random_sets)]
            wins = _wins(encoder, [images, *sets], probe_input.images(rows), torch.from_numpy(directions))
            scores[name] = judge_concept(*wins)
    return scores


def _check(probe_input: ProbeInput, rows: np.ndarray, concepts: Mapping[str, np.ndarray], random_sets: int) -> None:
    if not concepts:
        raise ValueError("`concepts` must name at least one concept, got none; see `edited_concept` and `read_concept`.")
    for name, images in concepts.items():
        if images.dtype != np.uint8 or images.shape[1:] != (3, *probe_input.size) or len(images) < FEWEST_IMAGES:
            raise ValueError(
                f"`concepts` must be uint8 of shape (n, 3, {probe_input.size[0]}, {probe_input.size[1]}) with n >= {FEWEST_IMAGES}, "
                f"got {images.dtype} {images.shape} for {name!r}; resize them, or give more."
            )
    if random_sets < 3:
        raise ValueError(f"`random_sets` must be at least 3, got {random_sets}; {RANDOM_SETS} is enough for most uses.")
    others = len(probe_input) - len(np.unique(rows))
    if not len(rows) or others < 2 * FEWEST_IMAGES:
        raise ValueError(f"`rows` must leave at least {2 * FEWEST_IMAGES} images for random concepts, got {others}; explain fewer.")


def _wins(encoder: AttributionTarget, sets: list[np.ndarray], images: Tensor, directions: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Ask captum for the TCAV scores and the mean slopes of each set against each other one, (R + 1, R + 1) each; NaN on the diagonal.

    Args:
        encoder: the encoder.
        sets: images of the concepts.
        images: (n, 3, H, W), explained.
        directions: (n, D).
    """
    import torch
    from captum.concept import TCAV, Concept
    from torch.utils.data import DataLoader

    from probes.attribution.methods.captum_model import CosineModel, private_copy

    if encoder.layer is None:
        raise ValueError(f"`probe_input` cannot be explained by concepts: {encoder.unavailable['grad_cam']}")
    model = CosineModel(private_copy(encoder.encode), encoder.needed_layer).eval()  # type: ignore[arg-type]
    concepts = [
        Concept(number, f"set-{number}", DataLoader(torch.from_numpy(pixels.copy()).float() / 255, batch_size=encoder.batch))  # type: ignore[arg-type]
        for number, pixels in enumerate(sets)
    ]
    pairs = [[concepts[first], concepts[second]] for first in range(len(sets)) for second in range(first + 1, len(sets))]
    shares, slopes = np.zeros((2, len(sets), len(sets)))
    with tempfile.TemporaryDirectory(prefix="synthgap-tcav-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = TCAV(model, "spot", classifier=_classifier(), save_path=folder)
        for start in range(0, len(images), encoder.batch):
            part = slice(start, start + encoder.batch)
            scores = explainer.interpret(images[part].clone(), pairs, additional_forward_args=directions[part])
            for pair in pairs:
                first, second = pair[0].id, pair[1].id
                answer = scores[f"{first}-{second}"]["spot"]
                for total, key in ((shares, "sign_count"), (slopes, "magnitude")):
                    one, other = answer[key].tolist()
                    total[first, second] += one * len(images[part]) / len(images)
                    total[second, first] += other * len(images[part]) / len(images)
    np.fill_diagonal(shares, np.nan)
    np.fill_diagonal(slopes, np.nan)
    return shares, slopes


def _classifier() -> Any:
    """Make a linear classifier that is the same in every run; captum's default draws its split and its descent at random."""
    import torch
    from captum.concept import Classifier
    from sklearn.linear_model import RidgeClassifier

    class Ridge(Classifier):
        """Concept against concept by ridge regression; the vectors have unit length."""

        def __init__(self) -> None:
            self.model = RidgeClassifier()

        def train_and_eval(self, dataloader: Any, **settings: Any) -> dict[str, Any]:
            inputs, labels = (torch.cat(parts).numpy() for parts in zip(*dataloader, strict=True))
            self.model.fit(inputs, labels)
            return {"accs": torch.tensor(self.model.score(inputs, labels))}

        def weights(self) -> Tensor:
            coefficients = torch.from_numpy(np.asarray(self.model.coef_)).float().reshape(1, -1)
            coefficients = coefficients / coefficients.norm().clamp(min=1e-12)
            return torch.cat([-coefficients, coefficients])

        def classes(self) -> list[int]:
            return [int(label) for label in self.model.classes_]

    return Ridge()


def judge_concept(shares: np.ndarray, slopes: np.ndarray) -> ConceptScore:
    """Judge the first set by the others, which are random concepts.

    With R random sets, s_a the mean of set a against the other random ones, c the chance level and u_a = (s_a - c) (R - 1) / R, a further
    random set has the mean c and a variance of (1 + 1 / R) times that of u: the tests and intervals are Student's with R - 1 degrees.

    Args:
        shares: (R + 1, R + 1) TCAV score of the row's set against the column's, NaN on the diagonal.
        slopes: (R + 1, R + 1) mean slopes.
    """
    from scipy import stats

    count = len(shares) - 1
    score, _ = _among_random(shares, 0.5, (0.0, 1.0))
    sensitivity, p = _among_random(slopes, 0.0, (-np.inf, np.inf))
    against = shares[1 + np.arange(count), 1 + (np.arange(count) + 1) % count]  # each random set against the next one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # runs that are all alike
        p_runs = float(stats.ttest_ind(shares[0, 1:], against, equal_var=False).pvalue)
    return ConceptScore(score, sensitivity, p, p_runs if np.isfinite(p_runs) else 1.0, np.nanmean(shares[1:, 1:], axis=1))


def _among_random(wins: np.ndarray, chance: float, bounds: tuple[float, float]) -> tuple[Score, float]:
    from scipy import stats

    count = len(wins) - 1
    deviations = (np.nanmean(wins[1:, 1:], axis=1) - chance) * (count - 1) / count
    spread = float(deviations.std(ddof=1)) * np.sqrt(1 + 1 / count)
    value = float(wins[0, 1:].mean())
    p = float(2 * stats.t.sf(abs(value - chance) / spread, count - 1)) if spread > 0 else float(value == chance)
    half = spread * float(stats.t.ppf(0.975, count - 1))
    return as_score(value, (value - half, value + half), chance=chance, bounds=bounds), p
