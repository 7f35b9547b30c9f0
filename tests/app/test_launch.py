"""Serving the dashboard on this machine only, and once in a real browser."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.launch import check_port, launch, serve_command

CHROMIUM_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


PATIENCE = 120_000
"""Milliseconds; far more than it takes, for machines that do much else at the same time."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def served(runs: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start the dashboard as the command line does and wait until it answers."""
    program = (
        "import sys; from pathlib import Path; from app.launch import launch; sys.exit(launch(Path(sys.argv[1]), int(sys.argv[2]), False))"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", program, str(runs), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            if answers(port):
                break
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=15)


def answers(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_the_server_listens_on_this_machine_only_and_tells_nobody() -> None:
    command = serve_command(Path("runs"), 8501)

    assert "--server.address=127.0.0.1" in command
    assert "--browser.gatherUsageStats=false" in command
    assert "--server.headless=true" in command
    assert command[-2:] == ["--", "runs"]


def test_a_taken_port_is_refused_with_the_remedy() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(ValueError, match=f"`port` must be free, got {port}.*--port"):
            launch(Path("runs"), port, False)


@pytest.mark.parametrize("port", [0, -1, 70000])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match="`port` must be between 1 and 65535"):
        check_port(port)


def test_the_server_answers_and_ends_with_the_process_that_started_it(runs: Path) -> None:
    port = free_port()

    with served(runs, port) as process:
        up = answers(port)

    assert up
    assert process.returncode == 0
    assert not answers(port)


@pytest.mark.browser
def test_a_reader_sees_the_verdict_and_walks_through_every_page(runs: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install 'synthgap[browser]')")
    port = free_port()

    with served(runs, port), playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(PATIENCE)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/?run=made-up")
        page.get_by_text("Image text contrastive fails on real images").first.wait_for()

        for name, title in (
            ("Students", "side by side"),
            ("Separability", "tell synthetic"),
            ("Drift", "from its teacher"),
            ("Why", "Why does"),
        ):
            page.get_by_role("link", name=name, exact=True).click()
            page.get_by_role("heading", level=1).filter(has_text=title).wait_for()
            page.locator(".js-plotly-plot .main-svg").first.wait_for()

            assert page.locator("[data-testid=stException]").count() == 0
            assert "run=made-up" in page.url
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.goto(f"http://127.0.0.1:{port}/?run=going&page=students")
        page.get_by_text("This run is still going").wait_for()
        browser.close()

    assert not faults
