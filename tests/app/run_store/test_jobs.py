"""Processes on run folders: recognised by number and start, ended with their children, never mistaken for another's."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from app.run_store import jobs

# A suite that a script started in the background has SIGINT ignored, and so have its children: these listen all the same.
LISTENS = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
OBEDIENT = f"{LISTENS}import time\nprint('ready', flush=True)\ntime.sleep(60)"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(60)"
PARENT = (
    f"{LISTENS}import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('ready', child.pid, flush=True)\ntime.sleep(60)"
)


def until(true: Callable[[], bool], patience: float = 30.0) -> bool:
    end = time.monotonic() + patience
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run"
    job = jobs.read_job(tmp_path / "run")
    if job is not None and jobs.is_alive(job):
        os.killpg(job.pid, 9)


def start(folder: Path, program: str) -> jobs.Job:
    script = folder.with_name("program.py")
    script.write_text(program)
    job = jobs.start(folder, [sys.executable, str(script)])
    assert until(lambda: any(line.startswith("ready") for line in jobs.last_words(folder)))
    return job


def test_a_process_has_its_own_session_and_is_found_again_from_the_folder(folder: Path) -> None:
    job = start(folder, OBEDIENT)

    assert os.getsid(job.pid) == job.pid != os.getsid(0)
    assert jobs.read_job(folder) == job
    assert jobs.is_alive(jobs.read_job(folder))


def test_another_process_with_the_same_number_is_not_taken_for_it(folder: Path) -> None:
    start(folder, OBEDIENT)
    state = json.loads((folder / jobs.STATE).read_text())
    own = psutil.Process()
    (folder / jobs.STATE).write_text(json.dumps(state | {"pid": own.pid, "created": own.create_time() - 100}))

    assert not jobs.is_alive(jobs.read_job(folder))
    assert jobs.stop(folder)  # and nobody is ended: this test goes on
    os.killpg(state["pid"], 9)


def test_a_process_that_heads_no_group_of_its_own_is_never_signalled(folder: Path) -> None:
    folder.mkdir()
    child = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    state = {"pid": child.pid, "created": child.create_time(), "begun": "", "command": []}
    (folder / jobs.STATE).write_text(json.dumps(state))

    assert not jobs.stop(folder, patience=0.2)
    assert child.is_running()
    child.kill()
    child.wait()


def test_a_stop_is_like_ctrl_c_and_is_remembered(folder: Path) -> None:
    start(folder, OBEDIENT)

    assert jobs.stop(folder)
    assert "KeyboardInterrupt" in "\n".join(jobs.last_words(folder))
    assert jobs.read_job(folder).stopped


def test_a_process_that_does_not_stop_is_ended(folder: Path) -> None:
    job = start(folder, STUBBORN)

    assert jobs.stop(folder, patience=0.3)
    assert not jobs.is_alive(job)


def test_children_are_stopped_with_their_parent(folder: Path) -> None:
    start(folder, PARENT)
    child = psutil.Process(int(jobs.last_words(folder)[-1].split()[1]))

    jobs.stop(folder)

    assert until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_no_second_process_is_started_where_one_works(folder: Path) -> None:
    job = start(folder, OBEDIENT)

    with pytest.raises(RuntimeError, match="run must be free"):
        jobs.start(folder, [sys.executable, "-c", OBEDIENT])
    assert jobs.read_job(folder) == job


def test_a_folder_held_by_a_process_of_somebody_else_is_in_use(folder: Path) -> None:
    folder.mkdir()
    assert not jobs.in_use(folder)

    with FileLock(folder / ".lock"):
        assert jobs.in_use(folder)
        with pytest.raises(RuntimeError, match="must be free"):
            jobs.start(folder, [sys.executable, "-c", OBEDIENT])
    assert not jobs.in_use(folder)
    assert not (folder / jobs.STATE).exists()


@pytest.mark.parametrize("content", ["", "[]", '{"pid": "x"}', '{"pid": 1, "created": null, "begun": "", "command": []}'])
def test_a_broken_state_file_means_no_process(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / jobs.STATE).write_text(content)

    assert jobs.read_job(folder) is None


def test_last_words_are_plain_text_without_colours_and_bounded(folder: Path) -> None:
    folder.mkdir()
    (folder / jobs.LOG).write_bytes(b"x" * 10**6 + b"\n\x1b[31mred\x1b[0m\x07\n\n\xff<b>\n")

    assert jobs.last_words(folder, 2) == ["red", "\ufffd<b>"]
    assert len(jobs.last_words(folder)[0]) <= jobs.LOG_BYTES
