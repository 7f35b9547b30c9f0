"""Whether the hub answers at all: asked once and shortly, since its client tries a silent one again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

TIMEOUT = 10.0
"""Seconds to wait for the hub's first answer."""


def why_silent() -> str:
    """Say why the hub does not answer; nothing where it does, whatever it says."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # whatever the client in use raises
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ""


@contextmanager
def cache_alone(silent: str) -> Iterator[None]:
    """Let the hub's client look into its cache only, at once, while the hub is silent.

    Args:
        silent: from `why_silent`.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or bool(silent)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
