"""Take a picture of every page of the dashboard: python benchmarks/screenshots.py RUNS [--run NAME] [--only PAGE ...]."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dashboard import PATIENCE, ROOT, chromium
from PIL import Image

from app.run_store.launch import free_port, serving

MOST_BYTES = 200_000
HEIGHT = 1400
"""Most pixels of a page that are shown."""

FURTHER = {"why": ("why-loss", "Which property of the loss is to blame?"), "cues": ("cues-images", "One cell, and its images")}
"""Page -> a second picture and the heading that it begins with."""


def take(runs: Path, name: str, out: Path, only: Sequence[str] = ()) -> list[Path]:
    """Take every page light at 1280 pixels, two of them further down too, and page Why dark at a telephone's 390.

    Args:
        runs: runs folder, or one run.
        name: the run.
        out: folder of the pictures.
        only: pages, or `phone`; all where empty.
    """
    out.mkdir(parents=True, exist_ok=True)
    pictures = []
    with serving(runs, free_port()) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": HEIGHT}, color_scheme="light")
        page.set_default_timeout(PATIENCE)
        _open(page, f"{address}/?run={name}")
        links = [link.get_attribute("href") for link in page.locator(".st-key-pages a").all()]
        for href in links:
            page_name = Path(href.split("?")[0]).name or "why"
            if only and page_name not in only:
                continue
            _open(page, f"{address}/{'' if page_name == 'why' else page_name}?run={name}")
            pictures.append(_keep(page, out / f"{page_name}.png"))
            if page_name in FURTHER:
                file, heading = FURTHER[page_name]
                page.get_by_role("heading", name=heading).evaluate("heading => heading.scrollIntoView()")
                page.wait_for_timeout(1000)
                pictures.append(_keep(page, out / f"{file}.png"))
        if only and "phone" not in only:
            return pictures
        phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
        phone.set_default_timeout(PATIENCE)
        _open(phone, f"{address}/?run={name}")
        pictures.append(_keep(phone, out / "why-phone-dark.png"))
    return pictures


def _open(page: Any, address: str) -> None:
    """Open an address and wait until its script has ended and its charts are drawn."""
    page.goto(address)
    page.locator("h1").first.wait_for()
    page.wait_for_function("() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'")
    page.wait_for_function(
        "() => document.querySelectorAll('[data-testid=stSkeleton]').length === 0"
        " && [...document.querySelectorAll('[data-testid=stPlotlyChart]')].every(chart => chart.querySelector('.main-svg'))"
    )
    page.wait_for_timeout(4000)


def _keep(page: Any, path: Path) -> Path:
    """Write a picture that is small enough: with all its colours, else with 256 of them, else cut at the foot."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    while True:
        for drawn in (image, image.quantize(256, dither=Image.Dither.NONE)):
            file = io.BytesIO()
            drawn.save(file, "PNG", optimize=True)
            if file.tell() <= MOST_BYTES:
                path.write_bytes(file.getvalue())
                return path
        image = image.crop((0, 0, image.width, int(image.height * 0.85)))


def main() -> None:
    """Take the pictures and name them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="runs folder, or one run")
    parser.add_argument("--run", help="which of them; by default the folder's own name")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument("--only", nargs="*", default=[], help="pages, such as map, or phone; by default all")
    options = parser.parse_args()
    for path in take(options.runs, options.run or options.runs.resolve().name, options.out, options.only):
        print(f"{path} ({path.stat().st_size // 1000} kB)")


if __name__ == "__main__":
    main()
