"""How the processes of a launcher find each other, also after some of them were killed and all were started again.

torchrun keeps one key-value store for all its restarts, and torch's own `env://` puts the addresses of a group under the same keys each time.
A process that has started again can then read where its killed partner listened, and is refused (pytorch issues 135712 and 167288). Counting the
restarts does not help: each host counts its own. So the first process names every meeting anew, and gives the name only to those who ask now.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from torch import distributed as processes

from distill.errors import DistillError

SCHEME = "anew"
"""`init_method="anew://"` is torch's `env://` with keys of its own for every start."""

LONGEST_MEETING = timedelta(minutes=30)
"""How long the others may take to start; torch's own limit for making a group."""

POLL = 0.05
"""Seconds between two looks at who has asked."""


def name_of_meeting(store: processes.Store, rank: int, world: int, *, longest: timedelta = LONGEST_MEETING) -> str:
    """Agree on a name that no earlier start has used, whatever earlier starts have left in the store.

    A process asks under a word that nobody else has, so an answer can only be meant for it; questions of killed processes get answers that nobody
    reads. The first process is done when all living ones have counted themselves under its name.

    Args:
        store: seen by all processes.
        rank: number of this process; 0 names the meeting.
        world: number of processes.
        longest: how long to wait for the others.

    Raises:
        DistillError: when they do not come.
    """
    until = time.monotonic() + longest.total_seconds()
    own = uuid.uuid4().hex
    if rank:
        store.set(f"synthgap/question/{rank}", own)
        answer = f"synthgap/answer/{own}"
        while not store.check([answer]):
            _wait(until, longest, "no answer from the first of them")
        name = store.get(answer).decode()
        store.add(f"{name}/here", 1)
        return name
    answered: dict[str, bytes] = {}
    while (here := store.add(f"{own}/here", 0)) < world - 1:
        for question in (f"synthgap/question/{other}" for other in range(1, world)):
            if store.check([question]) and (word := store.get(question)) != answered.get(question):
                store.set(f"synthgap/answer/{word.decode()}", own)
                answered[question] = word
        _wait(until, longest, f"{here + 1} of {world}")
    return own


def _wait(until: float, longest: timedelta, found: str) -> None:
    if time.monotonic() > until:
        raise DistillError(
            f"processes of a launcher must all start within {longest}, got {found}; look for the first error in the output of the others."
        )
    time.sleep(POLL)


def _anew(url: str, timeout: timedelta = LONGEST_MEETING, **options: Any) -> Iterator[tuple[processes.Store, int, int]]:
    from torch.distributed.rendezvous import rendezvous

    timeout = min(timeout, LONGEST_MEETING)  # the store gets the longer one of the group afterwards
    store, rank, world = next(iter(rendezvous("env" + url.removeprefix(SCHEME), timeout=timeout, **options)))
    yield processes.PrefixStore(name_of_meeting(store, rank, world), store), rank, world


if processes.is_available():
    from torch.distributed.rendezvous import register_rendezvous_handler

    register_rendezvous_handler(SCHEME, _anew)


def is_lost_process(error: BaseException) -> bool:
    """Tell an error that only says that another process, or the way to it, is gone, as gloo and torch's store raise it."""
    known = processes.is_available() and isinstance(error, (processes.DistNetworkError, processes.DistStoreError))
    return known or (isinstance(error, RuntimeError) and "gloo/transport" in str(error))
