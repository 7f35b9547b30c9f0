"""`synthgap embed`: images streamed through an encoder to a table, by one process or by all of a launcher."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.terminal.options import ClassColumn, ClassNames, DomainColumn, GroupColumn, ImageColumn, Layout, SplitName

if TYPE_CHECKING:
    import numpy as np
    from rich.progress import Progress
    from torch import nn

    from diagnose.inputs.subjects import Encode, Subject
    from distill.data.split import Split

PIECE = 4096
"""Images between two writes: what a killed process loses at most."""

MOST_PASSES = 4
"""Forward passes at the same time at most."""

MOST_PIXELS = 2 * 256 * 224**2
"""Pixels of all passes at the same time, since each holds a batch and its activations; one pass may be larger."""

STATELESS = ("torch", "torchvision", "timm", "open_clip", "distill")
"""Packages whose modules, in eval mode, keep nothing of one call that another could read."""

Given = TypeVar("Given")
Made = TypeVar("Made")


def embed(
    model: Annotated[str, typer.Argument(help="timm:, open_clip:, hf:, builtin:, checkpoint or file.py:function.")],
    data: Annotated[str, typer.Argument(help="Images.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    domain: Annotated[str | None, typer.Option(help="real or synthetic, where the data do not say.")] = None,
    weights: Annotated[str | None, typer.Option(help="State dict for the model, FILE or FILE#KEY.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels; needed when images differ in size.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out images that cannot be read, and count them.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images in one forward pass.", min=1)] = 256,
    class_column: ClassColumn = None,
    domain_column: DomainColumn = None,
    group_column: GroupColumn = None,
    image_column: ImageColumn = None,
    class_names: ClassNames = None,
    split: SplitName = None,
    layout: Layout = None,
) -> None:
    """Embed images once, as a table of rows that every probe can read.

    Start it again to go on after a kill. Under torchrun or accelerate launch the processes share the images evenly;
    the table is the same, bit for bit, at the same number of threads.
    """
    _wait_asleep()
    from distill.system.allocator import keep_freed_memory

    keep_freed_memory(threads=True)  # before there are threads
    from distill.distributed.sharding import rank_and_world_size

    rank, world = rank_and_world_size()
    if world > 1 and (out / "table.json").is_file():
        typer.echo(f"table: {out} (finished before)")
        return
    if out.exists():
        raise FileExistsError(f"`out` must be a new folder, got {out}; choose another.")
    from app.terminal.console import progress_bars
    from app.terminal.inputs import SourceOptions
    from diagnose.inputs.load import load_subject
    from distill.models.student import has_random_weights
    from distill.training.experiment import common_size

    if world > 1 and weights is None and has_random_weights(model):
        raise ValueError(
            f"`model` must have weights under a launcher, got {model}, for which each process draws its own; give --weights FILE."
        )

    source = SourceOptions(class_column, domain_column, group_column, image_column, class_names, split, layout)
    images = source.open(data, domain=domain, skip_bad=skip_bad, lazy=True)
    size = common_size(images, what="--image-size") if image_size is None else image_size
    subject = load_subject(model, weights=weights, image_size=size)
    with progress_bars() as progress:
        table, left = embed_in_parts(subject, images, out, size=size, batch_size=batch_size, rank=rank, world=world, progress=progress)
    if table is None:
        typer.echo(f"part of table: {out} ({left} of {len(images)} rows are still with other processes, or lost with them: start again)")
    else:
        about = json.loads((table / "table.json").read_text(encoding="utf-8"))
        typer.echo(f"table: {out} ({about['rows']} x {about['dimension']})")


def _wait_asleep() -> None:
    """Let torch's threads sleep soon while they wait for each other, before torch is loaded: images are decoded on the same cores meanwhile.

    GNU's OpenMP spins for milliseconds by default. A setting of the caller's own stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def embed_in_parts(
    subject: Subject,
    split: Split,
    out: Path,
    *,
    size: int,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    progress: Progress | None = None,
) -> tuple[Path | None, int]:
    """Embed this process's share of a split, piece by piece, and join all pieces when it is the last to finish.

    Args:
        subject: the encoder.
        split: the images.
        out: the table's folder.
        size: side of the images.
        batch_size: images in one forward pass.
        rank: number of this process.
        world: number of processes.
        progress: rich progress, or None.

    Returns:
        The table's folder, or None while rows are missing; and how many are.
    """
    from distill.distributed.sharding import chunks, shard_of
    from probes.table_parts import TableParts

    ids = split.ids
    state = hashlib.sha256(repr((subject.weights_hash, size, batch_size, split.class_names)).encode())
    for column in (ids, split.labels, split.domains):
        state.update(column.tobytes())
    passes = passes_at_once(subject.embed, images=len(split), batch_size=batch_size, size=size)
    parts = TableParts(out, rows=len(split), made_of=state.hexdigest())
    share = shard_of(len(split), rank, world)
    todo = parts.missing(share)
    task = None if progress is None else progress.add_task("embedding", total=len(share), completed=len(share) - sum(map(len, todo)))
    for rows in (piece for stretch in todo for piece in chunks(stretch, max(PIECE // batch_size, 1) * batch_size)):
        unit, columns = _embed_rows(subject, split, rows, size=size, batch_size=batch_size, passes=passes)
        here = slice(rows.start, rows.stop)
        known = {"id": ids[here], "label": split.labels[here], "domain": split.domains[here]}
        parts.write(rows, unit, known | {f"metadata/{name}": column for name, column in columns.items()})
        if progress is not None and task is not None:
            progress.advance(task, len(rows))
    table = parts.join(subject.name)
    return table, 0 if table is not None else sum(map(len, parts.missing(range(len(split)))))


def passes_at_once(encode: Encode, *, images: int, batch_size: int, size: int) -> int:
    """Count the forward passes to run side by side, each on its part of torch's threads: small networks leave threads waiting for each other.

    The number is the same for every share of the images. It is one on a GPU, and for what we do not know to keep nothing from one call to the next:
    code of others, hooks, traced and compiled networks.

    Args:
        encode: an encoder, or any callable.
        images: number of images of all processes.
        batch_size: images in one pass.
        size: side of the images in pixels.
    """
    import torch

    if not isinstance(encode, torch.nn.Module) or not all(map(_keeps_nothing, encode.modules())):
        return 1
    if any(tensor.device.type != "cpu" for tensor in encode.state_dict().values()):
        return 1
    threads, batches = torch.get_num_threads(), -(-min(images, PIECE) // batch_size)
    most = max(1, min(MOST_PASSES, threads, batches, MOST_PIXELS // (batch_size * size**2)))
    return max(range(1, most + 1), key=lambda passes: (threads // passes * passes, passes))  # no thread is left over where that can be


def _keeps_nothing(part: nn.Module) -> bool:
    import torch

    ours = type(part).__module__.partition(".")[0] in STATELESS and not isinstance(part, (torch.jit.ScriptModule, torch.fx.GraphModule))
    return ours and "forward" not in vars(part) and not part._forward_hooks and not part._forward_pre_hooks


def _embed_rows(
    subject: Subject, split: Split, rows: range, *, size: int, batch_size: int, passes: int = 1
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Embed some rows as one process alone would, (n, D) raw, with the facts of their files."""
    import numpy as np
    import torch

    from distill.data.prefetch import prefetched
    from distill.distributed.sharding import whole_batches
    from probes.eval_mode import eval_mode

    def embedded(batch: tuple[range, np.ndarray, dict[str, np.ndarray]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        _, pixels, known = batch
        with torch.inference_mode():
            part = subject.embed(torch.from_numpy(pixels).float().div_(255))
        if part.ndim != 2 or len(part) != len(pixels):
            raise ValueError(
                f"the encoder must return shape ({len(pixels)}, D), got {tuple(part.shape)}; pool the tokens to one vector an image."
            )
        return part.float().cpu().numpy(), known

    batches = list(whole_batches(rows, batch_size, len(split)))
    first = batches[0].start
    with eval_mode(subject.embed):
        embeddings, facts = zip(*_in_order(embedded, prefetched(split, size, batches), passes), strict=True)
    keep = slice(rows.start - first, rows.stop - first)
    return np.concatenate(embeddings)[keep], {name: np.concatenate([each[name] for each in facts])[keep] for name in facts[0]}


def _in_order(work: Callable[[Given], Made], items: Iterable[Given], passes: int) -> Iterator[Made]:
    """Do work on items in threads that share torch's, and give what it makes in the order of the items; one more is held than worked on."""
    import torch

    if passes == 1:
        yield from map(work, items)
        return
    threads, pending = torch.get_num_threads(), deque[Future[Made]]()
    try:
        with ThreadPoolExecutor(passes, initializer=torch.set_num_threads, initargs=(threads // passes,)) as pool:
            try:
                for item in items:
                    pending.append(pool.submit(work, item))
                    if len(pending) > passes:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()
    finally:
        torch.set_num_threads(threads)  # what a thread sets holds for the threads that come after it too
