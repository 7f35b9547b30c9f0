"""How soon a stored run is on the screen: first paint and page changes of the dashboard in headless Chromium.

python benchmarks/dashboard.py [RUN]        needs the browser extra and Debian's chromium
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from app.launch import free_port, serving

ROOT = Path(__file__).parents[1]
STORED = ROOT / "docs" / "results" / "cifake"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]
CHART = ".js-plotly-plot .main-svg"
PATIENCE = 120_000
"""Milliseconds."""


class Row(NamedTuple):
    """What was done, the seconds of each repetition, and the most they may be."""

    work: str
    seconds: list[float]
    most: float


@contextmanager
def chromium() -> Iterator[Any]:
    """Start headless Chromium and give the browser.

    Raises:
        FileNotFoundError: when Chromium is not installed.
    """
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        raise FileNotFoundError("`chromium` must be installed, got none (Debian: apt-get install chromium); install it.")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def rows(run: Path = STORED, rounds: int = 5) -> list[Row]:
    """Measure on one run: text and first chart of page Why, cold and warm, and each page change.

    Args:
        run: a stored run with a report.
        rounds: repetitions; each has a browser context of its own, so that nothing is kept from the one before.
    """
    with serving(run, free_port()) as address, chromium() as browser:
        cold = [_first_paint(browser, address)]
        warm = [_first_paint(browser, address) for _ in range(rounds)]
        changes = [_page_changes(browser, address) for _ in range(rounds)]
    made = [
        Row("first visit after the server's start, verdict", [text for text, _ in cold], 2.0),
        Row("first paint, verdict", [text for text, _ in warm], 2.0),
        Row("first paint, first chart too", [chart for _, chart in warm], 2.0),
    ]
    return made + [Row(f"page change to {name}", [change[name] for change in changes], 0.5) for name in changes[0]]


def _first_paint(browser: Any, address: str) -> tuple[float, float]:
    context = browser.new_context(viewport={"width": 1280, "height": 844})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.locator("h3").first.wait_for()  # the verdict
    text = time.perf_counter() - start
    page.locator(CHART).first.wait_for()
    chart = time.perf_counter() - start
    context.close()
    return text, chart


def _page_changes(browser: Any, address: str) -> dict[str, float]:
    """Go through all pages once to import them, then measure each: from the click to the new heading."""
    context = browser.new_context(viewport={"width": 1280, "height": 844})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.locator(CHART).first.wait_for()
    links = page.locator(".st-key-pages a")
    names = [links.nth(index).inner_text() for index in range(links.count())]
    found: dict[str, float] = {}
    for name in [*names[1:], *names]:
        before = page.locator("h1").first.inner_text()
        link = links.nth(names.index(name))
        start = time.perf_counter()
        link.click()
        page.wait_for_function("before => {const h = document.querySelector('h1'); return h && h.innerText !== before}", arg=before)
        found[name] = time.perf_counter() - start
        page.wait_for_timeout(700)  # let what is below the fold be drawn, which is not what is measured
    context.close()
    return {name: found[name] for name in names}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, default=STORED)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(f"{'work':48s} {'median':>8s} {'least':>8s} {'most':>8s} {'goal':>8s}")
    for row in rows(given.run, given.rounds):
        middle = statistics.median(row.seconds)
        met = "met" if middle <= row.most else "MISSED"
        print(f"{row.work:48s} {middle:8.2f} {min(row.seconds):8.2f} {max(row.seconds):8.2f} {row.most:6.1f} s {met}")


if __name__ == "__main__":
    main()
