"""Generate a labelled synthetic set from class names: sharded, resumable at every image, listed in a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, field_validator

from distill.errors import DistillError
from distill.generate.draw import GeneratedImage, PipelineRunner
from distill.generate.pipelines import Pipeline, load_pipeline
from distill.generate.referee import Prediction, TeacherFilter
from distill.generate.requests import Request, plan
from distill.generate.settings import Codec, GeneratorConfig, require_same_settings
from distill.generate.store import ImageStore, JournalEntry, encode
from distill.system.atomic_files import write_then_rename
from distill.text.contexts import Prompt
from distill.text.prompts import DEFAULT_TEMPLATES, check_class_names

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger(__name__)


class SynthesisConfig(BaseModel):
    """All settings that decide the images of a set; equal configurations give equal sets."""

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
    def _distinct(cls, value: list[str]) -> list[str]:
        return list(check_class_names(value))


@dataclass(frozen=True)
class SynthesisResult:
    """What `synthesize` returns.

    Args:
        wanted: images of the whole set.
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
) -> SynthesisResult:
    """Generate the missing images of a set, and write its manifest once all are there.

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
    store = ImageStore(out, config.codec, rank=rank, world=world)
    try:
        _check_settings(out, config, prompts)
        if world == 1:
            store.remove_temporary_files()
        done = store.done(requests)
        groups = [requests[at : at + batch_size] for at in range(0, len(requests), batch_size)][rank::world]
        todo = [group for group in groups if any(request.id not in done for request in group)]
        drawn = _fill(config, todo, done, store, allow_download=allow_download, progress=progress) if todo else 0
        done = store.done(requests)
        manifest = None
        if len(done) == len(requests):
            state = _read(out)
            facts = {"generator": config.generator.name, "settings": {**_settings(config), **state["pipeline"]}}
            manifest = store.write_manifest(requests, done, class_names=config.class_names, facts=facts)
    finally:
        store.close()
    reasons = Counter(_reason_group(entry.rejected) for entry in done.values() if entry.rejected)
    return SynthesisResult(len(requests), len(done), dict(reasons), drawn, manifest)


def _fill(
    config: SynthesisConfig,
    todo: Sequence[Sequence[Request]],
    done: Mapping[str, JournalEntry],
    store: ImageStore,
    *,
    allow_download: bool,
    progress: Progress | None,
) -> int:
    """Generate groups of requests and return how many images are new.

    A group is generated whole, as its batch decides the last bits, and only the missing images are stored.
    """
    pipeline = load_pipeline(config.generator, allow_download=allow_download)
    _check_weights(store.folder, pipeline)
    if not pipeline.by_class:
        pipeline.check_prompts([request.prompt.text for group in todo for request in group])
    runner = PipelineRunner(pipeline, config.generator, config.class_names)
    teacher_filter = _teacher_filter(config)
    missing = sum(request.id not in done for group in todo for request in group)
    drawn = flawed = 0
    with _task(progress, missing) as advance:
        for group in todo:
            images = runner.generate(group)
            files = [encode(image.pixels, config.codec, config.save_size) for image in images]
            predictions = teacher_filter.classify(files) if teacher_filter else [None] * len(files)
            for request, image, data, prediction in zip(group, images, files, predictions, strict=True):
                if request.id in done:
                    continue
                store.add(request, data, _entry(request, image, data, prediction, config.class_names))
                drawn += 1
                flawed += image.flaw is not None
                advance()
            if flawed == drawn and flawed >= min(8, missing):
                flaw = next(image.flaw for image in images if image.flaw)
                raise DistillError(
                    f"`generator` must draw pictures, got {flawed} of {drawn} that are not: {flaw}; mend its settings and start anew."
                )
    return drawn


def _entry(request: Request, image: GeneratedImage, data: bytes, prediction: Prediction | None, class_names: Sequence[str]) -> JournalEntry:
    if prediction is None:
        return JournalEntry(request.id, len(data), image.flaw)
    predicted, share = class_names[prediction.label], round(prediction.probability, 6)
    wrong = None if prediction.label == request.label else f"teacher sees {predicted} ({100 * share:.0f} %)"
    return JournalEntry(request.id, len(data), image.flaw or wrong, predicted, share)


def _reason_group(reason: str) -> str:
    return "another class to the teacher" if reason.startswith("teacher sees") else reason.partition(":")[0].partition(",")[0]


def _teacher_filter(config: SynthesisConfig) -> TeacherFilter | None:
    if config.teacher is None:
        return None
    from distill.models.teacher import load_teacher

    spec = config.teacher
    if spec == "pocket":
        from distill.packs import pocket

        spec = str(pocket.teacher_folder())
    return TeacherFilter(load_teacher(spec), config.class_names, config.templates)


def _settings(config: SynthesisConfig) -> dict[str, object]:
    """Return the settings that the manifest stores with every image."""
    settings = config.generator.model_dump(exclude_none=True) | {"model": config.generator.name}
    return settings | {"save_size": config.save_size, "set_seed": config.seed}


def _check_settings(out: Path, config: SynthesisConfig, prompts: Mapping[str, Sequence[Prompt]]) -> None:
    """Store the settings of a new set, or refuse to resume one with others; only `per_class` may change."""
    words = json.dumps({name: [prompt.text for prompt in choices] for name, choices in prompts.items()})
    state = config.model_dump(mode="json", exclude={"per_class"}) | {"prompts": hashlib.blake2b(words.encode(), digest_size=16).hexdigest()}
    with FileLock(out / "journal" / "set.lock"):
        if not (out / "synthesis.json").exists():
            return _write(out, {"config": state, "pipeline": {}})
        before = _read(out)["config"]
    require_same_settings(before, state, out)
    return None


def _check_weights(out: Path, pipeline: Pipeline) -> None:
    """Store the hashes of a new set's generator, or refuse to resume the set with another generator."""
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


def _write(out: Path, state: Mapping[str, object]) -> None:
    write_then_rename(out / "synthesis.json", lambda file: file.write(json.dumps(state, indent=1).encode()))


@contextlib.contextmanager
def _task(progress: Progress | None, total: int) -> Iterator[Callable[[], None]]:
    if progress is None:
        yield lambda: None
        return
    task = progress.add_task("drawing", total=total)
    yield lambda: progress.advance(task)
