"""How much fits into the memory of this machine: what a small file claims to unpack to is asked for here first."""

from __future__ import annotations

import os

SHARE = 0.5
"""Part of the memory that one source of images may take; the rest is for the models and for other programs."""


def room() -> int:
    """Give the bytes that one source may take; where the system does not say, those of a machine of 16 GiB."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        memory = 16 * 2**30
    return int(SHARE * memory)


def check_fits_memory(size: int, what: str, remedy: str) -> None:
    """Refuse what cannot be held in memory.

    Args:
        size: bytes that it takes, or says it will take.
        what: what it is.
        remedy: what to do about it.

    Raises:
        ValueError: when it is more than `room()`.
    """
    if size > room():
        raise ValueError(f"{what} must fit into {room() / 2**30:.0f} GiB, half of the memory, got {size / 2**30:.0f} GiB; {remedy}.")
