"""Small batches in which every field is given, and losses with their state, for the tests of losses."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.losses import LOSSES, Batch, StateSizes, build_states, mixed_loss

CLASSES = torch.tensor([0, 1, 0, 2, 1, 3])
IMAGES = 20


def rows(n: int = 6, d: int = 5, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=-1)


def full_batch(n: int = 6, d: int = 5, *, scale: float = 5.0, **fields: object) -> Batch:
    """A batch of at most six images of four classes; every field differs from every other."""
    batch = Batch(
        student=rows(n, d),
        teacher=rows(n, d, seed=1),
        text=rows(n, d, seed=2),
        logit_scale=torch.tensor(scale, dtype=torch.float64),
        shares=F.one_hot(CLASSES[:n], 4).double(),
        class_weights=rows(4, d, seed=3).T,
        teacher_scale=7.0,
        rows=torch.tensor([3, 17, 8, 0, 11, 5])[:n],
        masked=rows(n, d, seed=4),
        momentum=rows(n, d, seed=5),
    )
    return dataclasses.replace(batch, **fields)


def pick(batch: Batch, order: Tensor) -> Batch:
    """Rows of a batch, in an order."""
    fields = ("student", "teacher", "text", "shares", "rows", "masked", "momentum")
    return dataclasses.replace(batch, **{name: getattr(batch, name)[order] for name in fields})


def fresh_states(name: str, d: int = 5) -> dict[str, torch.nn.Module]:
    return dict(build_states({name: 1.0}, {}, StateSizes(images=IMAGES, embed_dim=d), seed=0).double())


def value(name: str, batch: Batch, states: dict[str, torch.nn.Module] | None = None) -> Tensor:
    """One loss on one batch; its state starts afresh, or is copied so that the call leaves no trace."""
    known = copy.deepcopy(states) if states is not None else fresh_states(name, batch.student.shape[1])
    return mixed_loss(batch, {name: 1.0}, states=known)[0]


ALL = sorted(LOSSES)
