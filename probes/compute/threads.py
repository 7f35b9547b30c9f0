"""Keep linear algebra on one thread: many small fits wait for each other on several."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from threading import Lock, RLock
from typing import Any, ParamSpec, TypeVar

Params = ParamSpec("Params")
Result = TypeVar("Result")
Item = TypeVar("Item")


def one_thread(function: Callable[Params, Result]) -> Callable[Params, Result]:
    """Run a function with BLAS and OpenMP of NumPy, SciPy and scikit-learn on one thread, and put their number back afterwards.

    The matrices of a probe are small (a few thousand by a few hundred): on several threads they are no faster when the machine is
    idle and several times slower when it is not. One thread also gives the same bits on every machine of a kind.
    """

    @wraps(function)
    def limited(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        from threadpoolctl import threadpool_limits

        with ONE_THREAD, threadpool_limits(limits=1, user_api="openmp"):  # a limit of OpenMP is that of the thread that sets it
            return function(*args, **kwargs)

    return limited


class _Limit:
    """One thread of BLAS from when the first of several callers comes until the last one has gone: they may run at the same time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        from threadpoolctl import threadpool_limits

        with self._lock:
            if self._inside == 0:
                _let_any_thread_set_limits()
                self._limiter = threadpool_limits(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _let_any_thread_set_limits()
                self._limiter.restore_original_limits()
                self._limiter = None
                _let_any_thread_set_limits()


def _let_any_thread_set_limits() -> None:
    """Let the next caller set the threads of OpenBLAS: threadpoolctl from 3.8 on obeys the first thread that ever did, and ignores others in silence."""
    import threadpoolctl

    clear = getattr(getattr(threadpoolctl, "OpenBLASController", None), "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


ONE_THREAD = _Limit()
"""Enter it for one thread of BLAS."""


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Do work on every item in threads, one a core, and return the results in the order of the items.

    After an error, or Ctrl-C, work that has begun ends and no more begins.

    Args:
        work: takes one thread for itself.
        items: any number.
    """
    if len(items) < 2 or cores() < 2:
        return [work(item) for item in items]
    pool = ThreadPoolExecutor(min(cores(), len(items)))
    try:
        return [future.result() for future in [pool.submit(work, item) for item in items]]
    finally:
        pool.shutdown(cancel_futures=True)


def one_at_a_time(function: Callable[Params, Result]) -> Callable[Params, Result]:
    """Let one thread at a time into a function."""
    lock = RLock()

    @wraps(function)
    def locked(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        with lock:
            return function(*args, **kwargs)

    return locked
