"""The folder of a synthetic set: images, a journal of finished images, and the manifest."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from PIL import Image

from distill.errors import DistillError
from distill.generate.requests import Request
from distill.generate.settings import Codec
from distill.system.atomic_files import write_then_rename

MANIFEST = "manifest.parquet"


@dataclass(frozen=True)
class JournalEntry:
    """The journal's line of one finished image.

    Args:
        id: of its request.
        bytes: size of its file; a file of another size is drawn again.
        rejected: why it is left out, or None.
        seen: the class the teacher sees, or None where none looked.
        probability: the teacher's, of that class.
    """

    id: str
    bytes: int
    rejected: str | None = None
    seen: str | None = None
    probability: float | None = None


class ImageStore:
    """Read and write one synthetic set, by any number of processes at once.

    Args:
        folder: of the set; it is made.
        codec: of its pictures.
        rank: number of this process.
        world: number of processes.

    Raises:
        DistillError: for a folder that cannot be written, or one that another process of the same rank is filling.
    """

    def __init__(self, folder: Path, codec: Codec, *, rank: int = 0, world: int = 1) -> None:
        self.folder = folder
        self.codec = codec
        self.journal = folder / "journal" / f"{rank:03d}-of-{world:03d}.jsonl"
        try:
            self.journal.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.journal.with_suffix(".lock"))
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise DistillError(
                f"`out` must be filled by one process of rank {rank}, got a second one in {folder}; wait for the first."
            ) from error
        except OSError as error:
            raise DistillError(
                f"`out` must be a folder that can be written, got {folder}: {error.strerror or error}; choose another."
            ) from error

    def close(self) -> None:
        """Release this rank for another process."""
        self._lock.release()

    def path(self, request: Request, entry: JournalEntry | None = None) -> Path:
        """Return the path of an image's file; rejected images have a folder of their own.

        Args:
            request: of the image.
            entry: its line in the journal; without one it counts as kept.
        """
        top = "rejected" if entry is not None and entry.rejected else "images"
        return self.folder / top / (request.id + self.codec.suffix)

    def done(self, requests: Iterable[Request]) -> dict[str, JournalEntry]:
        """Find the images that are whole: listed in a journal, with a file of the listed size.

        Args:
            requests: images to look for.

        Returns:
            Id -> entry.
        """
        entries: dict[str, JournalEntry] = {}
        for path in sorted(self.journal.parent.glob("*.jsonl")):
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(ValueError, TypeError):  # the last line of a killed process may be cut
                    entry = JournalEntry(**json.loads(line))
                    entries[entry.id] = entry
        finished = {}
        for request in requests:
            entry = entries.get(request.id)  # type: ignore[assignment]
            if entry is not None:
                with contextlib.suppress(OSError):
                    if self.path(request, entry).stat().st_size == entry.bytes:
                        finished[request.id] = entry
        return finished

    def add(self, request: Request, data: bytes, entry: JournalEntry) -> None:
        """Store one image: its journal line first, then its file under a temporary name that is renamed.

        After a kill in between, the line has no file and the image is generated again.

        Args:
            request: of the image.
            data: the encoded image.
            entry: its line in the journal.

        Raises:
            DistillError: when the disk is full or the folder cannot be written.
        """
        try:
            with self.journal.open("ab") as file:
                if file.tell() and not _ends_with_newline(self.journal):
                    file.write(b"\n")
                file.write(json.dumps(asdict(entry)).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DistillError(f"{self.journal} must be writable, got {error.strerror or error}; free space, then resume.") from error
        write_then_rename(self.path(request, entry), lambda file: file.write(data))

    def remove_temporary_files(self) -> int:
        """Remove temporary files of killed processes; call it only when no other process fills the set.

        Returns:
            Number of files removed.
        """
        temporary = [path for top in ("images", "rejected") for path in (self.folder / top).rglob(".*-*") if path.is_file()]
        for path in temporary:
            path.unlink(missing_ok=True)
        return len(temporary)

    def write_manifest(
        self, requests: Sequence[Request], entries: Mapping[str, JournalEntry], *, class_names: Sequence[str], facts: Mapping[str, object]
    ) -> Path:
        """Write the manifest of all images, and `images/metadata.parquet` of the kept ones for `datasets`' image folders.

        Args:
            requests: all of the set.
            entries: id -> entry, of all.
            class_names: C names in label order.
            facts: `generator` and `settings`, the same for all.

        Returns:
            The manifest's path; equal sets give equal tables, whoever writes them.
        """
        table = _table(requests, entries, class_names=class_names, facts=facts, codec=self.codec)
        paths = [self.path(request, entries[request.id]).relative_to(self.folder).as_posix() for request in requests]
        whole = _with_file_names(table, paths, class_names)
        accepted = whole.filter(whole.column("rejected").is_null()).drop_columns(["rejected"])
        inside = [name.removeprefix("images/") for name in accepted.column("file_name").to_pylist()]
        listing = _with_file_names(accepted.drop_columns(["file_name"]), inside, class_names)
        with FileLock(self.folder / "journal" / "manifest.lock"):
            if accepted.num_rows:
                write_then_rename(self.folder / "images" / "metadata.parquet", lambda file: pq.write_table(listing, file))
            write_then_rename(self.folder / MANIFEST, lambda file: pq.write_table(whole, file))
        return self.folder / MANIFEST


def encode(pixels: np.ndarray, codec: Codec, size: int | None = None) -> bytes:
    """Encode an RGB image as a file.

    Args:
        pixels: uint8, shape (H, W, 3).
        codec: of the file.
        size: shorter side to resize to first (bicubic, antialiased); None keeps the size.

    Returns:
        The file; equal pixels give equal bytes.
    """
    image = Image.fromarray(pixels)
    if size is not None and min(image.size) != size:
        scale = size / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    if codec.name == "jpeg":
        image.save(buffer, "JPEG", quality=codec.quality or 95, subsampling=codec.subsampling)
    elif codec.name == "webp":
        image.save(buffer, "WEBP", quality=codec.quality or 95)
    else:
        image.save(buffer, "PNG")
    return buffer.getvalue()


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _table(
    requests: Sequence[Request],
    entries: Mapping[str, JournalEntry],
    *,
    class_names: Sequence[str],
    facts: Mapping[str, object],
    codec: Codec,
) -> pa.Table:
    rows = [entries[request.id] for request in requests]
    count = len(requests)
    columns: dict[str, pa.Array] = {
        "id": pa.array([request.id for request in requests], pa.string()),
        "label": pa.array([request.label for request in requests], pa.int64()),
        "class_name": pa.array([class_names[request.label] for request in requests], pa.string()),
        "domain": pa.array(["synthetic"] * count, pa.string()),
        "caption": pa.array([request.prompt.text for request in requests], pa.string()),
        "prompt": pa.array([request.prompt.text for request in requests], pa.string()),
        "generator": pa.array([facts["generator"]] * count, pa.string()),
        "seed": pa.array([request.seed for request in requests], pa.int64()),
        "number": pa.array([request.number for request in requests], pa.int64()),
        "settings": pa.array([json.dumps(facts["settings"], sort_keys=True)] * count, pa.string()),
        "codec": pa.array([str(codec)] * count, pa.string()),
        "rejected": pa.array([entry.rejected for entry in rows], pa.string()),
    }
    if any(entry.seen is not None for entry in rows):
        columns["seen"] = pa.array([entry.seen for entry in rows], pa.string())
        columns["seen_probability"] = pa.array([entry.probability for entry in rows], pa.float64())
    for name in dict.fromkeys(name for request in requests for name in request.prompt.contexts):
        columns[f"context_{name}"] = pa.array([request.prompt.contexts.get(name) for request in requests], pa.string())
    return pa.table(columns)


def _with_file_names(table: pa.Table, paths: Sequence[str], class_names: Sequence[str]) -> pa.Table:
    """Put `file_name` first and tell `datasets` the classes, so that both libraries number them alike."""
    table = table.add_column(0, "file_name", pa.array(paths, pa.string()))
    features = datasets.Features.from_arrow_schema(table.schema.remove_metadata())
    features["label"] = datasets.ClassLabel(names=list(class_names))
    return table.cast(features.arrow_schema)
