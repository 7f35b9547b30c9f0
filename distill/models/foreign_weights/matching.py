"""Match the names of a state dict with those of a model: below which prefix it lies, and what the other tensors are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.models.foreign_weights.files import plain_name

COUNTERS = {"num_batches_tracked", "n_averaged", "total_ops", "total_params"}
"""Last parts of names of counters: of batch norm, of averages over the training, of profilers."""

RECOMPUTED = {"position_ids", "relative_position_index", "relative_coords_table", "attn_mask"}
"""Last parts of names of buffers that a model computes when it is built. Older versions saved them."""

TEXT_TOWERS = {
    "text",
    "text_model",
    "text_encoder",
    "text_tower",
    "text_decoder",
    "textual",
    "text_projection",
    "text_proj",
    "text_backbone",
}
"""First parts of names that belong to texts."""

OPENAI_TEXT = {"transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection"}
"""First parts of names of the text tower in models that are laid out as OpenAI's CLIP."""

SCALES = {"logit_scale", "logit_bias", "temperature", "logit_temperature"}
"""Numbers that scale cosines and leave embeddings alone."""


@dataclass(frozen=True)
class Match:
    """Which tensor of a file goes where in a model.

    Args:
        names: name in the model -> name in the file.
        prefix: what stands before every name in the file, without wrapper parts.
        rest: names in the file that the model does not have, with wrapper parts taken out -> as in the file.
        copies: other prefixes below which the file holds the whole model with the same numbers.
    """

    names: dict[str, str]
    prefix: str
    rest: dict[str, str]
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Leftover:
    """The tensors of a file that a model does not have.

    Args:
        unused: reason -> names as in the file, of tensors that do not belong to the image model.
        harmless: names as in the file, of tensors that hold nothing learnt.
        unexplained: plain names of all others.
    """

    unused: dict[str, tuple[str, ...]]
    harmless: tuple[str, ...]
    unexplained: list[str]


def is_recomputed(name: str) -> bool:
    """Tell whether a tensor of this name holds nothing that was learnt."""
    return name.rpartition(".")[2] in COUNTERS | RECOMPUTED


def match_names(module: nn.Module, weights: Mapping[str, Tensor], where: str, key: str = "") -> Match:
    """Find the prefix below which a state dict holds all tensors of a model.

    Args:
        module: model to fill.
        weights: name -> tensor.
        where: what errors call the weights.
        key: entry of the file that the weights lie under, if any.

    Returns:
        The match below the one prefix that holds the whole model; where none does, below the prefix that holds most of it.

    Raises:
        ValueError: where the whole model is there more than once with different numbers, as a student and its average.
    """
    expected = module.state_dict()
    model_names = _plain_names(expected)
    names = _plain_names(weights)
    if len(model_names) < len(expected):  # the model itself has two parts that differ by a wrapper's name alone
        model_names, names = {name: name for name in expected}, {name: name for name in weights}
    elif len(names) < len(weights):
        _refuse_twice(weights, where)
    tied = [_place(expected[name]) for name in model_names.values()]
    needed = [name for name, place in zip(model_names, tied, strict=True) if not is_recomputed(name) and tied.count(place) == 1]
    needed = needed or [name for name in model_names if not is_recomputed(name)]
    prefixes = _prefixes(needed, names)
    whole = [prefix for prefix in prefixes if all(prefix + name in names for name in needed)]
    copies: list[str] = []
    if len(whole) > 1:
        whole, copies = _distinct(whole, needed, names, model_names, weights, expected)
    if len(whole) > 1:
        choices = " or ".join(f"`{where}#{prefix.rstrip('.') or key}`" for prefix in whole if prefix or key)
        raise ValueError(f"the weights in {where} must hold the model once, got it under {whole}; keep one of them, as with {choices}.")
    best = whole[0] if whole else max(prefixes, key=lambda prefix: sum(prefix + name in names for name in needed), default="")
    matched = {original: names[best + plain] for plain, original in model_names.items() if best + plain in names}
    used = set(matched.values())
    return Match(matched, best, {plain: original for plain, original in names.items() if original not in used}, tuple(copies))


def _plain_names(names: Iterable[str]) -> dict[str, str]:
    return {plain_name(name): name for name in names}


def _refuse_twice(weights: Mapping[str, Tensor], where: str) -> None:
    seen: dict[str, str] = {}
    for name in weights:
        other = seen.setdefault(plain_name(name), name)
        if other != name:
            raise ValueError(f"the weights in {where} must hold each tensor once, got `{other}` and `{name}`; keep one of them.")


def _prefixes(needed: list[str], names: Mapping[str, str]) -> list[str]:
    """List what can stand before the names of a model: before its longest name, or else before any of its names."""
    by_length = sorted(needed, key=len, reverse=True)
    for name in by_length:
        prefixes = {other[: -len(name)] for other in names if other == name or other.endswith(f".{name}")}
        if prefixes:
            return sorted(prefixes)
    return [""]


def _distinct(
    prefixes: list[str],
    needed: list[str],
    names: Mapping[str, str],
    model_names: Mapping[str, str],
    weights: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
) -> tuple[list[str], list[str]]:
    """Keep the prefixes whose tensors have the model's shapes, and one of those that hold the same numbers; return these copies apart."""
    fitting = [
        prefix for prefix in prefixes if all(weights[names[prefix + name]].shape == expected[model_names[name]].shape for name in needed)
    ] or prefixes
    first = fitting[0]
    copies = [
        prefix for prefix in fitting[1:] if all(_equal(weights[names[prefix + name]], weights[names[first + name]]) for name in needed)
    ]
    return [prefix for prefix in fitting if prefix not in copies], copies


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def missing_names(module: nn.Module, match: Match) -> list[str]:
    """List the tensors of a model that the file lacks, without those that hold nothing learnt or are tied to one that it has."""
    state, parameters = module.state_dict(), dict(module.named_parameters(remove_duplicate=False))
    filled = {_place(state[name]) for name in match.names}
    lacking = [name for name in state if name not in match.names and _place(state[name]) not in filled]
    return sorted(name for name in lacking if name in parameters or not is_recomputed(name))


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def leftover_of(match: Match, module: nn.Module, weights: Mapping[str, Tensor]) -> Leftover:
    """Part the tensors that a model does not have into those known to leave its embeddings alone and those that are not explained.

    Args:
        match: of the file with the model.
        module: the model.
        weights: name -> tensor.

    Returns:
        All of them, each once.
    """
    buffers = {plain_name(name): buffer for name, buffer in module.named_buffers()}
    own_names = {plain_name(name) for name in match.names}
    openai = any(plain.split(".")[-2:] == ["token_embedding", "weight"] for plain in match.rest)
    unused: dict[str, list[str]] = {}
    harmless, unexplained = [], []
    for plain, name in match.rest.items():
        if _is_harmless(plain, weights[name], match.prefix, buffers):
            harmless.append(name)
        elif any(plain.startswith(prefix) and plain.removeprefix(prefix) in own_names for prefix in match.copies):
            unused.setdefault("equal copy", []).append(name)
        elif reason := _reason(plain, weights[name], match.prefix, openai=openai):
            unused.setdefault(reason, []).append(name)
        else:
            unexplained.append(plain)
    return Leftover({reason: tuple(names) for reason, names in unused.items()}, tuple(harmless), sorted(unexplained))


def _is_harmless(plain: str, tensor: Tensor, prefix: str, buffers: Mapping[str, Tensor]) -> bool:
    """Tell a buffer that the model has with the same values, without saving it, and other tensors that hold nothing learnt."""
    buffer = buffers.get(plain.removeprefix(prefix)) if plain.startswith(prefix) else None
    if buffer is None:
        return is_recomputed(plain)
    return buffer.shape == tensor.shape and torch.equal(buffer.to(tensor.dtype), tensor)


def _reason(plain: str, tensor: Tensor, prefix: str, *, openai: bool) -> str | None:
    if tensor.numel() == 1 and plain.rpartition(".")[2] in SCALES:
        return "scale of cosines"
    beside = [plain.removeprefix(start) for start in ancestors(prefix) if plain.startswith(start) and (start != prefix or not prefix)]
    firsts = {name.split(".")[0] for name in beside}
    if firsts & TEXT_TOWERS or (openai and prefix and firsts & OPENAI_TEXT):
        return "text tower"
    return None


def ancestors(prefix: str) -> list[str]:
    """List the beginnings of a prefix, shortest first: `a.b.` has ``, `a.` and `a.b.`."""
    parts = prefix.split(".")[:-1]
    return [".".join([*parts[:count], ""]) if count else "" for count in range(len(parts) + 1)]
