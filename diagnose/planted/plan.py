"""The benchmark of planted truth: which draws there are, and running those that are not done yet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diagnose.planted.config import PlantedConfig
from diagnose.planted.draw import LOSSES, Draw, Kind, Training, run_draw
from diagnose.planted.world import Sizes, open_world
from distill.system.untrusted_text import read_json
from probes.result import DiagnosticError


def draws_of(config: PlantedConfig) -> list[Draw]:
    """List all draws, seed by seed, so that an unfinished benchmark has seen a little of everything."""
    draws: list[Draw] = []

    def of_cue(kind: Kind, cue: str, strength: float, seed: int) -> Draw:
        return Draw(kind, cue, strength, seed, share=config.share, amplitude=config.amplitude)

    for number in range(max(config.draws, config.nulls, config.dose_draws)):
        seed = config.first_seed + number
        if number < max(config.draws, config.nulls):
            draws.append(Draw("halves", "", 0.0, seed))
        if number < config.nulls:
            draws.append(Draw("imbalance", "", 0.0, seed))
            draws.append(of_cue("unused", config.families[number % len(config.families)], 0.0, seed))
            draws.append(of_cue("weak_teacher", config.families[(number + 1) % len(config.families)], 0.0, seed))
        if number < config.draws:
            draws += [of_cue("cue", cue, strength, seed) for strength in config.strengths for cue in config.families]
        if number < config.dose_draws:
            draws += [
                Draw("cue" if strength else "unused", config.dose_cue, strength, seed, loss=loss, judged=False)
                for loss in LOSSES
                for strength in config.dose_strengths
            ]
    return list({draw.name: draw for draw in draws}.values())


def run_plan(
    config: PlantedConfig, out: Path, *, resume: bool = False, progress: Callable[[str, int, int], None] | None = None
) -> list[dict[str, Any]]:
    """Run every draw that is not done, and write the records so far after each.

    Args:
        config: what to run.
        out: folder to write.
        resume: go on with a folder that holds a benchmark.
        progress: called as `progress(what, done, total)`.

    Returns:
        All records.

    Raises:
        FileExistsError: when `out` holds a benchmark and `resume` is not set.
        DiagnosticError: when it was started with another configuration.
    """
    from diagnose.planted.page import write_page
    from diagnose.report.assemble import write_text

    note, log = out / "planted.json", out / "draws.jsonl"
    if log.exists() and not resume:
        raise FileExistsError(f"`out` must be a new folder, got {out}, which holds a benchmark; add --resume or choose another folder.")
    same = config.model_dump(mode="json", exclude={"draws", "nulls", "dose_draws", "families", "strengths"})
    if note.is_file():
        before = read_json(note, "`planted.json`")
        if not isinstance(before, dict) or {name: before.get(name) for name in same} != same:
            raise DiagnosticError(f"{out} must be gone on with as it was begun, got other options; choose a new folder or the old options.")
    write_text(note, json.dumps(config.model_dump(mode="json"), indent=1) + "\n")
    world = open_world(
        config.data, test=config.test, teacher=config.teacher, out=out, image_size=config.image_size, epochs=config.teacher_epochs
    )
    training, sizes = Training(epochs=config.epochs), Sizes(config.train_images, config.test_images, config.classes)
    records = {record["name"]: record for record in read_records(log)}
    todo = draws_of(config)
    for number, draw in enumerate(todo):
        if progress is not None:
            progress("draws", number, len(todo))
        if draw.name in records:
            continue
        records[draw.name] = run_draw(draw, world, training=training, sizes=sizes, limit=config.limit, out=out)
        write_text(log, "".join(json.dumps(record) + "\n" for record in records.values()))
    shutil.rmtree(out / "targets", ignore_errors=True)
    finished = list(records.values())
    write_page(finished, config, world.name, world.teacher, out)
    if progress is not None:
        progress("draws", len(todo), len(todo))
    return finished


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the records of finished draws, leaving out what is not whole; an absent file has none."""
    if not path.is_file():
        return []
    parsed: Sequence[dict[str, Any] | None] = [_record(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [record for record in parsed if record is not None]


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and {"name", "draw", "truth"} <= set(record) else None
