"""Train, diagnose and report again and again in one process, and see whether memory, open files and temporary files stay flat.

`make soak MINUTES=60`; the first cycles warm caches up, so they are not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from faults import keep
from tiny_world import World, build

WARM = 3
"""Cycles that are not counted."""

MEMORY_A_CYCLE = 2.0
"""MiB a cycle that memory may grow by, over all counted cycles: what glibc keeps in pieces."""


@dataclass(frozen=True)
class Reading:
    """What one cycle left behind."""

    megabytes: float
    files: int
    temporary: int
    threads: int


def reading() -> Reading:
    """Look at this process and at its folder of temporary files."""
    gc.collect()
    status = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    threads = next(int(line.split()[1]) for line in status if line.startswith("Threads"))
    temporary = sum(1 for _ in Path(tempfile.gettempdir()).rglob("*"))
    return Reading(kilobytes / 1024, sum(1 for _ in Path("/proc/self/fd").iterdir()), temporary, threads)


def call(*arguments: object) -> None:
    """Run one command of synthgap in this process."""
    from app.cli import main

    sys.argv = ["synthgap", *map(str, arguments)]
    stderr = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(stderr):
        try:
            main()
        except SystemExit as stop:
            if stop.code not in (0, None):
                raise RuntimeError(f"{arguments} ended with {stop.code}: {stderr.getvalue()[-500:]}") from stop


def look(run: Path) -> None:
    """Read a run as the dashboard does."""
    from app.run_store.reports import Run, load_probe, load_report, load_thumbnails

    opened = Run("run", run.resolve(), run.resolve().parent)
    report = load_report(opened)
    load_thumbnails(opened)
    for record in report.probes:
        if record.status == "done":
            load_probe(opened, record)


def cycle(world: World, out: Path) -> None:
    """Train two students, judge them, read the report, and throw all away."""
    call(*world.train(out))
    call(*world.diagnose(out))
    look(out)
    shutil.rmtree(out)


def soak(world: World, minutes: float, work: Path) -> list[Reading]:
    """Go through cycles for so many minutes; at least ten counted ones."""
    readings: list[Reading] = []
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end or len(readings) < WARM + 10:
        cycle(world, work / "run")
        readings.append(reading())
        if len(readings) % 10 == 1:
            print(f"cycle {len(readings)}: {readings[-1]}", flush=True)
    return readings[WARM:]


def verdict(readings: list[Reading]) -> tuple[str, bool]:
    """Say how much each grew from the first counted third to the last one, and whether that is flat."""
    third = max(1, len(readings) // 3)
    first, last = readings[:third], readings[-third:]
    mean = lambda rows, name: sum(getattr(row, name) for row in rows) / len(rows)  # noqa: E731
    lines = ["| what | first third | last third | at most |", "|---|---|---|---|"]
    flat = True
    for name, unit, most in (
        ("megabytes", "MiB in memory", MEMORY_A_CYCLE * len(readings) * 2 / 3),
        ("files", "open files", 0.5),
        ("temporary", "temporary files", 0.5),
        ("threads", "threads", 0.5),
    ):
        before, after = mean(first, name), mean(last, name)
        flat &= after - before <= most
        lines.append(f"| {unit} | {before:.1f} | {after:.1f} | +{most:.1f} |")
    return "\n".join(lines), flat


def main() -> None:
    """Soak, print the table, and keep it in `docs/results/faults.md` where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SYNTHGAP_CACHE"] = str(Path(folder) / "cache")
        tempfile.tempdir = str(Path(folder) / "temporary")
        Path(tempfile.tempdir).mkdir()
        begun = time.monotonic()
        readings = soak(build(Path(folder) / "world"), options.minutes, Path(folder))
        took = (time.monotonic() - begun) / 60
    text, flat = verdict(readings)
    text += f"\n\n{len(readings)} cycles counted after {WARM} to warm up, {took:.1f} minutes on {os.cpu_count()} cores: {'flat' if flat else 'NOT flat'}.\n"
    print(text)
    if options.keep:
        keep("soak", text)
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
