"""An encoder together with its images: the input of probes that change images and encode them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probes.embeddings import EmbeddingTable
from probes.eval_mode import eval_mode

if TYPE_CHECKING:
    from torch import Tensor, nn

Encode = Callable[[Any], Any]
"""Images (B, 3, H, W) float32 in [0, 1] -> raw embeddings (B, D); normalisation and resizing live inside."""

EmbedText = Callable[[list[str]], np.ndarray]
"""M texts -> unit rows (M, D) in the space of the class weights."""


@dataclass(frozen=True, eq=False)
class ProbeInput:
    """One encoder, its table, and the images that the table's rows are of.

    Args:
        table: embeddings of N images.
        pixels: uint8 arrays (n, 3, H, W) that hold the table's images one after another, N in all; memory maps are fine.
        encode: the encoder.
        class_names: C names.
        embed_text: the teacher's text tower, or None where there is none.
        fast_encode: the same function as `encode` in fewer passes, for embeddings alone; None for `encode` itself.

    Raises:
        ValueError: for pixels that are not uint8 images of one size, or not as many as the table has rows.
    """

    table: EmbeddingTable
    pixels: Sequence[np.ndarray]
    encode: Encode
    class_names: tuple[str, ...]
    embed_text: EmbedText | None = None
    fast_encode: Encode | None = None

    def __post_init__(self) -> None:
        for part in self.pixels:
            if part.dtype != np.uint8 or part.ndim != 4 or part.shape[1] != 3:
                raise ValueError(f"`pixels` must be uint8 of shape (n, 3, H, W), got {part.dtype} {part.shape}; decode the images to RGB.")
        sizes = {part.shape[2:] for part in self.pixels}
        if len(sizes) != 1:
            raise ValueError(f"`pixels` must have one size, got {sorted(sizes)}; resize the images first.")
        count = sum(map(len, self.pixels))
        if count != len(self.table):
            raise ValueError(f"`pixels` must hold the {len(self.table)} images of the table, got {count}; embed the same images.")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        height, width = self.pixels[0].shape[2:]
        return int(height), int(width)

    @property
    def module(self) -> nn.Module | None:
        """The encoder as a torch module, or None where it is another callable."""
        from torch import nn

        return self.encode if isinstance(self.encode, nn.Module) else None

    def raw(self, rows: np.ndarray) -> np.ndarray:
        """Return the images of some rows of the table, uint8, shape (len(rows), 3, H, W)."""
        rows = np.asarray(rows)
        images = np.empty((len(rows), 3, *self.size), dtype=np.uint8)
        first = 0
        for part in self.pixels:
            here = (rows >= first) & (rows < first + len(part))
            images[here] = part[rows[here] - first]
            first += len(part)
        return images

    def images(self, rows: np.ndarray) -> Tensor:
        """Return the images of some rows of the table, float32 in [0, 1], shape (len(rows), 3, H, W)."""
        import torch

        return torch.from_numpy(self.raw(rows)).float() / 255

    def embed(self, images: Tensor, *, batch_size: int = 500) -> np.ndarray:
        """Embed images without gradients and in eval mode; each module is put back into its own mode.

        Args:
            images: float, in [0, 1], shape (n, 3, H, W).
            batch_size: images in one forward pass.

        Returns:
            Unit rows, float32, shape (n, D).
        """
        import torch
        from torch.nn import functional as F

        encode = self.encode if self.fast_encode is None else self.fast_encode
        with torch.inference_mode(), eval_mode(encode):
            parts = [F.normalize(encode(images[at : at + batch_size]).float(), dim=-1) for at in range(0, len(images), batch_size)]
        return torch.cat(parts).cpu().numpy()
