"""Every probe by its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from probes.drift import drift
from probes.result import ProbeResult
from probes.separability import separability
from probes.transfer import transfer

PROBES: dict[str, Callable[..., ProbeResult]] = {"transfer": transfer, "separability": separability, "drift": drift}


def find_probe(name: str) -> Callable[..., ProbeResult]:
    """Give the probe of this name.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    if name not in PROBES:
        near = difflib.get_close_matches(name, PROBES, n=3) or sorted(PROBES)
        raise ValueError(f"`name` must be a probe, got {name!r}; choose from {near}.")
    return PROBES[name]
