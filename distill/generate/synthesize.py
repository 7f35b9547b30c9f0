"""Draw a labelled synthetic set from class names: planned, sharded, resumable to the picture, described by a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, field_validator

from distill.errors import DistillError
from distill.generate.draw import Drawing, Painter
from distill.generate.pipelines import Pipeline, load_pipeline
from distill.generate.referee import Referee, Sighting
from distill.generate.requests import Request, plan
from distill.generate.settings import Codec, GeneratorConfig, require_same_settings
from distill.generate.store import Entry, Store, encode
from distill.system.atomic_files import write_then_rename
from distill.text.contexts import Prompt
from distill.text.prompts import DEFAULT_TEMPLATES, check_class_names

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger(__name__)


class SynthesisConfig(BaseModel):
    """All that decides which pictures a set holds; equal configurations give equal sets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    class_names: list[str] = Field(min_length=1)
    generator: GeneratorConfig
    per_class: int = Field(ge=1)
    seed: int = Field(0, ge=0, lt=2**63)
    codec: Codec = Codec()
    save_size: int | None = Field(None, ge=8, description="shorter side of the files; None: as drawn")
    teacher: str | None = Field(None, description="filter: keep what this teacher classifies right")
    templates: list[str] = Field(default_factory=lambda: list(DEFAULT_TEMPLATES), description="of the filter's prompts")

    @field_validator("class_names")
    @classmethod
    def _apart(cls, value: list[str]) -> list[str]:
        return list(check_class_names(value))


@dataclass(frozen=True)
class Made:
    """What a call of `synthesize` ended with.

    Args:
        wanted: pictures of the whole set.
        done: how many of them are there, of all processes.
        rejected: reason -> how many of these are left out.
        drawn: how many this call drew.
        manifest: its path when the set is whole, else None: other processes are still at work.
    """

    wanted: int
    done: int
    rejected: Mapping[str, int]
    drawn: int
    manifest: Path | None


def synthesize(
    config: SynthesisConfig,
    prompts: Mapping[str, Sequence[Prompt]],
    out: Path,
    *,
    batch_size: int = 8,
    resume: bool = False,
    rank: int = 0,
    world: int = 1,
    allow_download: bool = False,
    progress: Progress | None = None,
) -> Made:
    """Draw what is still missing of a set, and write its manifest once all pictures are there.

    A picture depends on (generator, its settings, seed, class, words, repeat), not on the process, the order or when it was drawn. With the
    same batch size the files of a killed and resumed set, or of another number of processes, are the same bytes on the same
    machine; with another batch size they may differ by rounding, one grey level or two on a processor in fp32.

    Args:
        config: which pictures.
        prompts: class -> words, from `diverse_prompts` or `plain_prompts`.
        out: folder of the set.
        batch_size: pictures drawn at once.
        resume: go on with a set that was begun, or make it larger (`per_class`).
        rank: number of this process; each draws every `world`-th batch.
        world: number of processes; more than one imply `resume`.
        allow_download: whether the hub may be asked for the generator.
        progress: rich progress, or None.

    Returns:
        What is there now.

    Raises:
        FileExistsError: when `out` holds a set and `resume` is not set.
        DistillError: for a set begun with other settings or weights, a folder that cannot be written or is in use.
        FileNotFoundError, ValueError: for a generator, prompts or a teacher that cannot be used, before anything is drawn.
    """
    if not 0 <= rank < world or batch_size < 1:
        raise ValueError(f"`rank` must be below `world` and `batch_size` at least 1, got {rank}, {world}, {batch_size}; correct them.")
    if list(prompts) != config.class_names:
        raise ValueError(f"`prompts` must be of the classes {config.class_names}, in this order, got {list(prompts)}; make them anew.")
    if (out / "synthesis.json").exists() and not (resume or world > 1):
        raise FileExistsError(f"`out` must be a new folder, got {out}, which holds a set; add --resume or choose another folder.")
    requests = plan(prompts, per_class=config.per_class, seed=config.seed, key=config.generator.key)
    store = Store(out, config.codec, rank=rank, world=world)
    try:
        _agree(out, config, prompts)
        if world == 1:
            store.sweep()
        done = store.done(requests)
        groups = [requests[at : at + batch_size] for at in range(0, len(requests), batch_size)][rank::world]
        todo = [group for group in groups if any(request.id not in done for request in group)]
        drawn = _fill(config, todo, done, store, allow_download=allow_download, progress=progress) if todo else 0
        done = store.done(requests)
        manifest = None
        if len(done) == len(requests):
            state = _read(out)
            facts = {"generator": config.generator.name, "settings": {**_settings(config), **state["pipeline"]}}
            manifest = store.seal(requests, done, class_names=config.class_names, facts=facts)
    finally:
        store.close()
    reasons = Counter(_kind(entry.rejected) for entry in done.values() if entry.rejected)
    return Made(len(requests), len(done), dict(reasons), drawn, manifest)


def _fill(
    config: SynthesisConfig,
    todo: Sequence[Sequence[Request]],
    done: Mapping[str, Entry],
    store: Store,
    *,
    allow_download: bool,
    progress: Progress | None,
) -> int:
    """Draw groups of requests; a group is drawn whole, as its batch decides the last bits, and only what is missing is kept."""
    pipeline = load_pipeline(config.generator, allow_download=allow_download)
    _agree_on_weights(store.folder, pipeline)
    if not pipeline.by_class:
        pipeline.check_prompts([request.prompt.text for group in todo for request in group])
    painter = Painter(pipeline, config.generator, config.class_names)
    referee = _referee(config)
    missing = sum(request.id not in done for group in todo for request in group)
    drawn = flawed = 0
    with _task(progress, missing) as advance:
        for group in todo:
            drawings = painter.draw(group)
            files = [encode(drawing.pixels, config.codec, config.save_size) for drawing in drawings]
            seen = referee.look(files) if referee else [None] * len(files)
            for request, drawing, data, sighting in zip(group, drawings, files, seen, strict=True):
                if request.id in done:
                    continue
                store.add(request, data, _entry(request, drawing, data, sighting, config.class_names))
                drawn += 1
                flawed += drawing.flaw is not None
                advance()
            if flawed == drawn and flawed >= min(8, missing):
                flaw = next(drawing.flaw for drawing in drawings if drawing.flaw)
                raise DistillError(
                    f"`generator` must draw pictures, got {flawed} of {drawn} that are not: {flaw}; mend its settings and start anew."
                )
    return drawn


def _entry(request: Request, drawing: Drawing, data: bytes, sighting: Sighting | None, class_names: Sequence[str]) -> Entry:
    if sighting is None:
        return Entry(request.id, len(data), drawing.flaw)
    seen, share = class_names[sighting.label], round(sighting.probability, 6)
    wrong = None if sighting.label == request.label else f"teacher sees {seen} ({100 * share:.0f} %)"
    return Entry(request.id, len(data), drawing.flaw or wrong, seen, share)


def _kind(reason: str) -> str:
    return "another class to the teacher" if reason.startswith("teacher sees") else reason.partition(":")[0].partition(",")[0]


def _referee(config: SynthesisConfig) -> Referee | None:
    if config.teacher is None:
        return None
    from distill.models.teacher import load_teacher

    spec = config.teacher
    if spec == "pocket":
        from distill.packs import pocket

        spec = str(pocket.teacher_folder())
    return Referee(load_teacher(spec), config.class_names, config.templates)


def _settings(config: SynthesisConfig) -> dict[str, Any]:
    """Give what the manifest says of every picture's making."""
    kept = config.generator.model_dump(exclude_none=True) | {"model": config.generator.name}
    return kept | {"save_size": config.save_size, "set_seed": config.seed}


def _agree(out: Path, config: SynthesisConfig, prompts: Mapping[str, Sequence[Prompt]]) -> None:
    """Write down what the set is of, or refuse one that was begun as another; only `per_class` may change."""
    words = json.dumps({name: [prompt.text for prompt in choices] for name, choices in prompts.items()})
    state = config.model_dump(mode="json", exclude={"per_class"}) | {"prompts": hashlib.blake2b(words.encode(), digest_size=16).hexdigest()}
    with FileLock(out / "journal" / "set.lock"):
        if not (out / "synthesis.json").exists():
            return _write(out, {"config": state, "pipeline": {}})
        before = _read(out)["config"]
    require_same_settings(before, state, out)
    return None


def _agree_on_weights(out: Path, pipeline: Pipeline) -> None:
    """Write down the weights, or refuse to go on with others: a set is of one generator."""
    with FileLock(out / "journal" / "set.lock"):
        state = _read(out)
        if not state["pipeline"]:
            return _write(out, {**state, "pipeline": pipeline.facts})
    for name in ("pipeline", "weights", "scheduler", "precision"):
        if state["pipeline"][name] != pipeline.facts[name]:
            raise DistillError(
                f"`generator` must be the one that {out} was begun with, got another {name}: {pipeline.facts[name]}; choose a new folder."
            )
    return None


def _read(out: Path) -> dict[str, Any]:
    try:
        return json.loads((out / "synthesis.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DistillError(f"{out / 'synthesis.json'} must be readable, got {error}; choose a new folder.") from error


def _write(out: Path, state: Mapping[str, Any]) -> None:
    write_then_rename(out / "synthesis.json", lambda file: file.write(json.dumps(state, indent=1).encode()))


@contextlib.contextmanager
def _task(progress: Progress | None, total: int) -> Iterator[Any]:
    if progress is None:
        yield lambda: None
        return
    task = progress.add_task("drawing", total=total)
    yield lambda: progress.advance(task)
