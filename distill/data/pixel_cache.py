"""Many encoded images to one array, once: read in parallel, named when they are bad, kept as a memory-mapped file."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from datasets import Dataset
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from distill.data.decode import DECODER_VERSION, MAX_BYTES, BadImageError, decode, fit
from distill.data.shards import place_in_shard
from distill.system.atomic_files import PARTIAL
from distill.system.memory_limit import check_fits_memory

logger = logging.getLogger(__name__)

T = TypeVar("T")

CHUNK = 256  # images a task of the thread pool works on: large against the cost of a task, small against memory
SHOWN = 5  # bad files an error names before it only counts

_warned: set[str] = set()


def cache_folder() -> Path:
    """Return the folder of decoded pixels: `SYNTHGAP_CACHE`, or `~/.cache/synthgap`."""
    return Path(os.environ.get("SYNTHGAP_CACHE") or Path.home() / ".cache" / "synthgap")


def _encoded(entry: dict[str, bytes | str | None]) -> bytes:
    if entry is None:
        raise BadImageError("missing")
    if entry["bytes"] is not None:
        return entry["bytes"]  # type: ignore[return-value]
    path = Path(str(entry["path"]))
    try:
        place = place_in_shard(str(path))
        if place is not None and place[0].is_file():
            return _from_shard(*place)
        kind = path.stat()
        if not stat.S_ISREG(kind.st_mode):  # a pipe or device would be waited for, or never end
            raise BadImageError("not a regular file")
        if kind.st_size > MAX_BYTES:
            raise BadImageError(f"gigantic: {kind.st_size >> 20} MiB are more than {MAX_BYTES >> 20}")
        return path.read_bytes()
    except ValueError as error:  # a name with a zero byte in it
        if isinstance(error, BadImageError):
            raise
        raise BadImageError("cannot be opened: its path is none") from error
    except OSError as error:
        raise BadImageError(f"cannot be opened: {error.strerror or error}") from error


def _from_shard(shard: Path, offset: int, size: int) -> bytes:
    with shard.open("rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise BadImageError(f"cut off in {shard.name}, which has changed")
    return data


def scan(
    rows: Dataset, work: Callable[[bytes], T], *, progress: bool = False, what: str = "images", chunk: int = CHUNK
) -> Generator[list[T | BadImageError], None, None]:
    """Apply `work` to the encoded bytes of every image, in order, in threads and in bounded memory.

    Close it (`contextlib.closing`) where it may be left early: it holds threads and a progress bar.

    Args:
        rows: data set of N rows with a column `image` of bytes or paths.
        work: bytes of one file -> anything; may raise `BadImageError`, which is then the item.
        progress: whether to show a bar on standard error, where that is a terminal.
        what: what the bar says.
        chunk: images that a thread takes at once.

    Yields:
        Results of up to `chunk` consecutive images.
    """

    def some(entries: list[dict[str, bytes | str | None]]) -> list[T | BadImageError]:
        results: list[T | BadImageError] = []
        for entry in entries:
            try:
                results.append(work(_encoded(entry)))
            except BadImageError as error:
                results.append(error)
        return results

    workers = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    tables = rows.select_columns(["image"]).with_format("arrow").iter(batch_size=chunk)
    pending: deque[Future[list[T | BadImageError]]] = deque()
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True) if progress and console.is_terminal else None
    with ThreadPoolExecutor(workers) as pool, bar or nullcontext():
        task = bar.add_task(what, total=len(rows)) if bar else None
        for table in tables:
            pending.append(pool.submit(some, table.column("image").to_pylist()))
            while len(pending) > 2 * workers:
                yield _advance(bar, task, pending.popleft().result())
        while pending:
            yield _advance(bar, task, pending.popleft().result())


def _advance(bar: Progress | None, task: object, results: list[T | BadImageError]) -> list[T | BadImageError]:
    if bar is not None:
        bar.advance(task, len(results))  # type: ignore[arg-type]
    return results


def collect(rows: Dataset, work: Callable[[bytes], T], *, progress: bool = False, what: str = "images") -> list[T | BadImageError]:
    """Gather what `scan` yields in one list of N."""
    with closing(scan(rows, work, progress=progress, what=what)) as scanned, quiet():
        return [item for results in scanned for item in results]


def refuse(rows: Dataset, bad: list[tuple[int, BadImageError]], name: str) -> None:
    """Raise one sentence that names the first bad images; do nothing when there are none.

    Raises:
        ValueError: when `bad` is not empty.
    """
    if not bad:
        return
    parts = [f"{_label(rows, index)} ({reason})" for index, reason in bad[:SHOWN]]
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    raise ValueError(
        f"images of `{name}` must be whole still pictures of eight bits in RGB or grey, got {len(bad)} of {len(rows)} that are not: "
        f"{', '.join(parts)}{more}; mend or remove them, or skip them with --skip-bad (`skip_bad=True`)."
    )


def _label(rows: Dataset, index: int) -> str:
    row = rows[index]
    image = row["image"]
    by_file = image and image["bytes"] is None and image["path"] and place_in_shard(image["path"]) is None
    name = str(image["path"]) if by_file else str(row["id"])
    return name if len(name) < 500 else f"{name[:200]}...{name[-200:]}"


def decode_all(rows: Dataset, size: int | None, *, name: str, key: Callable[[], str], progress: bool = False) -> np.ndarray:
    """Decode all images to one array, or map the file an earlier call has left.

    Args:
        rows: data set of N rows with columns `id` and `image`.
        size: side of the square every image is resized and cropped to, or None for the images' own, equal, size.
        name: what errors call the data.
        key: gives a hash of the content; called once.
        progress: whether to show a bar on standard error.

    Returns:
        Pixels (N, 3, H, W), uint8 in 0..255. Mapped copy-on-write: writing to it never changes the cached file.

    Raises:
        ValueError: naming the first bad images, or two sizes that differ where `size` is None.
    """
    suffix = "own" if size is None else str(size)
    path = cache_folder() / "pixels" / f"{key()}-{suffix}-v{DECODER_VERSION}.npy"
    cached = _map(path, len(rows))
    if cached is not None:
        return cached
    with closing(_decoded(rows, size, name=name, progress=progress)) as chunks, quiet():
        return _stored(path, len(rows), chunks)


def _stored(path: Path, count: int, chunks: Iterator[np.ndarray]) -> np.ndarray:
    """Write chunks to `path` and map it; where that cannot be, warn once a folder and keep them in memory."""
    first = next(chunks)
    shape = (count, *first.shape[1:])
    try:
        temporary = _reserve(path, shape)
    except OSError as error:
        if str(path.parent) not in _warned:
            _warned.add(str(path.parent))
            logger.warning(
                "decoded images cannot be kept in %s (%s), so they stay in memory and are decoded again next time; set SYNTHGAP_CACHE.",
                path.parent,
                error.strerror or error,
            )
        check_fits_memory(
            int(np.prod(shape, dtype=np.int64)), "decoded images that the cache has no place for", "give a smaller size or free space"
        )
        return _fill(np.empty(shape, np.uint8), first, chunks)
    try:
        array = np.load(temporary, mmap_mode="r+", allow_pickle=False)
        _fill(array, first, chunks)
        array.flush()
        del array
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    result = _map(path, count)
    if result is None:
        raise ValueError(f"cached pixels {path} must stay as written, got another file; give each machine its own SYNTHGAP_CACHE.")
    return result


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings, of large images and of odd tags; `decode` has its own, lower bound, and refuses what it cannot read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _fill(array: np.ndarray, first: np.ndarray, chunks: Iterator[np.ndarray]) -> np.ndarray:
    array[: len(first)] = first
    start = len(first)
    for chunk in chunks:
        array[start : start + len(chunk)] = chunk
        start += len(chunk)
    return array


def _decoded(rows: Dataset, size: int | None, *, name: str, progress: bool) -> Generator[np.ndarray, None, None]:
    """Yield (n, 3, H, W) of consecutive images; once a bad one is met, only look for more of them, then raise."""
    bad: list[tuple[int, BadImageError]] = []
    shape: tuple[int, ...] | None = None
    start = 0

    def work(data: bytes) -> np.ndarray:
        image = decode(data)
        return np.asarray(image if size is None else fit(image, size)).transpose(2, 0, 1)

    with closing(scan(rows, work, progress=progress, what=f"decoding {name}")) as scanned:
        for results in scanned:
            bad += [(start + offset, item) for offset, item in enumerate(results) if isinstance(item, BadImageError)]
            for offset, item in enumerate(results):
                if isinstance(item, BadImageError):
                    continue
                shape = shape or item.shape
                if item.shape != shape:
                    raise ValueError(
                        f"images of `{name}` must all have one size when `size` is not given, got {shape[2]} x {shape[1]} and "
                        f"{item.shape[2]} x {item.shape[1]} ({_label(rows, start + offset)}); give `size`, such as 224."
                    )
            start += len(results)
            if not bad:
                yield np.stack(results)  # type: ignore[arg-type]
    refuse(rows, bad, name)


def find_bad(rows: Dataset, *, name: str, progress: bool = False) -> list[tuple[int, BadImageError]]:
    """Decode every image and keep none: the position and reason of each that cannot be used."""
    items = collect(rows, lambda data: decode(data) and None, progress=progress, what=f"checking {name}")
    return [(index, item) for index, item in enumerate(items) if isinstance(item, BadImageError)]


def digests(rows: Dataset, *, name: str) -> np.ndarray:
    """Hash the encoded bytes of every image: (N, 16) uint8.

    Raises:
        ValueError: naming the first images whose file cannot be opened.
    """
    items = collect(rows, lambda data: hashlib.blake2b(data, digest_size=16).digest())
    refuse(rows, [(index, item) for index, item in enumerate(items) if isinstance(item, BadImageError)], name)
    return np.frombuffer(b"".join(items), np.uint8).reshape(-1, 16)  # type: ignore[arg-type]


def _map(path: Path, count: int) -> np.ndarray | None:
    with suppress(OSError, ValueError, EOFError):  # absent, or cut short by something else than us: decode again
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        if array.dtype == np.uint8 and array.ndim == 4 and len(array) == count:
            return array
    return None


def _reserve(path: Path, shape: tuple[int, ...]) -> Path:
    """Make a temporary .npy of zeros beside `path` with all its blocks taken.

    Writing through a memory map to a full disk kills the process; taking the blocks first turns that into an error.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=".npy", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            rest = int(np.prod(shape))
            if hasattr(os, "posix_fallocate"):
                file.flush()
                os.posix_fallocate(file.fileno(), file.tell(), rest)
            else:
                block = bytes(1 << 20)
                for start in range(0, rest, len(block)):
                    file.write(block[: rest - start])
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
