"""A selection of many images as a short text for the address: which rows of a map, and of which map."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Sequence

import numpy as np

MOST_LETTERS = 2000
"""Longest text that is put into an address; browsers and mail programs carry addresses of that length."""

MARK = 4
"""Bytes of the mark by which a text is known to belong to these images in this order."""


def packed(rows: Sequence[int], ids: np.ndarray) -> str:
    """Write the selected rows as letters that need no escaping; empty where that takes more than `MOST_LETTERS`.

    Args:
        rows: in [0, n).
        ids: (n,) text, of the whole map.
    """
    chosen = np.zeros(len(ids), dtype=bool)
    chosen[list(rows)] = True
    text = base64.urlsafe_b64encode(_mark(ids) + zlib.compress(np.packbits(chosen).tobytes(), 9)).decode().rstrip("=")
    return text if len(text) <= MOST_LETTERS else ""


def unpacked(text: str, ids: np.ndarray) -> list[int]:
    """Read what `packed` wrote, in the order of the map; empty for another map's text or a damaged one.

    Args:
        text: from the address, may be anything.
        ids: (n,) text, of the whole map.
    """
    if not 0 < len(text) <= MOST_LETTERS:
        return []
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        bits = zlib.decompressobj().decompress(content[MARK:], len(ids) // 8 + 1)
    except (binascii.Error, ValueError, zlib.error):
        return []
    if content[:MARK] != _mark(ids) or len(bits) != -(-len(ids) // 8):
        return []
    return [int(row) for row in np.flatnonzero(np.unpackbits(np.frombuffer(bits, np.uint8), count=len(ids)))]


def _mark(ids: np.ndarray) -> bytes:
    return hashlib.sha256("\n".join(ids.tolist()).encode()).digest()[:MARK]
