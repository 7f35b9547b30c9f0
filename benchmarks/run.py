"""Run the pairs side by side in one process and write the table: `make bench`, or `python benchmarks/run.py --only NAME --quick`."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import limits
from limits import Limits
from pairs import Row, Run, median, median_cpu

GROUPS = ("training", "attribution", "distances", "suite", "embedding", "separability", "umap", "dashboard")
TABLE = Path(__file__).parent.parent / "docs" / "results" / "bench.md"


def line(row: Row, known: Limits) -> str:
    """Write a row of the table in Markdown."""
    ours = _seconds(row.ours)
    if row.theirs:
        ratios = row.ratios
        theirs = _seconds(row.theirs)
        ratio = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}), processor {row.cpu_ratio:.2f}"
    else:
        theirs, ratio = "-", "-"
    met = "-" if row.least is None and row.most is None else "yes" if row.met else "**no**"
    return f"| {row.work} | {row.against or '-'} | {ours} | {theirs} | {ratio} | {row.goal} | {met} | {near(row, known)} | {row.note} |"


def _seconds(runs: Sequence[Run]) -> str:
    cpu = median_cpu(runs)
    return f"{median(runs):.3g} s ({cpu:.3g} s)" if math.isfinite(cpu) else f"{median(runs):.3g} s"


def near(row: Row, known: Limits) -> str:
    """Say how much of the time arithmetic or memory would take alone, by processor seconds, which other work disturbs least."""
    if not row.flops and not row.moved:
        return row.limit or "-"
    seconds = median_cpu(row.ours) / known.threads
    arithmetic, memory = row.flops / known.flops / seconds, row.moved / known.bandwidth / seconds
    kind = "FLOP/s" if arithmetic >= memory else "bandwidth"
    return f"{100 * max(arithmetic, memory):.0f} % of {kind}"


def page(lines: list[str], known: Limits, started: float, failed: dict[str, str]) -> str:
    """Write the page in Markdown."""
    load = os.getloadavg()[2]
    head = f"""# Speed, measured side by side
Made by `make bench` (`benchmarks/`), {time.strftime("%d %B %Y, %H:%M", time.localtime(started))} to {time.strftime("%H:%M")} UTC, {platform.machine()}, {os.cpu_count()} cores, {known.threads} threads of torch and BLAS.

Both of a pair ran in turn in one process, so that what else the machine did fell on both. The ratio is theirs to ours (above 1: ours is faster), median and range over
the pairs; *processor* is the same of user and system seconds. Seconds are of the clock, in brackets of the processor. {_shared(load)}

Limits in the same run, best of nine tries by processor seconds, {known.threads} threads: {known.flops / 1e9:.0f} GFLOP/s in float32, {known.flops64 / 1e9:.0f} in float64 (matrix product of 1024), {known.bandwidth / 1e9:.1f} GB/s
(copying 128 MB). *Near the limit* is the time that arithmetic or memory alone would take, as a share of the time taken.

| work | against | ours | theirs | ratio | goal | met | near the limit | notes |
|---|---|---|---|---|---|---|---|---|
"""
    body = "\n".join(lines)
    lost = "".join(f"\n- `{name}`: {why}" for name, why in failed.items())
    return head + body + "\n" + (f"\nNot measured:{lost}\n" if failed else "")


def _shared(load: float) -> str:
    """Say what the load over the last quarter of an hour means for the seconds."""
    cores = os.cpu_count() or 1
    load_words = f"The load over the last quarter of an hour was {load:.1f} on {cores} cores"
    if load <= 1.25 * cores:
        return load_words + ", so that little else ran."
    return (
        load_words
        + f": others worked as well, and **absolute clock seconds are too long by about {load / cores:.1f}**; ratios and processor seconds are not."
    )


def joined(parts: list[Path]) -> str:
    """Write the page of several runs: their rows in order, the greatest limits, the earliest start."""
    runs = [json.loads(part.read_text(encoding="utf-8")) for part in parts]
    best = Limits(**{name: max(each["limits"][name] for each in runs) for name in runs[0]["limits"]})
    failed = {name: why for each in runs for name, why in each["failed"].items()}
    return page([row for each in runs for row in each["lines"]], best, min(each["started"] for each in runs), failed)


def main() -> None:
    """Run what was asked for; a whole run that is not quick rewrites the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=GROUPS, help="one group of rows; may be given again")
    parser.add_argument("--quick", action="store_true", help="small sizes, a look at whether it runs")
    parser.add_argument("--reduced", action="store_true", help="middle sizes, for a machine that others use")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="threads of torch and BLAS; 1 on a machine that others use"
    )
    parser.add_argument("--out", type=Path, help="write the table here (a whole run writes docs/results/bench.md)")
    parser.add_argument("--part", type=Path, help="keep the rows here, for --join")
    parser.add_argument("--join", type=Path, nargs="+", help="write the table of these parts, of runs of different groups")
    options = parser.parse_args()
    if options.join:
        TABLE.write_text(joined(options.join), encoding="utf-8")
        return
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(options.threads)
    torch.set_num_threads(options.threads)
    effort = 0 if options.quick else 1 if options.reduced else 2
    started = time.time()
    known = limits.measure()
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for name in options.only or GROUPS:
        clock = time.time()
        try:
            rows += importlib.import_module(f"rows_{name}").rows(effort)
        except Exception as error:  # the other rows are still worth having
            failed[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        print(f"{name}: {time.time() - clock:.0f} s", failed.get(name, ""), file=sys.stderr, flush=True)
        last = limits.measure()
        known = Limits(known.threads, *(max(getattr(known, each), getattr(last, each)) for each in ("flops", "flops64", "bandwidth")))
        text = page([line(row, known) for row in rows], known, started, failed)
        part = {"lines": [line(row, known) for row in rows], "limits": asdict(known), "started": started, "failed": failed}
        if options.part is not None:
            options.part.write_text(json.dumps(part), encoding="utf-8")
        out = options.out or (None if options.only or options.quick else TABLE)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
