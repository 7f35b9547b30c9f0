"""Teacher embeddings of every training view, computed once and shared by all students."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from distill.errors import DistillError
from distill.models.teacher import Teacher
from distill.system.atomic_files import write_then_rename
from distill.training.views import Views

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.progress import Progress


class TeacherTargets:
    """Unit teacher embeddings (N, D) of view k of N images, read from a memory-mapped file or computed and kept.

    Args:
        teacher: frozen.
        pixels: all N images, uint8, shape (N, 3, H, W).
        views: the views.
        fingerprint: content hash of the images.
        folder: where the files are kept; the key is of content (weights, images, views, precision), never of names.
        accelerator: decides the precision.
        batch_size: images a forward pass.
    """

    def __init__(
        self,
        teacher: Teacher,
        pixels: Tensor,
        views: Views,
        *,
        fingerprint: str,
        folder: Path,
        accelerator: Accelerator,
        batch_size: int = 500,
    ) -> None:
        self.teacher = teacher
        self.pixels = pixels
        self.views = views
        self.accelerator = accelerator
        self.batch_size = batch_size
        parts = [
            "folded",
            teacher.hash,
            fingerprint,
            views.config.key,
            str(tuple(pixels.shape)),
            accelerator.mixed_precision,
            torch.__version__,
        ]
        self.folder = folder / hashlib.sha256(" ".join(parts).encode()).hexdigest()[:24]
        self._open: dict[int, Tensor] = {}

    def view(self, view: int, progress: Progress | None = None) -> Tensor:
        """Return the teacher's embeddings of one view, computed on the first call.

        Args:
            view: number k of the view.
            progress: rich progress, or None.

        Returns:
            float32 unit rows, shape (N, D).

        Raises:
            DistillError: when another program replaces the stored file.
        """
        if view not in self._open:
            path = self.folder / f"view-{view:03d}.npy"
            rows = self._read(path)
            if rows is None:
                self._compute(view, path, progress)
                rows = self._read(path)
            if rows is None:
                raise DistillError(f"{path} must stay as written, got another file; give each machine its own SYNTHGAP_CACHE.")
            self._open[view] = torch.from_numpy(rows)
        return self._open[view]

    def _read(self, path: Path) -> np.ndarray | None:
        """Map a kept file; None where it is absent or was cut short by something else than us."""
        with contextlib.suppress(OSError, ValueError, EOFError):
            rows = np.load(path, mmap_mode="c", allow_pickle=False)
            if rows.shape == (len(self.pixels), self.teacher.embed_dim) and rows.dtype == np.float32:
                return rows
        return None

    def _compute(self, view: int, path: Path, progress: Progress | None) -> None:
        n = len(self.pixels)
        device = self.accelerator.device
        self.teacher.fast_encode.to(device)
        task = progress.add_task(f"teacher, view {view}", total=n) if progress else None
        rows = torch.empty(n, self.teacher.embed_dim)
        for start in range(0, n, self.batch_size):
            indices = torch.arange(start, min(start + self.batch_size, n))
            with self.accelerator.autocast():
                rows[indices] = self.teacher.embed_images(self.views.images(self.pixels, indices, view).to(device)).cpu()
            if progress is not None and task is not None:
                progress.advance(task, len(indices))
        if progress is not None and task is not None:
            progress.remove_task(task)
        write_then_rename(path, lambda file: np.save(file, rows.numpy(), allow_pickle=False))
