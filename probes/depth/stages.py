"""The stages of any encoder: the modules through which every image passes, in order, and their pooled features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from probes.eval_mode import eval_mode

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPER = 0.6
"""A child in which this share of all leaf calls happens only wraps the network; its children are looked at instead."""


def stage_names(module: nn.Module, image: Tensor, *, most: int = 6) -> list[str]:
    """Name up to `most` modules through which images pass one after another, evenly spread from first to last.

    From the top, a module's children are its stages; lists and sequences of modules, and a child that does nearly all the work, are
    opened. So a residual network gives its blocks and a transformer its layers, without code for either.

    Args:
        module: any encoder; its modes and statistics are restored.
        image: (1, 3, H, W) float in [0, 1], shown once.
        most: stages wanted.

    Source: ours.
    """
    calls = _leaf_calls(module, image)
    total = max(sum(calls.values()), 1)
    stages = list(_stages(module, "", calls, total))
    if len(stages) <= most:
        return stages
    return [stages[round(place)] for place in np.linspace(0, len(stages) - 1, most)]


def _stages(module: nn.Module, path: str, calls: dict[str, int], total: int) -> Iterator[str]:
    from torch import nn

    for name, child in module.named_children():
        here = f"{path}.{name}" if path else name
        inside = sum(count for leaf, count in calls.items() if leaf == here or leaf.startswith(f"{here}."))
        if not inside:
            continue
        opened = isinstance(child, nn.ModuleList | nn.Sequential | nn.ModuleDict) or inside > WRAPPER * total
        if opened and any(True for _ in child.children()):
            yield from _stages(child, here, calls, total)
        else:
            yield here


def _leaf_calls(module: nn.Module, image: Tensor) -> dict[str, int]:
    """Count the calls of every module without children during one forward pass."""
    import torch

    calls: dict[str, int] = {}

    def counted(name: str) -> Any:
        def hook(*_: Any) -> None:
            calls[name] = calls.get(name, 0) + 1

        return hook

    with _hooked({name: (leaf, counted(name)) for name, leaf in module.named_modules() if name and not any(True for _ in leaf.children())}):
        with eval_mode(module), torch.inference_mode():
            module(image)
    return calls


def features_at(module: nn.Module, names: list[str], images: Tensor, *, batch_size: int = 250) -> dict[str, np.ndarray]:
    """Compute the pooled features of every stage: mean and spread of each channel over places or tokens, (N, 2 C), or (N, C) for vectors.

    Args:
        module: the encoder.
        names: from `stage_names`; a stage whose output is no tensor with one row an image is left out.
        images: (N, 3, H, W) float in [0, 1].
        batch_size: images in one forward pass.
    """
    import torch

    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    outputs: dict[str, np.ndarray | None] = {}
    count = 0

    def keep(name: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            outputs[name] = pooled(output, count)  # of a stage that is called twice the last output counts

        return hook

    modules = dict(module.named_modules())
    with _hooked({name: (modules[name], keep(name)) for name in names}), eval_mode(module), torch.inference_mode():
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            count = len(part)
            outputs.clear()
            module(part)
            for name in names:
                features = outputs.get(name)
                if features is not None:
                    kept[name].append(features)
    return {name: np.concatenate(parts) for name, parts in kept.items() if sum(map(len, parts)) == len(images)}


def pooled(output: Any, count: int) -> np.ndarray | None:
    """Pool a module's output to one row an image, (count, F) float32; None where it has no row an image.

    Maps may have their channels second or last: with one size in the other two axes it is plain, and second when in doubt. Tokens may be
    (N, P, C) or (P, N, C).
    """
    import torch

    while isinstance(output, list | tuple) and len(output):
        output = output[0]
    if isinstance(output, dict) and output:
        output = next(iter(output.values()))
    if not isinstance(output, torch.Tensor) or not output.is_floating_point():
        return None
    values = output.detach().float()
    if values.ndim == 3 and values.shape[0] != count and values.shape[1] == count:
        values = values.transpose(0, 1)
    if values.ndim < 2 or values.ndim > 4 or values.shape[0] != count:
        return None
    if values.ndim == 4:
        last = values.shape[1] == values.shape[2] != values.shape[3]
        values = values.flatten(1, 2) if last else values.flatten(2).transpose(1, 2)
    if values.ndim == 3:
        parts = [values.mean(dim=1)] + ([values.std(dim=1, correction=0)] if values.shape[1] > 1 else [])
        values = torch.cat(parts, dim=1)
    return values.cpu().numpy()


@contextmanager
def _hooked(hooks: dict[str, tuple[Any, Any]]) -> Iterator[None]:
    """Register forward hooks and take them away again, also after an exception."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
