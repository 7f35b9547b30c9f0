"""The text side of a model with two towers: texts in, embeddings in the space of its images out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.text.prompts import fill

EncodeText = Callable[[list[str]], Tensor]
"""Texts -> raw embeddings (N, D)."""


@dataclass(frozen=True)
class TextTower:
    """The text side of a two-tower model.

    Args:
        encode: texts -> raw embeddings (N, D).
        logit_scale: multiplier of the cosines.
        logit_bias: added to every logit (SigLIP).
        templates: prompts of the model itself, each with `{}`; empty: those of the experiment.
        model: whole model, whose text weights a state dict may hold; None where nothing can be filled in.
    """

    encode: EncodeText
    logit_scale: float = 100.0
    logit_bias: float = 0.0
    templates: tuple[str, ...] = ()
    model: nn.Module | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> TextTower:
        """Return the tower itself: it is frozen, and a copy of an image encoder needs no copy of it."""
        return self

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Embed texts, each distinct one once: unit float32 rows (N, D)."""
        return embed_distinct(self.encode, texts)

    def class_weights(self, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Compute zero-shot classifier weights (D, C) with the model's own prompts, or with `templates` where it has none."""
        return prompt_weights(self.embed, class_names, self.templates or templates)


@torch.inference_mode()
def embed_distinct(encode: EncodeText, texts: Sequence[str], *, batch_size: int = 256) -> Tensor:
    """Embed texts, each distinct one once.

    Args:
        encode: texts -> raw embeddings (N, D).
        texts: N texts.
        batch_size: texts in one forward pass.

    Returns:
        Unit float32 rows, shape (N, D), in the order of `texts`.
    """
    distinct = sorted(set(texts))
    parts = [encode(distinct[start : start + batch_size]) for start in range(0, len(distinct), batch_size)]
    rows = F.normalize(torch.cat(parts).float(), dim=-1)
    place = {text: row for row, text in enumerate(distinct)}
    return rows[[place[text] for text in texts]].clone()


def prompt_weights(embed: Callable[[Sequence[str]], Tensor], class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Compute zero-shot classifier weights: the mean over templates of unit text embeddings, normalised again.

    Args:
        embed: texts -> unit rows (N, D).
        class_names: C names.
        templates: prompts with `{}` for the name.

    Returns:
        Unit columns, float32, shape (D, C).

    Source: Radford et al. (2021), section 3.1.4 (prompt ensembling in embedding space).
    """
    prompts = [prompt for name in class_names for prompt in fill(templates, name)]
    rows = embed(prompts).view(len(class_names), len(templates), -1).mean(dim=1)
    return F.normalize(rows, dim=-1).T.contiguous()
