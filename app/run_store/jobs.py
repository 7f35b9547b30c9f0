"""A command that works on a run folder in a process of its own: start it, recognise it again, stop it, read its last words.

The process has its own session, so that it outlives the page, the tab and the server that started it. `process.json` in the run folder names it by
its number and its start, since numbers are used again. Commands are lists of words, never a string for a shell.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from distill.system.atomic_files import write_then_rename

STATE = "process.json"
LOG = "run.log"
LOG_BYTES = 64 * 1024
SAME_START = 1.0
"""Seconds by which two readings of one process's start may differ."""

_starting = threading.Lock()


@dataclass(frozen=True)
class Job:
    """A process that was started on a run folder.

    Args:
        pid: its number, also that of its process group.
        created: its start as the system gives it, seconds since 1970.
        begun: the same for people, ISO 8601 in UTC.
        command: the words it was started with.
        stopped: whether it was asked to stop.
    """

    pid: int
    created: float
    begun: str
    command: tuple[str, ...]
    stopped: bool = False


def start(folder: Path, command: Sequence[str]) -> Job:
    """Start a command on a run folder, in a session of its own, its output appended to the folder's log.

    Args:
        folder: run folder; made where it is absent.
        command: program and arguments.

    Raises:
        RuntimeError: when a process, of ours or not, works on the folder.
        OSError: when the folder cannot be written or the program not be started.
    """
    with _starting:
        if is_alive(read_job(folder)) or in_use(folder):
            raise RuntimeError(f"{folder.name} must be free, got a run that a process works on; stop it, or wait for it.")
        folder.mkdir(parents=True, exist_ok=True)
        begun = datetime.now(UTC).isoformat(timespec="seconds")
        with (folder / LOG).open("ab") as log:
            log.write(f"--- {begun} {shlex.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        job = Job(process.pid, psutil.Process(process.pid).create_time(), begun, tuple(command))
        write_job(folder, job)
        return job


def read_job(folder: Path) -> Job | None:
    """Read which process was last started on a run folder; None where none was, or the file is not whole."""
    try:
        data = json.loads((folder / STATE).read_text(encoding="utf-8"))
        words = tuple(str(word) for word in data["command"])
        return Job(int(data["pid"]), float(data["created"]), str(data["begun"]), words, bool(data.get("stopped", False)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_alive(job: Job | None) -> bool:
    """Tell whether this very process still runs; another one with its number does not count, nor one that has ended and is not yet buried."""
    if job is None or job.pid <= 0:
        return False
    try:
        process = psutil.Process(job.pid)
        return abs(process.create_time() - job.created) <= SAME_START and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def in_use(folder: Path) -> bool:
    """Tell whether a process, whoever started it, holds the run folder's lock."""
    if not (folder / ".lock").is_file():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True


def stop(folder: Path, patience: float = 20.0) -> bool:
    """Ask the process of a run folder, and its children, to stop as Ctrl-C does; end it when it has not stopped in time.

    Args:
        folder: run folder.
        patience: seconds between the two.

    Returns:
        Whether nothing of ours runs there any more.
    """
    job = read_job(folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        if job is None or not is_alive(job):
            return True
        if number == signal.SIGINT:
            write_job(folder, replace(job, stopped=True))
        if os.getpgid(job.pid) != job.pid:  # not started by us, whatever the file says: its group may be anybody's
            return False
        os.killpg(job.pid, number)
        end = time.monotonic() + patience
        while is_alive(job) and time.monotonic() < end:
            time.sleep(0.1)
    return not is_alive(job)


def stop_soon(folder: Path) -> None:
    """Stop the process of a run folder without waiting for it; goes on when the tab is closed."""
    threading.Thread(target=stop, args=(folder,), daemon=True).start()


def last_words(folder: Path, lines: int = 15) -> list[str]:
    """Return the last lines of a run's log as plain text, without the codes that colour a terminal.

    Args:
        folder: run folder.
        lines: lines at most.
    """
    path = folder / LOG
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - LOG_BYTES, 0))
        text = file.read(LOG_BYTES).decode("utf-8", errors="replace")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return ["".join(sign for sign in line if sign.isprintable() or sign == "\t") for line in text.splitlines() if line.strip()][-lines:]


def write_job(folder: Path, job: Job) -> None:
    """Write down which process works on a run folder.

    Args:
        folder: run folder.
        job: the process that works on it.

    Raises:
        DistillError: when the folder cannot be written.
    """
    write_then_rename(folder / STATE, lambda file: file.write(json.dumps(asdict(job), indent=1).encode()))
