"""Run encoders in eval mode and leave each of their modules in the mode it was in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def eval_mode(encode: Callable[..., Any]) -> Iterator[None]:
    """Put every module behind `encode` into eval mode, and each back into its own mode at the end, also after an exception.

    Args:
        encode: a module, a bound method of one, or any callable.
    """
    owner = encode if hasattr(encode, "modules") else getattr(encode, "__self__", None)
    modules: list[Any] = list(getattr(owner, "modules", list)())
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
