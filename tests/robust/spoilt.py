"""Ways to spoil any file, each the same at every run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Make = Callable[[], bytes]
"""Makes the content of one bad file; called only by the test that wants it."""


def cut(make: Make, share: float) -> Make:
    """Keep the first part of a file only, as a full disk or a broken download does."""
    return lambda: (data := make())[: int(len(data) * share)]


def flipped(make: Make, seed: int, *, bits: int = 16, first: int | None = None) -> Make:
    """Turn some bits around, anywhere or among the first bytes."""

    def flip() -> bytes:
        data = bytearray(make())
        random = np.random.default_rng(seed)
        for place in random.integers(0, min(len(data), first or len(data)), bits):
            data[place] ^= 1 << int(random.integers(8))
        return bytes(data)

    return flip


def holed(make: Make) -> Make:
    """Put zeros in the middle, as a file system does that lost its last blocks."""

    def hole() -> bytes:
        data = bytearray(make())
        quarter = len(data) // 4
        data[quarter : 2 * quarter] = bytes(quarter)
        return bytes(data)

    return hole


def spoilt(name: str, suffix: str, make: Make, *, cuts: tuple[float, ...] = (0.1, 0.5, 0.9), flips: int = 2) -> dict[str, Make]:
    """Spoil a good file in all these ways.

    Returns:
        File name -> maker; none of them has to be refused, for a turned bit may do no harm.
    """
    made = {f"{name} cut at {int(100 * share)} percent{suffix}": cut(make, share) for share in cuts}
    made |= {f"{name} with turned bits {seed}{suffix}": flipped(make, seed) for seed in range(flips)}
    made |= {f"{name} with a spoilt head {seed}{suffix}": flipped(make, seed, bits=4, first=40) for seed in range(flips)}
    made[f"{name} with a hole{suffix}"] = holed(make)
    return made


EVERYWHERE: dict[str, Make] = {
    "zero bytes": lambda: b"",
    "one byte": lambda: b"\x00",
    "text": lambda: b"hello, I am not what my name says\n",
    "page": lambda: b"<!DOCTYPE html><html><body>404 not found</body></html>",
    "noise": lambda: np.random.default_rng(0).bytes(4096),
    "zeros": lambda: bytes(4096),
    "not unicode": lambda: b"\xff\xfe\x80\x81" * 16,
}
"""Contents that no reader can use, whatever the file is called."""
