"""Read text files of users in bounded memory, and say in one sentence what is wrong with them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

MAX_TEXT_BYTES = 64 * 2**20
"""Largest text file that is read whole; configs, contexts and lists of classes are a thousand times smaller."""


def read_text(path: Path, label: str) -> str:
    """Read a text file in UTF-8.

    Args:
        path: a regular file; a pipe or device would be waited for, or never end.
        label: what errors call it, such as `config`.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is too large or no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{label} must be a file that exists, got {path}; check the path.")
    if (size := path.stat().st_size) > MAX_TEXT_BYTES:
        raise ValueError(
            f"{label} must be a text file of at most {MAX_TEXT_BYTES >> 20} MiB, got {size >> 20} MiB in {path}; check the path."
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{label} must be text in UTF-8, got {path} ({error}); save it as plain text.") from error


def read_toml(path: Path, label: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: a regular file.
        label: what errors call it.

    Raises:
        FileNotFoundError, ValueError: as `read_text`, and for what is no TOML.
    """
    text = read_text(path, label)
    try:
        data = tomllib.loads(text)
        repr(data)  # a key of a thousand dots nests as deep, and would fall over wherever a message quotes it
        return data
    except (ValueError, RecursionError) as error:  # a thousand nested brackets go deeper than Python's stack
        raise ValueError(f"{path} must be TOML, got an error: {error}; mend that line.") from error


def read_json(path: Path, label: str) -> Any:
    """Read a JSON file.

    Args:
        path: a regular file.
        label: what errors call it.

    Raises:
        FileNotFoundError, ValueError: as `read_text`, and for what is no JSON.
    """
    return parse_json(read_text(path, label), str(path))


def first_fault(error: ValidationError) -> str:
    """Return the first fault that pydantic found as "`key` must be X, got Y"."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "it"
    if first["type"] == "extra_forbidden":
        return f"unknown key `{where}`, got {str(first['input'])[:80]!r}"
    message = re.sub(r"^[A-Z]\w* should ", "must ", first["msg"].removeprefix("Value error, "))
    return f"`{where}` {message}" if ", got " in message else f"`{where}` {message}, got {str(first['input'])[:80]!r}"


def fault_and_remedy(error: ValidationError, remedy: str = "change it", more: str = "") -> str:
    """Return the first fault as a sentence with a remedy: the fault's own where it has one, else the given one.

    Args:
        error: what pydantic raised.
        remedy: what to do, as an order without a full stop.
        more: what is added before the remedy, such as how many more faults there are.
    """
    message = first_fault(error)
    if re.search(r"; .*[.?]$", message):
        return f"{message}{more}"
    return f"{message}{more}; {remedy}."


def parse_json(text: str | bytes, label: str) -> Any:
    """Parse JSON.

    Args:
        text: the document.
        label: what errors call it.

    Raises:
        ValueError: for what is no JSON, is nested too deeply, or holds half a character, which cannot be written again.
    """
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{label} must be JSON, got an error: {error}; mend that line.") from error
    return data
