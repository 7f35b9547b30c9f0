"""Errors as one line and an exit code: whose fault it is, and what to do."""

from __future__ import annotations

import os

from app.terminal.console import say


def is_user_error(error: Exception) -> bool:
    """Tell bad input, which gets one line and exit code 2, from a fault of ours."""
    from distill.errors import DistillError
    from probes.result import DiagnosticError

    return isinstance(
        error,
        (
            DistillError,
            DiagnosticError,
            FileNotFoundError,
            FileExistsError,
            ValueError,
            PermissionError,
            IsADirectoryError,
            NotADirectoryError,
        ),
    ) or (isinstance(error, OSError) and error.errno is not None)


def exit_code(error: Exception | SystemExit) -> int | str | None:
    """Print what went wrong as one line on standard error, and choose the exit code.

    Args:
        error: what ended the command, `SystemExit` among them.

    Returns:
        The code of a `SystemExit` unchanged, 2 for bad input, 3 for a fault of synthgap.

    Raises:
        Exception: the error itself, where SYNTHGAP_DEBUG is set.
    """
    if isinstance(error, SystemExit):
        if error.code == 130:  # typer has turned Ctrl-C into this
            say("interrupted: what was finished is kept; add --resume to go on.")
        return error.code
    if os.environ.get("SYNTHGAP_DEBUG"):
        raise error
    line = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:  # the system's own words, which name no remedy
        line = f"{error.filename or 'the file'} must be usable, got {error.strerror}; check the path, its rights and the space left."
    if is_user_error(error):
        say(f"error: {line}")
        return 2
    if os.environ.get("WORLD_SIZE", "1") != "1" and _is_lost_process(error):
        say(
            f"error: the other processes must keep running, got {line}; look for the first error in their output and start again with --resume."
        )
        return 2
    say(f"fault of synthgap, please report it: {type(error).__name__}: {line}\nSYNTHGAP_DEBUG=1 shows where.")
    return 3


def _is_lost_process(error: Exception) -> bool:
    from distill.distributed.rendezvous import is_lost_process

    return is_lost_process(error)
