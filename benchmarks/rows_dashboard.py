"""First paint and page changes of the dashboard in headless Chromium, as `benchmarks/dashboard.py` measures them."""

from __future__ import annotations

import math

import dashboard
from pairs import Row, Run


def rows(effort: int) -> list[Row]:
    found = []
    for each in dashboard.rows(rounds=(1, 3, 5)[effort]):
        runs = [Run(seconds, math.nan) for seconds in each.seconds]
        note = "docs/results/cifake; the time is spent in two other processes, the server and Chromium"
        found.append(Row(f"dashboard: {each.work}", "", runs, goal=f"<= {each.most:g} s", most=each.most, limit="the browser", note=note))
    return found
