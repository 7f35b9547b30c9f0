"""Two ways to the same result, measured in turn in one process: seconds, processor seconds, and the ratio with its spread."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Run:
    """One repetition: `clock` seconds, `cpu` user and system seconds of this process and its ended children, and what came out."""

    clock: float
    cpu: float
    result: Any = None


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        work: what is done.
        against: by what it is compared; empty where the goal is a time.
        ours: repetitions of ours.
        theirs: repetitions of the other, in turn with ours.
        goal: text of the goal.
        least: least ratio that meets it, or None.
        most: most seconds that meet it, or None.
        flops: floating point operations that the result needs, of one repetition.
        moved: bytes that have to pass the memory at least once.
        limit: what bounds it, where neither arithmetic nor memory does.
        note: sizes, what was checked, what was reduced and why.
        factor: unit of the ratio where it is not seconds (images a second ...).
    """

    work: str
    against: str
    ours: Sequence[Run]
    theirs: Sequence[Run] = ()
    goal: str = ""
    least: float | None = None
    most: float | None = None
    flops: float = 0.0
    moved: float = 0.0
    limit: str = ""
    note: str = ""
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Their seconds over ours, pair by pair."""
        return [theirs.clock / ours.clock for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def cpu_ratio(self) -> float:
        """Their processor seconds over ours, median of the pairs: what other work on the machine disturbs least."""
        return statistics.median(theirs.cpu / ours.cpu for ours, theirs in zip(self.ours, self.theirs, strict=True))

    @property
    def met(self) -> bool:
        """Whether the median meets the goal."""
        if self.most is not None:
            return median(self.ours) <= self.most
        return self.least is None or statistics.median(self.ratios) >= self.least


def median(runs: Sequence[Run]) -> float:
    """Return the median seconds."""
    return statistics.median(run.clock for run in runs)


def median_cpu(runs: Sequence[Run]) -> float:
    """Return the median processor seconds."""
    return statistics.median(run.cpu for run in runs)


def once(work: Callable[[], Any]) -> Run:
    """Run it and measure."""
    cpu, clock = _cpu(), time.perf_counter()
    result = work()
    return Run(time.perf_counter() - clock, _cpu() - cpu, result)


def in_turn(ours: Callable[[], Any], theirs: Callable[[], Any], *, rounds: int, warm: bool = True) -> tuple[list[Run], list[Run]]:
    """Run both in turn, the first one changing from round to round, so that what else the machine does falls on both alike.

    Args:
        ours: no arguments; its result is kept in the runs.
        theirs: the same.
        rounds: repetitions of each.
        warm: run both once before, unmeasured (compilation, first touch of files).
    """
    if warm:
        ours(), theirs()
    first: list[Run] = []
    second: list[Run] = []
    for number in range(rounds):
        for work, runs in ((ours, first), (theirs, second))[:: 1 if number % 2 == 0 else -1]:
            runs.append(once(work))
    return first, second


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
