"""The dashboard in real headless Chromium: every page, the keyboard, the address, a run that is started and stopped."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import app
from app.run_store import jobs
from app.run_store.launch import free_port, serving

pytestmark = pytest.mark.browser

ENTRY = Path(app.__file__).with_name("dashboard.py")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 120_000
"""Milliseconds; far more than it takes, for machines that do much else at the same time."""


def pages() -> dict[str, str]:
    """Read the pages from the entry, which cannot be imported without Streamlit running it."""
    body = ast.parse(ENTRY.read_text(encoding="utf-8")).body
    return ast.literal_eval(next(node.value for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PAGES"))


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    """Share one browser profile among all tests, so that its scripts are fetched and compiled once."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install 'synthgap[browser]')")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield opened.new_context(viewport={"width": 1280, "height": 900})
        opened.close()


@pytest.fixture(scope="module")
def root(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder in which a run may be started."""
    return Path(shutil.copytree(runs, tmp_path_factory.mktemp("served") / "runs"))


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with serving(root, free_port()) as served:
        yield served


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    """Open a page at a desktop's size that must neither throw nor ask another machine for anything."""
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "request",
        lambda request: faults.append(request.url) if "//127.0.0.1:" not in request.url[:20] and request.url.startswith("http") else None,
    )
    yield opened
    opened.close()
    assert not faults


def settle(page: Any) -> None:
    """Wait until the script of the page has run to its end."""
    page.locator("h1").first.wait_for()
    page.wait_for_function("() => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_is_reached_by_its_link_and_fits_the_screen(page: Any, address: str, width: int, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{address}/?run=made-up")
    page.get_by_text("Image text contrastive fails on real images").first.wait_for()

    for name, title in [*list(pages().items())[1:], ("", "Why")]:
        page.locator(".st-key-pages").get_by_role("link", name=title, exact=True).click()
        page.wait_for_url(f"**/{name}?run=made-up**")
        settle(page)

        assert page.locator("[data-testid=stException]").count() == 0, name
        assert page.locator("h1").count() == 1, name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.locator("img:not([alt])").count() == 0, name


def test_the_pages_are_reached_by_the_keyboard_alone(page: Any, address: str) -> None:
    page.goto(f"{address}/?run=made-up")
    settle(page)

    page.locator(".st-key-pages a").nth(2).wait_for()
    reached = []
    while "Students" not in reached and len(reached) < 40:  # the focus may begin anew while the page is still being built
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText"))
    assert reached[-1] == "Students", reached
    page.keyboard.press("Enter")

    page.wait_for_url("**/students?run=made-up")
    page.get_by_role("heading", level=1).filter(has_text="side by side").wait_for()


def test_an_address_opens_its_run_and_page_and_keeps_what_is_chosen(page: Any, address: str) -> None:
    page.goto(f"{address}/?run=going&page=students")
    page.get_by_text("This run is still going").wait_for()
    page.goto(f"{address}/?run=made-up&page=cues&chosen=7")
    page.wait_for_url("**/cues?*chosen=7*")
    page.get_by_role("heading", level=1).filter(has_text="Which cue").wait_for()
    assert "run=made-up" in page.url


def test_the_report_is_taken_away_as_pdf(page: Any, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/?run=made-up")
    settle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="PDF").click()
    download.value.save_as(tmp_path / "report.pdf")

    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_a_real_run_is_started_and_stopped(context: Any, page: Any, address: str, root: Path) -> None:
    page.goto(f"{address}/run?run=made-up")
    page.get_by_label("Name of the run").fill("mine")
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("in a process of its own").wait_for()
    job = jobs.read_job(root / "mine")
    page.close()
    assert jobs.is_alive(job)

    again = context.new_page()
    again.set_default_timeout(PATIENCE)
    again.goto(f"{address}/run?run=mine")
    again.get_by_role("button", name="Stop", exact=True).click()
    again.get_by_text("Go on where it stopped").wait_for()
    again.close()
    assert not jobs.is_alive(job)
    assert (root / "mine" / "config.toml").is_file()


def test_images_are_circled_on_the_map_and_taken_along(page: Any, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/map?run=made-up")
    page.get_by_text("Nothing is selected.").wait_for()
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    chart = page.locator(".js-plotly-plot").first
    chart.hover()
    chart.locator('[data-val="lasso"]').click()
    frame = chart.locator(".nsewdrag").first.bounding_box()
    left, top, right, bottom = frame["x"] + 3, frame["y"] + 3, frame["x"] + frame["width"] - 3, frame["y"] + frame["height"] - 3
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        page.mouse.move(x, y, steps=8)
    page.mouse.up()

    with page.expect_download() as download:
        page.get_by_role("button", name="Ids (CSV)").click()
    download.value.save_as(tmp_path / "ids.csv")

    assert len((tmp_path / "ids.csv").read_text().split()) > 2


def test_another_epoch_moves_the_points_and_leaves_chart_and_zoom_as_they_are(page: Any, address: str) -> None:
    page.goto(f"{address}/map?run=made-up")
    page.get_by_text("Nothing is selected.").wait_for()
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    page.evaluate("Plotly.relayout(document.querySelector('.js-plotly-plot'), {'xaxis.range': [0, 30000]})")
    place = "document.querySelector('.js-plotly-plot')._fullData[0].x[0]"
    page.evaluate("document.querySelector('.js-plotly-plot').dataset.mine = 'yes'")
    before = page.evaluate(place)

    page.get_by_role("slider").press("ArrowLeft")
    page.wait_for_function(f"before => {place} !== before", arg=before)
    page.get_by_text("at epoch 3").first.wait_for()

    assert page.locator(".js-plotly-plot").get_attribute("data-mine") == "yes"
    assert page.evaluate("document.querySelector('.js-plotly-plot')._fullLayout.xaxis.range[1]") == 30000
    page.get_by_role("slider").press("ArrowRight")
    page.wait_for_function(f"before => {place} === before", arg=before)
