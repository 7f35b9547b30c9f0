"""Keep linear algebra on one thread: many small fits wait for each other on several."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Found = TypeVar("Found")


def one_thread(function: Callable[Given, Found]) -> Callable[Given, Found]:
    """Run a function with BLAS and OpenMP of NumPy, SciPy and scikit-learn on one thread, and put their number back afterwards.

    The matrices of a probe are small (a few thousand by a few hundred): on several threads they are no faster when the machine is
    idle and several times slower when it is not. One thread also gives the same bits on every machine of a kind.
    """

    @wraps(function)
    def limited(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        with ONE_THREAD:
            return function(*args, **kwargs)

    return limited


class _Limit:
    """One thread from when the first of several callers comes until the last one has gone: they may run at the same time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        from threadpoolctl import threadpool_limits

        with self._lock:
            if self._inside == 0:
                self._limiter = threadpool_limits(limits=1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limiter.unregister()
                self._limiter = None


ONE_THREAD = _Limit()
"""Enter it for one thread of BLAS and OpenMP."""


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
