"""Training views that are a pure function of (seed, view, image), so that teacher embeddings of them can be kept.

A view is one affine crop with a flip and one linear map of colours, and optionally a blend with the view of a partner
image (mixup). All draws of view k come from one generator seeded by (seed, k) and are stored as a table with a row for
each image: the same image in the same view has the same pixels in every student, epoch, process and resumed run.
"""

from __future__ import annotations

import hashlib
import json

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

# Rotation of the colour circle in YIQ, where hue is an angle and luma is untouched (NTSC matrix, FCC 1953).
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_LUMA = _YIQ[0]


class ViewConfig(BaseModel):
    """How strong the views are, and how many of them each image has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int = Field(4, ge=1, description="views of each image; epoch e shows view e modulo count")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the views, the same for every student")
    min_area: float = Field(0.5, gt=0, le=1, description="smallest share of the image's area that a crop keeps")
    shift: float = Field(0.0, ge=0, le=0.5, description="largest shift as a share of the side, in whole pixels, edges mirrored")
    max_ratio: float = Field(4 / 3, ge=1, description="largest aspect ratio of a crop")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a mirror image")
    brightness: float = Field(0.2, ge=0, le=1, description="largest relative change of brightness")
    contrast: float = Field(0.2, ge=0, le=1, description="largest relative change of contrast")
    saturation: float = Field(0.2, ge=0, le=1, description="largest relative change of saturation")
    hue: float = Field(0.0, ge=0, le=0.5, description="largest turn of the hue, in turns")
    mixup: float = Field(0.0, ge=0, le=1, description="share of the images that are blended with a partner")

    @property
    def key(self) -> str:
        """Hash of all settings that change the pixels, without `count`."""
        return hashlib.sha256(json.dumps(self.model_dump(exclude={"count"}), sort_keys=True).encode()).hexdigest()[:16]


class Views:
    """The views of a set of N images.

    Args:
        config: strengths and seed.
        n: number of images.
    """

    def __init__(self, config: ViewConfig, n: int) -> None:
        self.config = config
        self.n = n
        self._table: tuple[int, dict[str, Tensor]] | None = None

    def draws(self, view: int) -> dict[str, Tensor]:
        """Draw the random numbers of view k: name -> tensor with N rows (`partner` holds indices, `blend` shares in [0, 1])."""
        if self._table is None or self._table[0] != view:
            c = self.config
            g = torch.Generator().manual_seed(c.seed * 1_000_003 + view)
            uniform = torch.rand(self.n, 10, generator=g)
            partner = torch.randperm(self.n, generator=g)
            mixed = uniform[:, 8] < c.mixup
            table = {
                "area": c.min_area + (1 - c.min_area) * uniform[:, 0],
                "ratio": torch.exp((2 * uniform[:, 1] - 1) * torch.log(torch.tensor(c.max_ratio))),
                "shift_x": c.shift * (2 * torch.rand(self.n, generator=g) - 1),
                "shift_y": c.shift * (2 * torch.rand(self.n, generator=g) - 1),
                "x": 2 * uniform[:, 2] - 1,
                "y": 2 * uniform[:, 3] - 1,
                "flip": torch.where(uniform[:, 4] < c.flip, -1.0, 1.0),
                "brightness": 1 + c.brightness * (2 * uniform[:, 5] - 1),
                "contrast": 1 + c.contrast * (2 * uniform[:, 6] - 1),
                "saturation": 1 + c.saturation * (2 * uniform[:, 7] - 1),
                "hue": 2 * torch.pi * c.hue * (2 * torch.rand(self.n, generator=g) - 1),
                "partner": torch.where(mixed, partner, torch.arange(self.n)),
                "blend": torch.where(mixed, uniform[:, 9], 0.0),
            }
            self._table = (view, table)
        return self._table[1]

    def images(self, pixels: Tensor, indices: Tensor, view: int) -> Tensor:
        """Draw view k of some images.

        Args:
            pixels: all N images, uint8, shape (N, 3, H, W); may be memory-mapped.
            indices: rows to draw, int64, shape (B,).
            view: which view, at least 0.

        Returns:
            float32 images in [0, 1], shape (B, 3, H, W).
        """
        draws = self.draws(view)
        images = self._single(pixels, indices, draws)
        blend = draws["blend"][indices]
        mixed = blend.nonzero().squeeze(1)
        if len(mixed):
            partners = self._single(pixels, draws["partner"][indices[mixed]], draws)
            share = blend[mixed].view(-1, 1, 1, 1)
            images[mixed] = (1 - share) * images[mixed] + share * partners
        return images

    def targets(self, table: Tensor, indices: Tensor, view: int) -> Tensor:
        """Blend per-image unit targets (such as text embeddings) as the view blends its images, then normalise again.

        Args:
            table: one unit row for each of the N images, shape (N, D).
            indices: rows to return, shape (B,).
            view: which view.

        Returns:
            Unit rows, shape (B, D).
        """
        return F.normalize(self.shares(table, indices, view), dim=-1)

    def shares(self, table: Tensor, indices: Tensor, view: int) -> Tensor:
        """Blend rows as `targets` does, without normalising: class shares keep their sum of one.

        Args:
            table: one row for each of the N images, shape (N, C).
            indices: rows to return, int64, shape (B,).
            view: number of the view.

        Returns:
            Shape (B, C).
        """
        draws = self.draws(view)
        share = draws["blend"][indices].unsqueeze(1)
        return (1 - share) * table[indices] + share * table[draws["partner"][indices]]

    def _single(self, pixels: Tensor, indices: Tensor, draws: dict[str, Tensor]) -> Tensor:
        rows = {name: value[indices] for name, value in draws.items()}
        images = pixels[indices].float().div_(255)
        return _colour(_crop(images, rows), rows).clamp_(0, 1)


def _crop(images: Tensor, rows: dict[str, Tensor]) -> Tensor:
    """Resample a crop of the wanted area, ratio, place and mirror in one bilinear pass."""
    width = (rows["area"] * rows["ratio"]).sqrt().clamp(max=1)
    height = (rows["area"] / rows["ratio"]).sqrt().clamp(max=1)
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = width * rows["flip"]
    theta[:, 1, 1] = height
    # A whole number of pixels keeps an image that is only shifted as sharp as those of the test.
    h, w = images.shape[-2:]
    theta[:, 0, 2] = (1 - width) * rows["x"] + 2 * (rows["shift_x"] * w).round() / w
    theta[:, 1, 2] = (1 - height) * rows["y"] + 2 * (rows["shift_y"] * h).round() / h
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _colour(images: Tensor, rows: dict[str, Tensor]) -> Tensor:
    """Apply brightness, saturation, hue and contrast as one 3 x 3 matrix and one offset for each image."""
    n = len(images)
    luma = torch.ones(3, 1) @ _LUMA[None]
    saturation = rows["saturation"].view(-1, 1, 1)
    matrix = saturation * torch.eye(3) + (1 - saturation) * luma
    cos, sin = rows["hue"].cos(), rows["hue"].sin()
    turn = torch.zeros(n, 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    matrix = torch.linalg.inv(_YIQ) @ turn @ _YIQ @ matrix * rows["brightness"].view(-1, 1, 1)
    flat = torch.bmm(matrix, images.flatten(2))
    mean = (_LUMA @ flat).mean(dim=-1).view(-1, 1, 1)
    contrast = rows["contrast"].view(-1, 1, 1)
    return (contrast * flat + (1 - contrast) * mean).view_as(images)
