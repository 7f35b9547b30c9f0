"""Losses: pure functions of named tensors, found under one name each and mixed by weights."""

from distill.losses.contract import Batch, Loss, Option, StateSizes
from distill.losses.feature import l2
from distill.losses.mix import build_states, check_names, check_options, describe, find_loss, mixed_loss, needs_of, properties
from distill.losses.registry import LOSSES

__all__ = [
    "LOSSES",
    "Batch",
    "Loss",
    "Option",
    "StateSizes",
    "build_states",
    "check_names",
    "check_options",
    "describe",
    "find_loss",
    "l2",
    "mixed_loss",
    "needs_of",
    "properties",
]
