"""What this processor can do, measured in the same run: multiplications a second and bytes a second."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Limits:
    """Best of a few tries, by processor seconds over `threads` threads.

    Args:
        flops: float32 operations a second of a matrix product (2 n^3 of n = 1024), the better of NumPy's and torch's.
        flops64: the same in float64.
        bandwidth: bytes a second of copying 256 MB (read and written).
    """

    threads: int
    flops: float
    flops64: float
    bandwidth: float

    def share(self, flops: float, moved: float, seconds: float) -> float:
        """Return the least time that arithmetic and memory allow, as a share of the measured time, in [0, 1]."""
        return max(flops / self.flops, moved / self.bandwidth) / seconds


def measure(tries: int = 8) -> Limits:
    """Measure now; run it before and after the rows and take the greater, since other work lowers it."""
    import torch

    rng = np.random.default_rng(0)
    rates = {}
    for name, kind in (("flops", np.float32), ("flops64", np.float64)):
        a = rng.normal(size=(1024, 1024)).astype(kind)
        t = torch.from_numpy(a)
        best = min(_seconds(lambda a=a: a @ a, tries), _seconds(lambda t=t: t @ t, tries))
        rates[name] = 2 * 1024**3 / best
    source = torch.ones(32 * 2**20)  # 128 MB
    target = torch.empty_like(source)
    bandwidth = 2 * source.numel() * 4 / _seconds(lambda: target.copy_(source), tries)
    return Limits(torch.get_num_threads(), rates["flops"], rates["flops64"], bandwidth)


def _seconds(work: object, tries: int) -> float:
    """Return the least processor seconds of several tries; other work on the machine is not counted."""
    import torch

    best = float("inf")
    for _ in range(tries + 1):
        start = time.process_time()
        work()  # type: ignore[operator]
        best = min(best, time.process_time() - start)
    return best / torch.get_num_threads()
