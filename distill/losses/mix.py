"""A weighted mix of losses: check its names and options, build its state, sum its terms, describe its properties."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from distill.losses.contract import Batch, Loss, Need, StateSizes
from distill.losses.registry import LOSSES
from distill.system.plugins import load_plugin, plugin_names

Options = Mapping[str, Mapping[str, float]]
"""Loss -> option -> value."""


def find_loss(name: str) -> Loss:
    """Find a loss of ours, or of an installed package (entry point group `synthgap.losses`).

    Raises:
        ValueError: for an unknown name, with the nearest known ones, or for a package's loss that is not a `Loss`.
    """
    if name in LOSSES:
        return LOSSES[name]
    loss = load_plugin("synthgap.losses", name)
    if isinstance(loss, Loss):
        return loss
    if loss is not None:
        raise ValueError(f"`{name}` of the group synthgap.losses must be a distill.losses.Loss, got {type(loss).__name__}; build one.")
    known = sorted({*LOSSES, *plugin_names("synthgap.losses")})
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
    meant = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known)}."
    raise ValueError(f"`loss` must name one of {len(known)} losses (docs/losses.md), got {name!r}; {meant}")


def check_names(names: Mapping[str, float]) -> None:
    """Refuse an empty mix, unknown names and weights that are not positive.

    Raises:
        ValueError: naming the loss, with the nearest known names.
    """
    if not names:
        raise ValueError(f"`loss` must name at least one loss, got none; choose from {', '.join(sorted(LOSSES))}.")
    for name, weight in names.items():
        find_loss(name)
        if not 0 < weight < float("inf"):
            raise ValueError(f"the weight of `loss` {name} must be a positive number, got {weight}; leave the loss out to switch it off.")


def check_options(weights: Mapping[str, float], options: Options) -> None:
    """Refuse options of losses that are not in the mix, unknown options, and values out of range.

    Args:
        weights: loss -> weight.
        options: loss -> option -> value.

    Raises:
        ValueError: naming the loss and the option.
    """
    for name, options_of_loss in options.items():
        if name not in weights:
            raise ValueError(f"`options` must be of a loss in the mix {sorted(weights)}, got {name!r}; add the loss or drop its options.")
        known = find_loss(name).options
        for key, value in options_of_loss.items():
            if key not in known:
                raise ValueError(f"the options of {name} must be among {sorted(known)}, got {key!r}; leave it out.")
            low, high = known[key].low, known[key].high
            if not low <= value <= high:
                raise ValueError(f"`{key}` of {name} must be in [{low:g}, {high:g}], got {value}; change it.")


def needs_of(weights: Mapping[str, float]) -> frozenset[Need]:
    """Return the fields of the batch that a mix reads."""
    return frozenset(need for name in weights for need in find_loss(name).needs)


def build_states(weights: Mapping[str, float], options: Options, sizes: StateSizes, *, seed: int) -> nn.ModuleDict:
    """Build the state of a mix (heads, memories), each from its own seed, leaving the global generator as it was.

    A student therefore has the same initial weights and the same later draws whatever state its losses have.

    Args:
        weights: loss -> weight.
        options: loss -> option -> value in place of the published one.
        sizes: of the training.
        seed: of the student.

    Returns:
        Loss -> module, for the losses that have a state.
    """
    states: dict[str, nn.Module] = {}
    for name in weights:
        loss = find_loss(name)
        if loss.build is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed * 1_000_003 + 700_000)
                states[name] = loss.build(sizes, **loss.defaults(options.get(name)))
    return nn.ModuleDict(states)


def mixed_loss(
    batch: Batch,
    weights: Mapping[str, float],
    *,
    states: Mapping[str, nn.Module] | nn.ModuleDict | None = None,
    options: Options | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum the weighted losses.

    Args:
        batch: fields that they read.
        weights: loss -> weight.
        states: loss -> its module, from `build_states`.
        options: loss -> option -> value in place of the published one.

    Returns:
        The scalar to minimise, and each unweighted term by its name, detached, for the log.

    Raises:
        ValueError: when the batch lacks what a loss needs.
    """
    terms = {name: _term(name, batch, states or {}, (options or {}).get(name)) for name in weights}
    total = sum(weight * terms[name] for name, weight in weights.items())
    return total, {name: term.detach() for name, term in terms.items()}  # type: ignore[return-value]


def _term(name: str, batch: Batch, states: Mapping[str, nn.Module] | nn.ModuleDict, overrides: Mapping[str, float] | None) -> Tensor:
    loss = find_loss(name)
    if missing := [need for need in loss.needs if getattr(batch, need) is None]:
        raise ValueError(f"`batch.{missing[0]}` must be given for the loss {name}, got None; leave the loss out or give it.")
    if loss.function is not None:
        return loss.function(batch, **loss.defaults(overrides))
    if name not in states:
        raise ValueError(f"`states` must hold the {loss.state or 'state'} of the loss {name}, got none; make it with `build_states`.")
    return states[name](batch)


def properties(weights: Mapping[str, float]) -> tuple[Literal["image", "text"] | None, bool | None]:
    """Return the target and the negatives of a mix; None where its terms differ, or the target is neither an image nor a text."""
    targets = {find_loss(name).target for name in weights}
    negatives = {find_loss(name).negatives for name in weights}
    target = targets.pop() if len(targets) == 1 else None
    return target if target in ("image", "text") else None, negatives.pop() if len(negatives) == 1 else None  # type: ignore[return-value]


def describe(weights: Mapping[str, float]) -> dict[str, object]:
    """Return the properties of a mix as JSON types: targets, negatives, softness, needs and states of its terms."""
    losses = {name: find_loss(name) for name in weights}
    return {
        "targets": sorted({loss.target for loss in losses.values()}),
        "negatives": any(loss.negatives for loss in losses.values()),
        "soft": sorted({{True: "soft", False: "hard", None: "none"}[loss.soft] for loss in losses.values()}),
        "needs": sorted(needs_of(weights)),
        "states": sorted({loss.state for loss in losses.values() if loss.state}),
    }
