"""Commands of synthgap as children of a process that has everything imported, so that a hundred can be started, and killed, in minutes.

A child is forked from a server that has only imported; it has no threads and holds no locks. It runs the real command line.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

PRELOAD = [
    *(
        "app.cli",
        "app.terminal.inputs",
        "app.commands.synthesize",
        "distill.training.grid",
        "distill.generate.synthesize",
        "diagnose.run",
        "diagnose.inputs.load",
    ),
    *("probes.registry", "probes.transfer.probe", "probes.separability.probe", "probes.drift.probe", "diffusers", "timm", "open_clip"),
]
"""What the server imports; whatever a command needs beside takes its time in each child."""

Before = Callable[[], None]
"""Called in the child before its command; it must be importable."""


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def _run(arguments: Sequence[str], stderr_file: Path, before: Before | None) -> None:
    """In the child: run the command line with its two streams in a file, and end with its exit code."""
    from app.cli import main

    sys.argv = ["synthgap", *arguments]
    with stderr_file.open("w") as file, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(file):
        if before is not None:
            before()
        try:
            main()
        except SystemExit as stop:
            file.flush()
            os._exit(stop.code if isinstance(stop.code, int) else 0)
        file.flush()
    os._exit(0)


class ForkServer:
    """Start commands, wait for them, or kill them.

    Args:
        folder: for their output; also their cache of pixels and teacher embeddings.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        os.environ["SYNTHGAP_CACHE"] = str(folder / "cache")
        self.context = _context()

    def start(self, *arguments: object, before: Before | None = None) -> ForkServerProcess:
        """Start a command."""
        child = self.context.Process(target=_run, args=([str(argument) for argument in arguments], self.folder / "said.txt", before))
        child.start()
        return child

    def finish(self, *arguments: object, before: Before | None = None, patience: float = 120.0) -> tuple[int, str, float]:
        """Run a command to its end.

        Returns:
            Exit code, its stderr, seconds.
        """
        begun = time.monotonic()
        child = self.start(*arguments, before=before)
        child.join(patience)
        if child.is_alive():
            child.kill()
            child.join()
            return -1, "hung", time.monotonic() - begun
        return child.exitcode or 0, (self.folder / "said.txt").read_text(), time.monotonic() - begun

    def kill(self, *arguments: object, after: float) -> bool:
        """Start a command and send SIGKILL after so many seconds; tell whether it still ran."""
        child = self.start(*arguments)
        child.join(after)
        running = child.is_alive()
        child.kill()
        child.join()
        return running


def full_disk() -> None:
    """Let no file grow beyond 1 KB, less than any table: what then is written fails as on a full disk, in the kernel."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))


def no_override() -> None:
    """Give up root's right to write where the owner has none, so that a read-only folder is one for root too."""
    if os.geteuid() != 0:
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the kernel's structure, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: of the first 32 capabilities, then of the others
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.capget(header, sets) == 0:
        sets[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
        kernel.capset(header, sets)


def clock_a_year_back() -> None:
    """Set this process's clock back by a year in the middle of its work, and on again."""
    real, begun = time.time, time.monotonic()
    time.time = lambda: real() - (31_536_000 if int(10 * (time.monotonic() - begun)) % 2 else 0)
