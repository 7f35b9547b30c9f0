"""Whether the hub answers at all: asked once and shortly, since its client tries a silent one again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

TIMEOUT = 10.0
"""Seconds to wait for the hub's first answer."""


def hub_error() -> str:
    """Say why the hub does not answer; nothing where it does, whatever it says."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # whatever the client in use raises
        return first_line(error)
    return ""


def why_unreachable(kind: Literal["model", "data set"], name: str) -> str:
    """Say why the hub's model or data set cannot be reached; nothing where it is there.

    Raises:
        FileNotFoundError: when the hub answers, and knows no such one.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    if silent := hub_error():
        return silent
    ask = HfApi().model_info if kind == "model" else HfApi().dataset_info
    try:
        ask(name, timeout=TIMEOUT)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise FileNotFoundError(
            f"hub {kind} `{name}` must exist and be open to you, got none; check the name, or log in for a gated one."
        ) from error
    except Exception as error:  # whatever the client in use raises for a hub that does not answer
        return first_line(error)
    return ""


def first_line(error: Exception) -> str:
    """Give the first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def cache_alone(silent: str) -> Iterator[None]:
    """Let the hub's client look into its cache only, at once, while the hub is silent.

    Args:
        silent: from `hub_error`.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or bool(silent)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
