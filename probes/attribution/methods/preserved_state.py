"""Take gradients of an encoder and leave it, and the random state of the process, as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from probes.eval_mode import eval_mode


@contextmanager
def undisturbed(encode: Any) -> Iterator[None]:
    """Put every module behind `encode` into eval mode and allow gradients; put modes and global random states back, also after an error.

    Gradients are taken with `torch.autograd.grad`, which writes to no parameter, so `.grad` and `requires_grad` need no care.

    Args:
        encode: a module, a bound method of one, or any callable.
    """
    import torch

    numbers, python = np.random.get_state(), random.getstate()  # noqa: NPY002 -- the global state is what must be kept
    with torch.random.fork_rng(), torch.inference_mode(False), torch.enable_grad(), eval_mode(encode):
        try:
            yield
        finally:
            np.random.set_state(numbers)  # noqa: NPY002
            random.setstate(python)
