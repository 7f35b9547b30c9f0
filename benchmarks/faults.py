"""Kill, starve and confuse the four long commands, and see whether they end in the same bits; `make faults` keeps the table.

A try survives when no file under its final name is half a file, whatever was said is one line with exit code 2, and the command ends
in the same bits as one that was left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
from fork_server import Before, ForkServer, clock_a_year_back, full_disk, no_override
from PIL import Image
from tiny_world import World, build

COMMANDS = ("train", "embed", "synthesize", "diagnose")
RESULTS = Path(__file__).parents[1] / "docs" / "results" / "faults.md"


@dataclass
class Row:
    """One line of the table: a fault, how often it was tried, and what went wrong."""

    fault: str
    command: str
    tries: int = 0
    wrong: list[str] = field(default_factory=list)


class Bench:
    """A world, a server, and the bits that each command ends in when it is left alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = ForkServer(folder / "server")
        self.world: World = build(folder / "world")
        self.bits: dict[str, dict[str, str]] = {}
        self.seconds: dict[str, float] = {}
        for command in COMMANDS:
            self._leave_alone(command)

    def _leave_alone(self, command: str) -> None:
        out = self.world.folder / "whole" / command
        self.prepare(command, out)
        code, stderr, self.seconds[command] = self.server.finish(*self.call(command, out))
        if code != 0:
            raise RuntimeError(f"{command} must end well when it is left alone, got {code}: {stderr}")
        self.bits[command] = bits(out)
        # warm, as the killed ones will be
        again = self.fresh(command)
        _, _, self.seconds[command] = self.server.finish(*self.call(command, again))
        if bits(again) != self.bits[command]:
            raise RuntimeError(f"{command} must end in the same bits twice; nothing can be compared otherwise")

    def call(self, command: str, out: Path) -> list[object]:
        """Return the arguments of a command that writes into `out`."""
        return getattr(self.world, command)(out)

    def prepare(self, command: str, out: Path) -> None:
        """Make what a command needs: a diagnosis needs a trained run."""
        out.parent.mkdir(parents=True, exist_ok=True)
        if command == "diagnose":
            shutil.copytree(self.world.folder / "whole" / "train", out)

    def fresh(self, command: str) -> Path:
        """Return a new path for a command's output."""
        out = Path(tempfile.mkdtemp(dir=self.folder)) / "out"
        self.prepare(command, out)
        return out

    def finish(self, command: str, out: Path, before: Before | None = None) -> tuple[int, str]:
        """Run a command to its end; a table that is there is an embedding that had ended."""
        if command == "embed" and out.exists():
            return 0, ""
        code, stderr, _ = self.server.finish(*self.call(command, out), before=before)
        return code, stderr

    def ends_well(self, command: str, out: Path) -> str | None:
        """Go on with a command, undisturbed; give what is wrong with the end, or None."""
        code, stderr = self.finish(command, out)
        if code != 0:
            return f"going on ended with {code}: {stderr.strip()[-300:]}"
        hashes = bits(out)
        if hashes != self.bits[command]:
            differs = sorted(name for name in hashes.keys() | self.bits[command].keys() if hashes.get(name) != self.bits[command].get(name))
            return f"other bits in {differs[:3]}"
        shutil.rmtree(out.parent)
        return None


def bits(folder: Path) -> dict[str, str]:
    """Hash everything a command made that does not hold a time or a speed; hidden files and logs of times are left out."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or any(part.startswith(".") for part in Path(name).parts) or name.startswith("journal/"):
            continue
        if path.name in ("done", "environment.json", "report.html", "resume.safetensors", "synthesis.json"):
            continue
        content = path.read_bytes()
        if path.name == "metrics.jsonl":
            rows = [json.loads(line) for line in content.splitlines()]
            rows = [{key: value for key, value in row.items() if key != "images_per_second"} for row in rows]
            content = json.dumps(sorted(rows, key=lambda row: (row["student"], row["epoch"]))).encode()
        elif path.name == "report.json":
            report = json.loads(content)
            report.pop("created")
            for student in report["students"]:
                for row in student["curve"]:
                    row.pop("images_per_second", None)
            content = json.dumps(report, sort_keys=True).encode()
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                content = b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays.files))
        hashes[name] = hashlib.sha256(content).hexdigest()
    return hashes


def halves(folder: Path) -> list[str]:
    """List the files under a final name that cannot be read whole."""
    broken = []
    for path in folder.rglob("*") if folder.exists() else ():
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        try:
            _read(path)
        except Exception as error:
            broken.append(f"{path.relative_to(folder)}: {type(error).__name__}: {error}"[:200])
    return broken


def _read(path: Path) -> None:
    from distill.models.checkpoint import read_tensors

    readers: dict[str, Callable[[Path], object]] = {
        ".safetensors": read_tensors,
        ".json": lambda file: json.loads(file.read_text()),
        ".toml": lambda file: tomllib.loads(file.read_text()),
        ".parquet": pq.read_table,
        ".xml": ElementTree.parse,
        ".npy": lambda file: np.load(file, mmap_mode="r", allow_pickle=False).shape,
        ".npz": lambda file: {name: array.shape for name, array in np.load(file, allow_pickle=False).items()},
        ".png": lambda file: Image.open(file).load(),
    }
    if path.suffix in readers:
        readers[path.suffix](path)
    elif path.name == "metrics.jsonl":
        for line in path.read_text().splitlines():
            json.loads(line)
    elif path.name == "report.html" and not path.read_text().rstrip().endswith("</html>"):
        raise ValueError("half a page")


def killed(bench: Bench, command: str, tries: int, seed: int) -> Row:
    """Kill a command at random moments, going on with what is left until it ends, then start anew, until `tries` kills have hit."""
    row = Row("SIGKILL at a random moment", command)
    moments = random.Random(f"{command} {seed}")
    while row.tries < tries:
        out = bench.fresh(command)
        for _ in range(6):
            if row.tries == tries:
                break
            if command == "embed" and out.exists():
                break
            if not bench.server.kill(*bench.call(command, out), after=moments.uniform(0, bench.seconds[command])):
                break  # it had ended
            row.tries += 1
            row.wrong += halves(out)
        wrong = bench.ends_well(command, out)
        if wrong:
            row.wrong.append(wrong)
    return row


def _one_line(code: int, stderr: str, words: str) -> str | None:
    lines = [line for line in stderr.splitlines() if line.startswith(("error: ", "failed: "))]
    if code != 2 or not lines or "Traceback" in stderr or "fault of synthgap" in stderr:
        return f"ended with {code}: {stderr.strip()[-300:]}"
    return None if words in stderr else f"did not say {words!r}: {stderr.strip()[-300:]}"


def disk_full(bench: Bench, command: str, tries: int) -> Row:
    """Let no file grow beyond 1 KB, then lift that and go on."""
    row = Row("full disk", command, tries)
    for _ in range(tries):
        out = bench.fresh(command)
        wrong = _one_line(*bench.finish(command, out, full_disk), "must be writable")
        row.wrong += [*halves(out), *filter(None, (wrong, bench.ends_well(command, out)))]
    return row


def read_only(bench: Bench, command: str, tries: int) -> Row:
    """Take the right to write away from the folder, then give it back and go on."""
    row = Row("read-only folder", command, tries)
    for _ in range(tries):
        out = bench.fresh(command)
        place = out if out.exists() else out.parent
        place.chmod(0o555)
        wrong = _one_line(*bench.finish(command, out, no_override), "must be")
        place.chmod(0o755)
        row.wrong += [*halves(out), *filter(None, (wrong, bench.ends_well(command, out)))]
    return row


def clock_jumps(bench: Bench, command: str, tries: int) -> Row:
    """Set the clock back by a year and on again, ten times a second."""
    row = Row("clock jumps by a year", command, tries)
    for _ in range(tries):
        out = bench.fresh(command)
        code, stderr = bench.finish(command, out, clock_a_year_back)
        row.wrong += [*([f"ended with {code}: {stderr}"] if code else []), *filter(None, [bench.ends_well(command, out)])]
    return row


def two_at_once(bench: Bench, command: str, tries: int) -> Row:
    """Start a command twice in one folder."""
    row = Row("two processes, one folder", command, tries)
    for _ in range(tries):
        out = bench.fresh(command)
        pair = [bench.server.start(*bench.call(command, out)) for _ in range(2)]
        for child in pair:
            child.join(120)
        codes = sorted(child.exitcode or 0 for child in pair)
        if codes not in ([0, 0], [0, 2]):  # the second may also come when the first has ended
            row.wrong.append(f"ended with {codes}")
        row.wrong += [*halves(out), *filter(None, [bench.ends_well(command, out)])]
    return row


def vanishing(bench: Bench, tries: int, seed: int) -> Row:
    """Take the training images away at a random moment: they are in memory by then, or the error names them."""
    row = Row("data vanish while it runs", "train", tries)
    moments = random.Random(seed)
    data, away = bench.world.folder / "data", bench.world.folder / "away"
    for _ in range(tries):
        out = bench.fresh("train")
        child = bench.server.start(*bench.call("train", out))
        time.sleep(moments.uniform(0, bench.seconds["train"]))
        data.rename(away)
        child.join(120)
        stderr = (bench.server.folder / "said.txt").read_text()
        away.rename(data)
        if child.exitcode != 0:
            row.wrong += filter(None, [_one_line(child.exitcode or 0, stderr, str(data))])
        row.wrong += [*halves(out), *filter(None, [bench.ends_well("train", out)])]
    return row


def run(bench: Bench, *, kills: int, each: int, seed: int) -> list[Row]:
    """Try every fault on every command it can meet."""
    rows = [killed(bench, command, kills // len(COMMANDS), seed) for command in COMMANDS]
    for fault in (disk_full, read_only, clock_jumps, two_at_once):
        rows += [fault(bench, command, each) for command in COMMANDS]
    return [*rows, vanishing(bench, each, seed)]


def table(rows: list[Row]) -> str:
    """Write the rows as Markdown."""
    lines = ["| fault | command | tries | survived |", "|---|---|---|---|"]
    lines += [f"| {row.fault} | `{row.command}` | {row.tries} | {max(0, row.tries - len(row.wrong))} |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Run all, print the table, and keep it between the marks in `docs/results/faults.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--each", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="write docs/results/faults.md")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        rows = run(bench, kills=options.kills, each=options.each, seed=options.seed)
    wrong = [f"- {row.fault}, `{row.command}`: {fault}" for row in rows for fault in row.wrong]
    alone = ", ".join(f"{command} {seconds:.1f} s" for command, seconds in bench.seconds.items())
    text = (
        f"{table(rows)}\n\nSeed {options.seed}, {(time.monotonic() - begun) / 60:.0f} minutes on {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}. Left alone: {alone}.\n"
        + "".join(f"{line}\n" for line in ["", "What went wrong:", "", *wrong] if wrong)
    )
    print(text)
    if options.keep:
        keep("table", text)
    sys.exit(1 if wrong else 0)


def keep(mark: str, text: str, path: Path = RESULTS) -> None:
    """Put a text between two marks of the results page."""
    page = path.read_text()
    head, _, rest = page.partition(f"<!-- {mark} -->\n")
    _, _, tail = rest.partition(f"<!-- end of {mark} -->")
    path.write_text(f"{head}<!-- {mark} -->\n{text.rstrip()}\n<!-- end of {mark} -->{tail}")


if __name__ == "__main__":
    main()
