"""Keep freed memory for the next batch: returning it to the system and taking it again costs page faults in every step."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's `mallopt` (malloc.h)."""

LARGEST_MMAP_THRESHOLD = 32 * 2**20
"""Above it glibc refuses the threshold (DEFAULT_MMAP_THRESHOLD_MAX on 64-bit systems)."""


def keep_freed_memory(*, threads: bool = False) -> bool:
    """Tell glibc to hold on to what is freed, for the rest of this process; elsewhere nothing happens.

    Changes no result. Activations of a batch are some megabytes each, which glibc maps and unmaps by default.

    Args:
        threads: do the same for threads that start from now on: they share the memory of the process, where each would have an arena of its own,
            which is too small for a batch.

    Returns:
        Whether it was done.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library, such as musl
        return False
    settings = [(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD), (M_TRIM_THRESHOLD, 2**31 - 1), *([(M_ARENA_MAX, 1)] if threads else [])]
    return all(bool(mallopt(*setting)) for setting in settings)
