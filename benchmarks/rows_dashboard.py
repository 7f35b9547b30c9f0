"""First paint, page changes and moves of a large map in headless Chromium, as `benchmarks/dashboard.py` measures them."""

from __future__ import annotations

import dashboard
from pairs import Row


def rows(effort: int) -> list[Row]:
    return dashboard.rows(rounds=(1, 3, 5)[effort], points=(10_000, 100_000, 100_000)[effort])
