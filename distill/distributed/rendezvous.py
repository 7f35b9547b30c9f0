"""How the processes of a launcher find each other, also after some of them were killed and all were started again.

torchrun keeps one key-value store for all its restarts, and torch's own `env://` puts the addresses of a group under the same keys each time.
A process that has started again can then read where its killed partner listened, and is refused (pytorch issues 135712 and 167288). Counting the
restarts does not help: each host counts its own. So the first process draws a new rendezvous id for every start, and answers only those who ask now.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import timedelta

from torch import distributed as processes

from distill.errors import DistillError

SCHEME = "anew"
"""`init_method="anew://"` is torch's `env://` with keys of its own for every start."""

RENDEZVOUS_TIMEOUT = timedelta(minutes=30)
"""How long the processes may take to start; torch's own limit for making a group."""

POLL = 0.05
"""Seconds between two looks into the store."""


def agree_on_rendezvous_id(store: processes.Store, rank: int, world: int, *, timeout: timedelta = RENDEZVOUS_TIMEOUT) -> str:
    """Agree on an id that no earlier start has used, whatever earlier starts have left in the store.

    Each process asks with a random token of its own, so that an answer can only be meant for it; answers to killed processes are read by
    nobody. The first process returns when all others have counted themselves under its id.

    Args:
        store: seen by all processes.
        rank: of this process; 0 draws the id.
        world: number of processes.
        timeout: how long to wait for the others.

    Returns:
        The id, 32 hexadecimal digits, the same in every process.

    Raises:
        DistillError: when they do not come in time.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    token = uuid.uuid4().hex
    if rank:
        store.set(f"synthgap/question/{rank}", token)
        answer = f"synthgap/answer/{token}"
        while not store.check([answer]):
            _wait_or_raise(deadline, timeout, "no answer from the first of them")
        name = store.get(answer).decode()
        store.add(f"{name}/here", 1)
        return name
    answers: dict[str, bytes] = {}
    while (joined := store.add(f"{token}/here", 0)) < world - 1:
        for question in (f"synthgap/question/{other}" for other in range(1, world)):
            if store.check([question]) and (asked := store.get(question)) != answers.get(question):
                store.set(f"synthgap/answer/{asked.decode()}", token)
                answers[question] = asked
        _wait_or_raise(deadline, timeout, f"{joined + 1} of {world}")
    return token


def _wait_or_raise(deadline: float, timeout: timedelta, joined: str) -> None:
    if time.monotonic() > deadline:
        raise DistillError(
            f"processes of a launcher must all start within {timeout}, got {joined}; look for the first error in the output of the others."
        )
    time.sleep(POLL)


def _rendezvous_handler(url: str, timeout: timedelta = RENDEZVOUS_TIMEOUT, **options: object) -> Iterator[tuple[processes.Store, int, int]]:
    from torch.distributed.rendezvous import rendezvous

    timeout = min(timeout, RENDEZVOUS_TIMEOUT)  # the store gets the longer one of the group afterwards
    store, rank, world = next(iter(rendezvous("env" + url.removeprefix(SCHEME), timeout=timeout, **options)))
    yield processes.PrefixStore(agree_on_rendezvous_id(store, rank, world), store), rank, world


if processes.is_available():
    from torch.distributed.rendezvous import register_rendezvous_handler

    register_rendezvous_handler(SCHEME, _rendezvous_handler)


def is_lost_process(error: BaseException) -> bool:
    """Tell an error that only says that another process, or the way to it, is gone, as gloo and torch's store raise it."""
    known = processes.is_available() and isinstance(error, (processes.DistNetworkError, processes.DistStoreError))
    return known or (isinstance(error, RuntimeError) and "gloo/transport" in str(error))
