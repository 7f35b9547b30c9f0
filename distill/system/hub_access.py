"""Whether the hub answers: checked once with a short timeout, since its client retries for minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

TIMEOUT = 10.0
"""Seconds to wait for the hub's first answer."""


def hub_error() -> str:
    """Return why the hub does not answer, in one line; empty where it does."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # whatever the client in use raises
        return first_line(error)
    return ""


def why_unreachable(kind: Literal["model", "data set"], name: str) -> str:
    """Return why a model or data set of the hub cannot be reached, in one line; empty where it is there.

    Args:
        kind: "model" or "data set".
        name: its id, OWNER/NAME.

    Raises:
        FileNotFoundError: when the hub answers and has no such model or data set.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    if error_line := hub_error():
        return error_line
    request_info = HfApi().model_info if kind == "model" else HfApi().dataset_info
    try:
        request_info(name, timeout=TIMEOUT)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise FileNotFoundError(
            f"hub {kind} `{name}` must exist and be open to you, got none; check the name, or log in for a gated one."
        ) from error
    except Exception as error:  # whatever the client in use raises for a hub that does not answer
        return first_line(error)
    return ""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def cache_alone(silent: str) -> Iterator[None]:
    """Set the hub's client offline while the hub does not answer, so that it looks into its cache at once.

    Args:
        silent: from `hub_error`; empty changes nothing.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or bool(silent)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
