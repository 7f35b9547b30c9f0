"""`make scale`: embed and probe 10^4 to 10^6 (or more) made-up rows of 512 numbers; memory and time of each, and how they grow.

Every size runs in a process of its own, so that its peak memory is its own. Embedding writes the table in parts as
`synthgap embed` does, from synthetic_inputs-up vectors instead of images; probing reads it memory-mapped. What a probe looks at by a sample (4,000 images by default) costs
the same at every size; it is cut to 400 here, so that what grows can be seen.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SAMPLE = 400
RESULTS = Path(__file__).parent.parent / "docs" / "results"
BOUND = 4 * 2**30


def main() -> None:
    """Measure the sizes asked for and write docs/results/scale.{md,svg}, or one size for ourselves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where the tables are written; by default a temporary folder")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--probe", nargs="+", default=["transfer", "separability", "drift"], help="table probes to run")
    parser.add_argument("--alone", action="store_true", help="a student without its teacher: half the disk, 3 times 20 GB at 10^7 with one")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.folder, options.probe, alone=options.alone)))
        return
    if options.alone:  # drift is a student's from its teacher
        options.probe = [name for name in options.probe if name != "drift"]
    results = []
    for n in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            command = [sys.executable, __file__, "--one", str(n), "--folder", folder, "--probe", *options.probe]
            command += ["--alone"] if options.alone else []
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(results[-1], file=sys.stderr, flush=True)
        if len(results) > 1:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / "scale.svg").write_text(picture(results), encoding="utf-8")
            (options.out / "scale.md").write_text(page(results, options.probe, alone=options.alone), encoding="utf-8")


def measure(n: int, folder: Path, probes: list[str], *, alone: bool = False) -> dict[str, float]:
    """Write two tables of n rows, or the student's alone, and run the table probes, with the peak of the resident memory of each part."""
    import numpy as np
    import synthetic_inputs

    from probes.embeddings import BLOCK_ROWS, EmbeddingTable
    from probes.registry import PROBES
    from probes.table_parts import TableParts

    start = _Peak()
    names = ("student",) if alone else ("teacher", "student")
    for encoder, name in enumerate(names):
        parts = TableParts(folder / name, rows=n, made_of=name)
        for at in range(0, n, BLOCK_ROWS):
            rows = np.arange(at, min(at + BLOCK_ROWS, n))
            columns = {
                "id": np.char.add("image-", np.char.zfill(rows.astype(str), 9)),
                "label": labels_of(rows),
                "domain": np.where(synthetic_of(rows), "synthetic", "real"),
            }
            parts.write(range(int(rows[0]), int(rows[-1]) + 1), vectors(rows, encoder), columns)
        parts.join(name)
    embedded = start.stop()
    results: dict[str, float] = {"rows": n, "write_seconds": embedded[0], "write_cpu": embedded[1], "write_peak": embedded[2]}
    start = _Peak()
    tables = {name: EmbeddingTable.load(folder / name) for name in names}
    weights = synthetic_inputs.class_weights()
    for name in probes:
        PROBES[name].function(tables["student"], tables.get("teacher"), class_weights=weights, max_images=SAMPLE).save(
            folder / "results" / name
        )
    results["probe_seconds"], results["probe_cpu"], results["probe_peak"] = start.stop()
    results["disk"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    return results


def labels_of(rows: object) -> object:
    """Return the class of each row."""
    return rows % 10  # type: ignore[operator]


def synthetic_of(rows: object) -> object:
    """Tell which rows are synthetic."""
    return rows // 10 % 2 == 1  # type: ignore[operator]


def vectors(rows: object, encoder: int) -> object:
    """Make up embeddings of a block: its class centre, noise of its own, a shift of the synthetic ones."""
    import numpy as np
    import synthetic_inputs

    noise = np.random.default_rng([encoder, int(rows[0])]).standard_normal((len(rows), 512), dtype=np.float32)  # type: ignore[index, arg-type]
    x = synthetic_inputs.class_weights().T[labels_of(rows)] / 2 + noise
    x[synthetic_of(rows)] += 0.1 * synthetic_inputs.class_weights()[:, 0]
    return x


class _Peak:
    """Seconds, processor seconds and peak resident bytes of what happens until `stop`."""

    def __init__(self) -> None:
        self.clock, self.cpu, self.peak, self.going = time.perf_counter(), time.process_time(), 0, True
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while self.going:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.peak = max(self.peak, pages * resource.getpagesize())
            time.sleep(0.02)

    def stop(self) -> tuple[float, float, int]:
        self.going = False
        self.thread.join()
        return time.perf_counter() - self.clock, time.process_time() - self.cpu, self.peak


def slopes(results: list[dict[str, float]], name: str) -> str:
    """Compute the slope on log-log axes between sizes that follow one another: 1 is linear."""
    pairs = itertools.pairwise(results)
    return ", ".join(f"{math.log(b[name] / a[name]) / math.log(b['rows'] / a['rows']):.2f}" for a, b in pairs)


def page(results: list[dict[str, float]], probes: list[str], *, alone: bool = False) -> str:
    """Write the table in Markdown."""
    lines = [
        "# Growth with the number of rows",
        f"Made by `make scale` (`benchmarks/scale.py`): {'one table (a student without its teacher)' if alone else 'two tables (student, teacher)'} of made-up rows of 512 float32, written in parts and joined, then",
        f"{', '.join(f'`{name}`' for name in probes)} over the memory-mapped tables, samples cut to {SAMPLE} images so that what grows is seen. Peak memory is the resident set of the process,",
        "mapped pages included, looked at every 20 ms. Processor seconds are of one process; clock seconds are of a shared machine.",
        "",
        "| rows | write: processor s (clock) | write: peak | probe: processor s (clock) | probe: peak | bytes on disk |",
        "|---|---|---|---|---|---|",
    ]
    for row in results:
        lines.append(
            f"| {row['rows']:,} | {row['write_cpu']:.1f} ({row['write_seconds']:.1f}) | {row['write_peak'] / 2**20:.0f} MiB "
            f"| {row['probe_cpu']:.1f} ({row['probe_seconds']:.1f}) | {row['probe_peak'] / 2**20:.0f} MiB | {row['disk'] / 1e9:.2f} GB |"
        )
    most = max(max(row["write_peak"], row["probe_peak"]) for row in results)
    lines += [
        "",
        f"Slopes on log-log axes from one size to the next (1 is linear): writing {slopes(results, 'write_cpu')}; probing {slopes(results, 'probe_cpu')}; "
        f"memory of probing {slopes(results, 'probe_peak')}.",
        f"Greatest peak {most / 2**30:.2f} GiB, {'below' if most < BOUND else '**above**'} the bound of 4 GiB.",
        "",
        "![growth](scale.svg)",
    ]
    return "\n".join(lines) + "\n"


def picture(results: list[dict[str, float]]) -> str:
    """Draw processor seconds and peak memory over rows, both axes logarithmic, as SVG."""
    kinds = (
        ("processor seconds", (("write", "write_cpu", 1.0), ("probe", "probe_cpu", 1.0)), None),
        ("peak memory, MiB", (("write", "write_peak", 2.0**20), ("probe", "probe_peak", 2.0**20)), 4096.0),
    )
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 330" font-family="sans-serif" font-size="12" fill="#222">']
    parts.append('<rect width="760" height="330" fill="white"/>')
    for number, (title, lines, bound) in enumerate(kinds):
        left, top, wide, high = 60 + 380 * number, 40, 290, 230
        values = [row[key] / unit for row in results for _, key, unit in lines] + ([bound] if bound else [])
        low, far = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        first, last = math.floor(math.log10(results[0]["rows"])), math.ceil(math.log10(results[-1]["rows"]))
        last = max(last, first + 1)

        def at(
            n: float, value: float, left=left, top=top, wide=wide, high=high, low=low, far=far, first=first, last=last
        ) -> tuple[float, float]:
            return left + wide * (math.log10(n) - first) / (last - first), top + high * (far - math.log10(value)) / (far - low)

        parts.append(f'<text x="{left}" y="24" font-weight="bold">{title}</text>')
        for power in range(low, far + 1):
            y = at(10**first, 10.0**power)[1]
            parts.append(
                f'<path d="M{left} {y:.1f}h{wide}" stroke="#ddd"/><text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
            )
        for power in range(first, last + 1):
            x = at(10.0**power, 10.0**low)[0]
            parts.append(
                f'<path d="M{x:.1f} {top}v{high}" stroke="#eee"/><text x="{x:.1f}" y="{top + high + 18}" text-anchor="middle">{10**power:,}</text>'
            )
        parts.append(f'<text x="{left + wide / 2}" y="{top + high + 38}" text-anchor="middle">rows of 512</text>')
        if bound:
            y = at(10**first, bound)[1]
            parts.append(
                f'<path d="M{left} {y:.1f}h{wide}" stroke="#b00" stroke-dasharray="5 4"/><text x="{left + 4}" y="{y - 5:.1f}" fill="#b00">bound: 4 GiB</text>'
            )
        for (name, key, unit), colour in zip(lines, ("#1f77b4", "#d95f02"), strict=True):
            dots = [at(row["rows"], row[key] / unit) for row in results]
            parts.append(
                f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in dots)}"/>'
            )
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in dots]
            x, y = dots[-1]
            parts.append(
                f'<text x="{x - 8:.1f}" y="{y + (24 if name == "write" else -8):.1f}" text-anchor="end" fill="{colour}">{name}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
