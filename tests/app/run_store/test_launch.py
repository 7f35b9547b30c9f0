"""Serving the dashboard on this machine only."""

from __future__ import annotations

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

from app.run_store.launch import check_port, free_port, launch, serve_command


@contextmanager
def served(runs: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start the dashboard as the command line does and wait until it answers."""
    program = "import sys; from pathlib import Path; from app.run_store.launch import launch; sys.exit(launch(Path(sys.argv[1]), int(sys.argv[2]), False))"
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


def test_what_the_first_page_needs_is_read_before_anybody_asks_for_it_and_torch_is_not() -> None:
    program = (
        "import sys; from app.run_store.serve import read_ahead; read_ahead(); before = set(sys.modules); import app.views.why;"
        "sys.exit(3 if 'torch' in sys.modules or set(sys.modules) - before or 'plotly.graph_objects' not in before else 0)"
    )

    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert finished.returncode == 0, finished.stderr[-2000:]


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
