"""Results memoised under a hash of content, so that a teacher is measured once for all students of a process."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from probes.embeddings import BLOCK_ROWS, EmbeddingTable, give_back

Result = TypeVar("Result")

ENTRIES = 48
"""Kept at most, the least recently used go first. An entry is a few numbers an image at most."""

_memory: OrderedDict[str, Any] = OrderedDict()
_lock = Lock()
_NOTHING = object()


def remembered(key: str, make: Callable[[], Result]) -> Result:
    """Return what `make` returned the first time this key was asked for in this process.

    All callers share the result: treat it as read-only.

    Args:
        key: from `content`; everything the result depends on has to be in it.
        make: computes the result; when it raises, nothing is kept.
    """
    result = recall(key, _NOTHING)
    if result is _NOTHING:
        result = make()
        keep(key, result)
    return result  # type: ignore[return-value]


def recall(key: str, default: object = None) -> Any:
    """Return what is kept under a key, or `default`.

    Args:
        key: from `content`.
        default: what to return where nothing is kept.
    """
    with _lock:
        if key in _memory:
            _memory.move_to_end(key)
        return _memory.get(key, default)


def keep(key: str, value: object) -> None:
    """Keep a value under a key; the least recently used goes where there are more than `ENTRIES`.

    Args:
        key: from `content`.
        value: what to keep; callers share it.
    """
    with _lock:
        _memory[key] = value
        while len(_memory) > ENTRIES:
            _memory.popitem(last=False)


def forget() -> None:
    """Empty the memory."""
    with _lock:
        _memory.clear()


def content(*parts: EmbeddingTable | np.ndarray | object) -> str:
    """Hash tables and arrays by their content and other values by their `repr`, as 32 hexadecimal digits.

    The name of a table takes no part; its ids, labels, domains and embeddings do.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, EmbeddingTable):
            for array in (part.ids, part.labels, part.domain, part.embeddings):
                _add(digest, array)
        elif isinstance(part, np.ndarray):
            _add(digest, part)
        else:
            digest.update(f"|{part!r}|".encode())
    return digest.hexdigest()[:32]


def _add(digest: Any, array: np.ndarray) -> None:
    digest.update(f"|{array.dtype} {array.shape}|".encode())
    for start in range(0, len(array) if array.ndim else 1, BLOCK_ROWS):  # in blocks: a table may be larger than the memory
        digest.update(np.ascontiguousarray(array[start : start + BLOCK_ROWS] if array.ndim else array).data)
        give_back(array)
