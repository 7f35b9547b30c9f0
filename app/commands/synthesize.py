"""`synthgap synthesize`: its options, turned into a configuration and prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.terminal.console import validated
from app.terminal.inputs import SourceOptions
from app.terminal.options import ClassColumn, ClassNames, DomainColumn, ImageColumn, Layout, SplitName

if TYPE_CHECKING:
    from rich.progress import Progress

    from distill.generate.settings import Codec
    from distill.text.contexts import Prompt


def synthesize(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    generator: Annotated[str | None, typer.Option(help="pocket, popp_sdxl, popp_sd15, farhat, a diffusers folder or a hub id.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names: a file with one a line, or a,b,c; with --train-on those of the data.")
    ] = None,
    train_on: Annotated[
        str | None, typer.Option(help="Instead of --generator: train a small class-conditional one on these images.")
    ] = None,
    train_limit: Annotated[int | None, typer.Option(help="Images of each class to train it on; by default all.")] = None,
    train_steps: Annotated[int, typer.Option(help="Training steps of 32 images.")] = 4000,
    per_class: Annotated[int | None, typer.Option(help="Pictures of each class; by default one for each prompt.")] = None,
    prompts: Annotated[str, typer.Option(help="simple, farhat_objects, farhat_scenes or farhat_textures.")] = "simple",
    template: Annotated[list[str] | None, typer.Option(help="Prompt with {} for the class name; may be given again.")] = None,
    contexts: Annotated[Path | None, typer.Option(help="TOML or JSON file of contexts, combined all-pairs.")] = None,
    llm: Annotated[
        str | None, typer.Option(help="Language model (folder or hub id) to be asked for contexts, kept in OUT/contexts.json.")
    ] = None,
    superclass: Annotated[str, typer.Option(help="What the classes are, such as pet; for --llm.")] = "",
    options: Annotated[int, typer.Option(help="Options in each dimension to ask --llm for: 5, 10, 15.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the set.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="diffusers scheduler, such as DDIM, LCM, EulerDiscrete.")] = None,
    lora: Annotated[str | None, typer.Option(help="LoRA weights: file, folder or hub id.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What pictures shall not show.")] = None,
    size: Annotated[str | None, typer.Option(help="Drawn size, SIDE or HEIGHTxWIDTH; by default the generator's.")] = None,
    save_size: Annotated[int | None, typer.Option(help="Resize the shorter side before writing.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16, fp16 or fp32.")] = None,
    variant: Annotated[str | None, typer.Option(help="Of the weight files, such as fp16.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    codec: Annotated[str, typer.Option(help="png, jpeg:QUALITY, webp:QUALITY, or match: that of --real.")] = "png",
    real: Annotated[str | None, typer.Option(help="Real images that the set will stand beside: warns when their codec is another.")] = None,
    keep_if_seen_by: Annotated[str | None, typer.Option(help="Teacher: leave out pictures that it takes for another class.")] = None,
    batch_size: Annotated[int, typer.Option(help="Pictures drawn at once.")] = 8,
    allow_download: Annotated[bool, typer.Option("--allow-download", help="Let the hub be asked for what is not on this machine.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted set, or make it larger.")] = False,
    class_column: ClassColumn = None,
    domain_column: DomainColumn = None,
    image_column: ImageColumn = None,
    class_names: ClassNames = None,
    split: SplitName = None,
    layout: Layout = None,
) -> None:
    """Draw a labelled synthetic set; start it under torchrun to share it among processes."""
    from app.terminal.console import progress_bars, say
    from distill.distributed.sharding import rank_and_world_size
    from distill.generate.settings import Codec, GeneratorConfig
    from distill.generate.synthesize import SynthesisConfig
    from distill.generate.synthesize import synthesize as run

    if (generator is None) == (train_on is None):
        raise ValueError(
            "one of `--generator` and `--train-on` must be given, got " + ("none" if generator is None else "both") + "; give one."
        )
    height, width = _size(size)
    changes = {"steps": steps, "guidance": guidance, "scheduler": scheduler, "lora": lora, "negative_prompt": negative_prompt}
    changes |= {"height": height, "width": width, "precision": precision, "variant": variant, "revision": revision}
    rank, world = rank_and_world_size()
    with progress_bars() as progress:
        if train_on is not None:
            source = SourceOptions(class_column, domain_column, None, image_column, class_names, split, layout)
            model, names = _train(
                train_on, train_limit, train_steps, classes, per_class, out, source=source, seed=seed, resume=resume, progress=progress
            )
            changes = {**changes, "steps": steps or 20, "guidance": 1.5 if guidance is None else guidance}
        else:
            model, names = generator or "", read_classes(classes)
        settings = validated(GeneratorConfig.named, model, **changes)
        chosen = _codec(codec, real)
        words = _prompts(names, prompts, template, contexts, llm, out, superclass, options, seed, allow_download=allow_download)
        config = validated(
            SynthesisConfig,
            class_names=list(names),
            generator=settings,
            per_class=max(len(choices) for choices in words.values()) if per_class is None else per_class,
            seed=seed,
            codec=chosen or Codec(),
            save_size=save_size,
            teacher=keep_if_seen_by,
        )
        result = run(
            config,
            words,
            out,
            batch_size=batch_size,
            resume=resume,
            rank=rank,
            world=world,
            allow_download=allow_download,
            progress=progress,
        )
    for reason, count in result.rejected.items():
        say(f"left out: {count} of {result.done}: {reason}")
    if result.manifest is None:
        typer.echo(f"{result.done} of {result.wanted} pictures are there; other processes draw the rest.")
    else:
        typer.echo(f"manifest: {result.manifest} ({result.done - sum(result.rejected.values())} pictures of {len(names)} classes)")


def read_classes(classes: str | None) -> tuple[str, ...]:
    """Read class names from a file with one a line (`#` begins a comment), or from `a,b,c`.

    Raises:
        ValueError: for no names, an empty one or two alike.
    """
    from distill.system.untrusted_text import read_text
    from distill.text.prompts import check_class_names

    if not classes:
        raise ValueError("`--classes` must be given, got nothing; name a file with one class a line, or write a,b,c.")
    path = Path(classes)
    if len(path.name) < 256 and path.is_file():  # a hundred names in a row are too long for a path, and asking would raise
        lines = [line.strip() for line in read_text(path, "`--classes`").splitlines()]
        return check_class_names([line for line in lines if line and not line.startswith("#")])
    if "," not in classes and ("/" in classes or path.suffix):
        raise FileNotFoundError(f"`--classes` must be a file that exists or names such as cat,dog, got {classes}; check the path.")
    return check_class_names([name.strip() for name in classes.split(",")])


def _size(size: str | None) -> tuple[int | None, int | None]:
    if size is None:
        return None, None
    parts = size.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() for part in parts):
        raise ValueError(f"`--size` must be SIDE or HEIGHTxWIDTH, got {size!r}; such as 512 or 512x768.")
    return int(parts[0]), int(parts[-1])


def _codec(codec: str, real: str | None) -> Codec:
    from distill.generate.real_codec import check_codec, codec_of
    from distill.generate.settings import Codec

    if codec == "match":
        if real is None:
            raise ValueError("`--real` must be given with --codec match, got nothing; name the real images.")
        return codec_of(real)
    chosen = Codec.parse(codec)
    if real is not None:
        check_codec(chosen, real)
    return chosen


def _prompts(
    class_names: Sequence[str],
    named: str,
    templates: Sequence[str] | None,
    contexts: Path | None,
    llm: str | None,
    out: Path,
    superclass: str,
    options: int,
    seed: int,
    *,
    allow_download: bool,
) -> Mapping[str, Sequence[Prompt]]:
    from distill.text.contexts import diverse_prompts, plain_prompts, read_contexts
    from distill.text.prompts import PROMPT_SETS

    if sum(value is not None for value in (templates or None, contexts, llm)) > 1:
        raise ValueError("at most one of `--template`, `--contexts` and `--llm` must be given, got more; choose one.")
    if llm is not None:
        from distill.generate.language_model import ask_once

        return diverse_prompts(
            class_names,
            ask_once(class_names, llm, out, superclass=superclass, options=options, seed=seed, allow_download=allow_download),
            seed=seed,
        )
    if contexts is not None:
        return diverse_prompts(class_names, read_contexts(contexts), seed=seed)
    if not templates and named not in PROMPT_SETS:
        raise ValueError(f"`--prompts` must be one of {sorted(PROMPT_SETS)}, got {named!r}; choose one, or give --template.")
    return plain_prompts(class_names, templates or PROMPT_SETS[named])


def _train(
    data: str,
    limit: int | None,
    steps: int,
    classes: str | None,
    per_class: int | None,
    out: Path,
    *,
    source: SourceOptions,
    seed: int,
    resume: bool,
    progress: Progress,
) -> tuple[str, tuple[str, ...]]:
    """Train the class-conditional generator in `out/generator`, or take the one that is finished there."""
    from distill.distributed.sharding import rank_and_world_size
    from distill.errors import DistillError
    from distill.generate.class_conditional import NAME, ClassConditionalConfig, train_generator
    from distill.generate.sources import first_per_class

    if classes is not None or per_class is None:
        raise ValueError(
            "with `--train-on`, `--per-class` must be given and `--classes` left out, got otherwise; the data name the classes."
        )
    several = rank_and_world_size()[1] > 1
    if several and not (out / "generator" / NAME).is_dir():
        raise DistillError(
            "the generator must be trained in one process, got several; run once without a launcher, then share the drawing."
        )
    split = source.open(data, domain=None if data.startswith("pocket:") else "real")
    config = validated(ClassConditionalConfig, steps=steps, seed=seed)
    folder = train_generator(
        split if limit is None else first_per_class(split, limit),
        out / "generator",
        config=config,
        resume=resume or several,
        progress=progress,
    )
    return str(folder), split.class_names
