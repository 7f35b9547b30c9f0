"""Start the dashboard's server on this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADDRESS = "127.0.0.1"

HEADINGS = "1.9rem, 1.45rem, 1.2rem, 1.1rem, 1rem, 0.9rem"
"""Smaller headings than Streamlit's, so that the verdict is on a phone's first screen."""

ACCENTS = {"light": "#3B5B88", "dark": "#8FB0DC"}
"""Colour of what is chosen: no loss's, and not red, which would look like an error."""

MAX_UPLOAD_MIB = 20


def serve_command(runs: Path, port: int) -> list[str]:
    """Return the command that serves the dashboard: bound to this machine, without a browser and without usage statistics.

    Args:
        runs: runs folder, or one run.
        port: of this machine.
    """
    return [
        # -P: a folder `app` or `probes` in the working directory must not hide the installed packages
        *(sys.executable, "-P", "-m", "app.run_store.serve", "run", str(Path(__file__).parents[1] / "dashboard.py")),
        *(f"--server.address={ADDRESS}", f"--server.port={port}", "--server.headless=true", "--server.fileWatcherType=none"),
        *("--browser.gatherUsageStats=false", "--client.toolbarMode=minimal", "--client.showErrorDetails=none"),
        f"--server.maxUploadSize={MAX_UPLOAD_MIB}",
        *(f"--theme.{shade}.headingFontSizes={HEADINGS}" for shade in ACCENTS),
        *(f"--theme.{shade}.primaryColor={colour}" for shade, colour in ACCENTS.items()),
        *("--", str(runs)),
    ]


def launch(runs: Path, port: int, open_browser: bool) -> int:
    """Serve the dashboard until interrupted.

    Args:
        runs: a runs folder, or one run; may be missing, the page then offers the demo.
        port: TCP port on 127.0.0.1, 1 to 65535.
        open_browser: open the page in the user's browser once it answers.

    Returns:
        The server's exit code; 0 when the user interrupts it.

    Raises:
        ValueError: when the port is out of range or taken.
    """
    check_port(port)
    environment = {name: value for name, value in os.environ.items() if name != "SYNTHGAP_RUNS"}
    server = subprocess.Popen(serve_command(Path(runs).expanduser().resolve(), port), env=environment)
    if open_browser:
        threading.Thread(target=_open_when_ready, args=(port, server), daemon=True).start()
    try:
        with _ended_as_interrupt():
            return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(server)


@contextmanager
def serving(runs: Path, port: int, patience: float = 240.0) -> Iterator[str]:
    """Serve the dashboard while the block runs; give its address. For benchmarks, pictures and tests.

    Args:
        runs: runs folder, or one run.
        port: of this machine.
        patience: seconds to wait for the first answer.

    Raises:
        ValueError: when the port is out of range or taken.
        TimeoutError: when the server does not answer in `patience` seconds.
    """
    check_port(port)
    with running(serve_command(runs, port), port, patience) as address:
        yield address


@contextmanager
def running(command: list[str], port: int, patience: float = 240.0) -> Iterator[str]:
    """Run a command that serves a Streamlit page on a port of this machine while the block runs; give its address.

    Args:
        command: the words of the command.
        port: of this machine.
        patience: seconds to wait for the first answer.

    Raises:
        TimeoutError: when the server does not answer in `patience` seconds.
    """
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not _answers(port, server, patience):
            raise TimeoutError(f"the server must answer on port {port}, got nothing in {patience:.0f} s; try again.")
        yield f"http://{ADDRESS}:{port}"
    finally:
        _stop(server)


@contextmanager
def _ended_as_interrupt() -> Iterator[None]:
    """Take a request to end (SIGTERM) like Ctrl-C, so that the server never outlives this process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is not None:
        return
    server.terminate()
    try:
        server.wait(timeout=5)
    except subprocess.TimeoutExpired:
        server.kill()


def check_port(port: int) -> None:
    """Refuse a port that cannot be listened on.

    Raises:
        ValueError: when it is out of range or taken.
    """
    if not 1 <= port <= 65535:
        raise ValueError(f"`port` must be between 1 and 65535, got {port}; leave it out for 8501.")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, port))
        except OSError as error:
            raise ValueError(
                f"`port` must be free, got {port}, which cannot be used ({error.strerror}); choose another with --port."
            ) from error


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((ADDRESS, 0))
        return int(listener.getsockname()[1])


def _open_when_ready(port: int, server: subprocess.Popen[bytes], patience: float = 30.0) -> None:
    if _answers(port, server, patience):
        webbrowser.open(f"http://{ADDRESS}:{port}")


def _answers(port: int, server: subprocess.Popen[bytes], patience: float) -> bool:
    """Wait until the server answers; false when it has ended or does not in time."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + patience
    while time.monotonic() < end and server.poll() is None:
        try:
            with opener.open(f"http://{ADDRESS}:{port}/_stcore/health", timeout=1):
                return True
        except OSError:
            time.sleep(0.2)
    return False
