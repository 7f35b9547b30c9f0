"""How much memory data may take: the size that a small file claims to unpack to is checked here first."""

from __future__ import annotations

import os

BUDGET_SHARE = 0.5
"""Share of the memory that one source of images may take; the rest is for models and other programs."""


def memory_budget() -> int:
    """Return the bytes that one source of images may take; where the system does not tell its memory, those of a machine of 16 GiB."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        memory = 16 * 2**30
    return int(BUDGET_SHARE * memory)


def check_fits_memory(size: int, name: str, remedy: str) -> None:
    """Refuse data that do not fit into the memory budget.

    Args:
        size: bytes that the data take, or claim to take.
        name: of the data, for the message.
        remedy: what to do, as an order without a full stop.

    Raises:
        ValueError: when it is more than `memory_budget()`.
    """
    if size > memory_budget():
        raise ValueError(
            f"{name} must fit into {memory_budget() / 2**30:.0f} GiB, half of the memory, got {size / 2**30:.0f} GiB; {remedy}."
        )
