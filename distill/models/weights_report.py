"""What was read of somebody's weights, and what was not: the record that `load_encoder_with_report` returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

MOST_NAMES = 6
"""Names that a sentence lists one by one; more of them are put together by what their names begin with."""

MOST_GROUPS, LONGEST_NAME = 20, 100
"""Bounds on a sentence about names that somebody else chose; the report itself holds all of them."""


@dataclass(frozen=True)
class WeightsReport:
    """How the weights of an encoder were read.

    Args:
        source: file, folder or hub id that the weights came from; empty where the model brought its own or was drawn at random.
        key: entry of the file that was read, such as `state_dict_ema`; empty where the file is a plain state dict.
        prefix: what was taken off every name, such as `module.visual.`; wrapper parts (`_orig_mod`, `module`) are not counted.
        used: number of tensors of the source that the encoder holds.
        unused: reason -> names of the tensors that the encoder does not hold.
        harmless: names of tensors that hold nothing learnt, such as counters and buffers that the model computes itself.
        projection: the linear projection that was added for tensors beside the model, such as `proj.weight (64, 512)`; empty for none.
        precision: what was converted, such as `float16 to float32`; empty for nothing.
        notes: further sentences, such as the wrappers that were taken off.
    """

    source: str = ""
    key: str = ""
    prefix: str = ""
    used: int = 0
    unused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    harmless: tuple[str, ...] = ()
    projection: str = ""
    precision: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_unusual(self) -> bool:
        """Whether something was left out, added or converted."""
        return bool(self.unused or self.projection or self.precision or self.notes)

    def summary(self) -> str:
        """Return one line that says what was read, added, converted and left out."""
        where = f" below `{self.prefix}`" if self.prefix else ""
        entry = f" of `{self.key}`" if self.key else ""
        parts = [f"{self.used} tensors{entry}{where} are used"] if self.used else []
        if self.projection:
            parts.append(f"{self.projection} is used as a linear projection of the features")
        parts += [f"not used ({reason}): {name_tensors(names)}" for reason, names in self.unused.items()]
        if self.precision:
            parts.append(f"{self.precision} is converted, the model runs in float32")
        return "; ".join([*parts, *self.notes])

    def joined(self, other: WeightsReport) -> WeightsReport:
        """Return this report with the conversions and notes of another one, which came before it."""
        precisions = dict.fromkeys(text for text in (other.precision, self.precision) if text)
        return replace(
            self,
            unused={**other.unused, **self.unused},
            precision=", ".join(precisions),
            notes=(*other.notes, *self.notes),
        )


def name_tensors(names: Iterable[str]) -> str:
    """Name every tensor: one by one where they are few, else by their common beginning, or by their first parts, with counts."""
    names = sorted(name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..." for name in names)
    if len(names) <= MOST_NAMES:
        return ", ".join(f"`{name}`" for name in names)
    parts = [name.split(".") for name in names]
    depth = next((place for place, same in enumerate(zip(*parts, strict=False)) if len(set(same)) > 1), min(map(len, parts)) - 1)
    groups = _groups(names, max(depth, 1))
    listed = list(groups.items())[:MOST_GROUPS]
    more = sum(groups.values()) - sum(count for _, count in listed)
    return ", ".join([f"`{start}` ({count})" if count > 1 else f"`{start}`" for start, count in listed] + [f"and {more} more"] * bool(more))


def _groups(names: list[str], depth: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        parts = name.split(".")
        start = name if len(parts) <= depth else ".".join(parts[:depth]) + ".*"
        counts[start] = counts.get(start, 0) + 1
    return counts


def precision_of(tensors: Iterable[Tensor]) -> str:
    """Return `float16 to float32` for tensors that hold other than float32 numbers, or an empty text."""
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors if tensor.is_floating_point() and tensor.dtype != torch.float32}
    return f"{', '.join(sorted(kinds))} to float32" if kinds else ""


def to_float32(model: nn.Module) -> str:
    """Convert the parameters and buffers of a model to float32, in place.

    Returns:
        What was converted, as `precision_of` says it.
    """
    converted = precision_of([*model.parameters(), *model.buffers()])
    if converted:
        model.float()
    return converted
