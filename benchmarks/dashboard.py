"""How soon a stored run is on the screen: first paint, page changes and moves of a large map, in headless Chromium.

python benchmarks/dashboard.py [RUN]        needs the browser extra and Debian's chromium

Processor seconds are those of the server, of Chromium and of its driver together: what is waited for is their work, and a busy machine
disturbs it less than the clock.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pairs import Row, Run

from app.map.data import MOST_POINTS
from app.run_store.launch import ADDRESS, free_port, running, serving
from diagnose.schema import ProbeRecord, Report
from probes.result import ProbeResult

ROOT = Path(__file__).parents[1]
STORED = ROOT / "docs" / "results" / "cifake"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]
PATIENCE = 120_000
"""Milliseconds."""

EPOCHS = (1, 2, 4, 8, 16)
CHART = ".js-plotly-plot .main-svg"

PAINTED = """
(() => {
  window.painted = {};
  window.place = () => document.querySelector('.js-plotly-plot')?._fullData?.[0]?.x?.[0];
  const note = (name, there) => {
    if (!there || name in window.painted) return;
    window.painted[name] = 0;
    requestAnimationFrame(() => setTimeout(() => { window.painted[name] = Date.now(); }));
  };
  const look = () => {
    const heading = document.querySelector('h1');
    note('verdict', document.querySelector('h3'));
    note('chart', document.querySelector('.js-plotly-plot .main-svg'));
    note('heading', window.before && heading && heading.innerText !== window.before);
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
  document.addEventListener('click', () => { window.clicked = Date.now(); }, { capture: true });
  setInterval(() => note('map', window.place() !== undefined && window.place() !== window.beforePlace), 10);
})();
"""
"""Notes in the page when verdict, first chart, another heading, or another place of the map's first point have been painted: after the next frame."""


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


def rows(run: Path = STORED, rounds: int = 5, points: int = MOST_POINTS) -> list[Row]:
    """Measure text and first chart of page Why, cold and warm, each page change, and moves between the epochs of a map.

    Args:
        run: a stored run with a report.
        rounds: repetitions; each has a browser context of its own, so that nothing is kept from the one before.
        points: images on the map, made up.
    """
    with serving(run, free_port()) as address, _bare() as heading, chromium() as browser:
        cold = [_first_paint(browser, address)]
        _first_paint(browser, heading, chart=False)
        pairs = [(_first_paint(browser, address), _first_paint(browser, heading, chart=False)[0]) for _ in range(rounds)]
        changes = [_page_changes(browser, address) for _ in range(rounds)]
    warm, bare = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
    table_rows = [
        _row("first visit after the server's start, verdict", [text for text, _ in cold], 2.0),
        replace(
            _row("first paint, verdict", [text for text, _ in warm], 2.0),
            against="a page of Streamlit with nothing but a heading",
            theirs=bare,
        ),
        _row("first paint, first chart too", [chart for _, chart in warm], math.inf),
    ]
    table_rows += [_row(f"page change to {name}", [change[name] for change in changes], 0.5) for name in changes[0]]
    return table_rows + _map_rows(points)


def _row(work: str, runs: list[Run], most: float, note: str = "docs/results/cifake") -> Row:
    goal = {} if math.isinf(most) else {"goal": f"<= {most:g} s", "most": most}
    return Row(f"dashboard: {work}", "", runs, limit="the browser", note=note, **goal)


class _Watch:
    """The clock, and the processor seconds of all that this process has started."""

    def __init__(self) -> None:
        self.clock, self.cpu = time.time(), self._spent()

    def read(self, page: Any, painted: str, since: str = "") -> Run:
        """Read what has gone by until a thing was painted, by the page's own clock: asking the page takes long while it draws."""
        cpu = self._spent() - self.cpu
        start = page.evaluate(since) / 1000 if since else self.clock
        return Run(page.evaluate(f"window.painted.{painted}") / 1000 - start, cpu)

    @staticmethod
    def _spent() -> float:
        used = 0.0
        for process in psutil.Process().children(recursive=True):
            try:
                used += sum(process.cpu_times()[:2])
            except psutil.Error:  # it has ended since
                continue
        return used


@contextmanager
def _bare() -> Iterator[str]:
    """Serve a page with nothing but a heading, as Streamlit does by itself; give its address."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.py"
        page.write_text("import streamlit\nstreamlit.subheader('nothing else')\n", encoding="utf-8")
        options = [f"--server.address={ADDRESS}", f"--server.port={port}", "--server.headless=true", "--server.fileWatcherType=none"]
        command = [sys.executable, "-m", "streamlit", "run", str(page), *options, "--browser.gatherUsageStats=false"]
        with running(command, port) as address:
            yield address


def _first_paint(browser: Any, address: str, *, chart: bool = True) -> tuple[Run, Run]:
    with _page(browser) as page:
        watch = _Watch()
        page.goto(address, wait_until="commit")
        page.wait_for_function("window.painted.verdict")
        text = watch.read(page, "verdict")
        if not chart:
            return text, text
        page.wait_for_function("window.painted.chart")
        return text, watch.read(page, "chart")


def _page_changes(browser: Any, address: str) -> dict[str, Run]:
    """Go through all pages once to import them, then measure each: from the click to the new heading."""
    with _page(browser) as page:
        page.goto(address)
        page.locator(CHART).first.wait_for()
        links = page.locator(".st-key-pages a")
        names = [links.nth(index).inner_text() for index in range(links.count())]
        runs_of_pages: dict[str, Run] = {}
        for name in [*names[1:], *names]:
            page.evaluate("window.before = document.querySelector('h1').innerText; delete window.painted.heading")
            watch = _Watch()
            links.nth(names.index(name)).click()
            page.wait_for_function("window.painted.heading")
            runs_of_pages[name] = watch.read(page, "heading", since="window.clicked")
            page.wait_for_timeout(1500)  # let what is below the fold be drawn, which is not what is measured
        return {name: runs_of_pages[name] for name in names}


def _map_rows(points: int) -> list[Row]:
    """Move between the epochs of a made-up map: each for the first time, then each again, coloured by class and by a number."""
    table_rows = []
    with tempfile.TemporaryDirectory() as folder:
        store_map(Path(folder), points)
        with serving(Path(folder), free_port()) as address, chromium() as browser:
            for colour in ("Class", "Likeness to the teacher (cosine)"):
                opened, first, again, sent = _map_moves(browser, address, colour)
                images = f"{points:,} images by {'class' if colour == 'Class' else 'a number'}"
                table_rows += [
                    _row(f"map of {images}: opened", [opened], math.inf, f"{sent[0] / 1e6:.2f} MB sent"),
                    _row(f"map of {images}: another epoch", first, math.inf, f"{statistics.median(sent[1]) / 1e6:.2f} MB sent each"),
                    _row(f"map of {images}: an epoch seen before", again, math.inf, f"{statistics.median(sent[2]) / 1e6:.2f} MB sent each"),
                ]
    return table_rows


def _map_moves(browser: Any, address: str, colour: str) -> tuple[Run, list[Run], list[Run], tuple[int, list[int], list[int]]]:
    received = [0]

    def count(socket: Any) -> None:
        socket.on("framereceived", lambda frame: received.__setitem__(0, received[0] + len(frame)))

    with _page(browser) as page:
        page.on("websocket", count)
        watch = _Watch()
        page.goto(f"{address}/map?map-colour={colour}", wait_until="commit")
        page.wait_for_function("window.painted.map")
        opened = watch.read(page, "map")
        page.wait_for_timeout(3000)
        sent, runs = [received[0]], []
        slider = page.get_by_role("slider").first
        for key in ["ArrowLeft"] * len(EPOCHS) + ["ArrowRight"] * len(EPOCHS):
            before = received[0]
            page.evaluate("window.beforePlace = window.place(); delete window.painted.map")
            watch = _Watch()
            slider.press(key)
            page.wait_for_function("window.painted.map")
            runs.append(watch.read(page, "map"))
            page.wait_for_timeout(1500)
            sent.append(received[0] - before)
    half = len(EPOCHS)
    return opened, runs[:half], runs[half:], (sent[0], sent[1 : half + 1], sent[half + 1 :])


def store_map(folder: Path, points: int) -> None:
    """Store the CIFAKE report with a made-up map of `points` images, which move from epoch to epoch, and a number for each."""
    report = Report.model_validate_json((STORED / "report.json").read_text(encoding="utf-8"))
    student, rng = report.students[0].name, np.random.default_rng(0)
    maps = [{"subject": student, "epoch": epoch} for epoch in (*EPOCHS, None)]
    labels = np.arange(points) % len(report.class_names)
    ids = np.array([f"image-{row:07d}" for row in range(points)])
    angle = 2 * np.pi * labels / len(report.class_names)
    arrays = {"ids": ids, "labels": labels, "domain": np.where(np.arange(points) % 2, "real", "synthetic")}
    for number in range(len(maps)):
        centre = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (1 + number)
        arrays[f"map/{number}"] = (centre + rng.normal(size=(points, 2))).astype(np.float32)
        arrays[f"neighbours/{number}"] = (np.arange(points)[:, None] + np.arange(1, 6)) % points
    drift_arrays = {"ids": ids, "cosine": rng.normal(size=points).astype(np.float32)}
    ProbeResult("map", student, None, {}, arrays, {"images": points}, {"maps": maps}).save(folder / "probes" / "map" / student)
    ProbeResult("drift", student, None, {}, drift_arrays, {"images": points}).save(folder / "probes" / "drift" / student)
    probes = [record for record in report.probes if record.probe != "map" and (record.probe, record.subject) != ("drift", student)]
    records = [
        ProbeRecord(probe=probe, subject=student, status="done", path=f"probes/{probe}/{student}.json") for probe in ("map", "drift")
    ]
    report = report.model_copy(update={"probes": probes + records})
    (folder / "report.json").write_text(report.model_dump_json(), encoding="utf-8")


@contextmanager
def _page(browser: Any) -> Iterator[Any]:
    """Open a page in a context of its own, so that nothing is kept from another."""
    context = browser.new_context(viewport={"width": 1280, "height": 844})
    try:
        context.add_init_script(PAINTED)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        yield page
    finally:
        context.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=STORED)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--points", type=int, default=MOST_POINTS, help="images on the made-up map")
    options = parser.parse_args()
    print(f"{'work':62s} {'median':>8s} {'least':>8s} {'most':>8s} {'processor':>10s}  goal")
    for row in rows(options.run, options.rounds, options.points):
        clocks = [one.clock for one in row.ours]
        cpu = statistics.median(one.cpu for one in row.ours)
        goal = f"{row.goal} {'met' if row.met else 'MISSED'}" if row.goal else row.note
        print(f"{row.work:62s} {statistics.median(clocks):8.2f} {min(clocks):8.2f} {max(clocks):8.2f} {cpu:10.2f}  {goal}")


if __name__ == "__main__":
    main()
