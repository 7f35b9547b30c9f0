"""What a loss is given (`Batch`), its row in the registry (`Loss`), and the sizes its state is built from (`StateSizes`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

Target = Literal["image", "text", "scores", "labels", "relations"]
"""What a student is pulled to: the teacher's embedding of the image; a text; the teacher's scores of several texts; the labels;
or only the teacher's distances between images."""

Need = Literal["teacher", "text", "logit_scale", "shares", "class_weights", "teacher_scale", "rows", "masked", "momentum"]
"""The fields of `Batch` that a loss may ask for."""


@dataclass(frozen=True)
class Batch:
    """Tensors that a loss may read; embeddings are unit rows, and a field that no loss of the mix needs is None.

    Args:
        student: the student's embeddings of the views, shape (N, D), with gradient.
        teacher: the teacher's embeddings of the very same views, shape (N, D).
        text: the teacher's embeddings of each view's class prompt or caption, shape (N, D).
        logit_scale: multiplier of cosines in contrastive terms, a scalar; has a gradient where the temperature is learned.
        shares: share of each class in each view, rows that sum to one, shape (N, C); one-hot without mixup.
        class_weights: zero-shot classifier weights, unit columns, shape (D, C).
        teacher_scale: multiplier of cosines that the teacher itself was trained with.
        rows: which image of the training set each view shows, int64, shape (N,).
        masked: the student's embeddings of the same views with most patches hidden, shape (N, D), with gradient.
        momentum: embeddings of the views by the moving average of the student, shape (N, D), without gradient.
    """

    student: Tensor
    teacher: Tensor | None
    text: Tensor | None
    logit_scale: Tensor
    shares: Tensor | None = None
    class_weights: Tensor | None = None
    teacher_scale: float = 100.0
    rows: Tensor | None = None
    masked: Tensor | None = None
    momentum: Tensor | None = None


@dataclass(frozen=True)
class StateSizes:
    """Sizes that the state of a loss is built from.

    Args:
        images: number N of training images.
        embed_dim: dimension D of the embeddings.
    """

    images: int
    embed_dim: int


@dataclass(frozen=True)
class Option:
    """A number that a loss can be given in the config.

    Args:
        default: the published value.
        low: smallest that is allowed.
        high: largest that is allowed.
    """

    default: float
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Loss:
    """A loss and the properties by which it is compared with others.

    Args:
        function: (`Batch`, its options by name) -> scalar mean over the batch; None where `build` is given.
        target: what the student is pulled to.
        negatives: whether it pushes the student off others: images or texts of the batch, of a memory, or other classes.
        soft: whether the right answer is a distribution; False where it is one item (or ties), None where nothing is chosen from.
        needs: fields of the batch that it reads, besides `student`.
        joint: whether an image's term depends on the other images of the batch; None stands for the same as `negatives`.
        options: name -> what a config may change.
        build: (`StateSizes`, options by name) -> a module that takes the `Batch`, for a loss with parameters or a memory.
        state: name of what that module keeps, such as `memory bank`.
        smallest_batch: below it the loss is constant or undefined.
        formula: as in docs/losses.md, Markdown in its notation.
        source: paper, short.
        trained_as: loss -> weight of the mix that it is published in; empty where it is trained alone.
        learns_temperature: whether the published loss learns its temperature.
        equals: what its value equals by an identity, such as `squared_l2 divided by D`; its student is a check of the program.
    """

    function: Callable[..., Tensor] | None
    target: Target
    negatives: bool
    soft: bool | None = None
    needs: tuple[Need, ...] = ("teacher", "text", "logit_scale")
    joint: bool | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    build: Callable[..., nn.Module] | None = None
    state: str = ""
    smallest_batch: int = 1
    formula: str = ""
    source: str = ""
    trained_as: Mapping[str, float] = field(default_factory=dict)
    learns_temperature: bool = False
    equals: str = ""

    def defaults(self, overrides: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return the value of every option: the published one, or that of `overrides`."""
        return {name: option.default for name, option in self.options.items()} | dict(overrides or {})
