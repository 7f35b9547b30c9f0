"""Keep linear algebra on one thread: many small fits wait for each other on several."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Found = TypeVar("Found")


def one_thread(function: Callable[Given, Found]) -> Callable[Given, Found]:
    """Run a function with BLAS and OpenMP of NumPy, SciPy and scikit-learn on one thread, and put their number back afterwards.

    The matrices of a probe are small (a few thousand by a few hundred): on several threads they are no faster when the machine is
    idle and several times slower when it is not. One thread also gives the same bits on every machine of a kind.
    """

    @wraps(function)
    def limited(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1):
            return function(*args, **kwargs)

    return limited
