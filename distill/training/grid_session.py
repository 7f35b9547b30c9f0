"""An open experiment in one process: its students and the data that they share."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from distill.data.pixel_cache import cache_folder
from distill.data.split import Split
from distill.errors import DistillError
from distill.losses import needs_of
from distill.models.encoder import Encoder
from distill.models.foreign_weights.filling import fill_from_file
from distill.models.student import attach_projection, build_backbone
from distill.system.atomic_files import write_then_rename
from distill.text.captions import write_texts
from distill.training.config import Experiment
from distill.training.experiment import Opened
from distill.training.metrics import MetricsLog
from distill.training.targets import TeacherTargets
from distill.training.trackers import tracked
from distill.training.train import HeldOut, Metrics, Recipe, TrainingImages, train_student
from distill.training.views import Views
from distill.training.web_shards import stream_images

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.progress import Progress


logger = logging.getLogger(__name__)


def recipes(experiment: Experiment) -> list[Recipe]:
    """List every student of an experiment, so ordered that an unfinished run still compares all losses.

    First come the students of each loss's first training set, seed by seed, then those of the second, the controls.
    """
    depth = max(len(cell.trained_on) for cell in experiment.students.values())
    return [
        Recipe(
            name=f"{name}-{trained_on}-s{seed}",
            loss_name=name,
            loss=cell.loss,
            trained_on=trained_on,
            seed=seed,
            text=cell.text,
            temperature=cell.temperature,
            options=cell.options,
            ema_decay=cell.ema_decay,
            mask_ratio=cell.mask_ratio,
            spec=experiment.student.model,
            kwargs=experiment.student.kwargs,
            init=experiment.student.init,
        )
        for place in range(depth)
        for seed in experiment.seeds
        for name, cell in experiment.students.items()
        for trained_on in cell.trained_on[place : place + 1]
    ]


def initial_student(recipe: Recipe, *, embed_dim: int, image_size: int) -> Encoder:
    """Build a student whose initial weights depend on its seed alone, not on its loss, or are those of a checkpoint.

    Args:
        recipe: names architecture, seed and checkpoint.
        embed_dim: dimension D of the embeddings.
        image_size: side of the images in pixels.
    """
    torch.manual_seed(recipe.seed)
    encoder = attach_projection(build_backbone(recipe.spec, recipe.kwargs), embed_dim, image_size=image_size)
    if recipe.init:
        fill_from_file(encoder, recipe.init)
    return encoder


class GridSession:
    """An open experiment in one process, and the data that its students share.

    Args:
        experiment: what to train.
        opened: its data and teacher.
        out: run directory.
        accelerator: from `make_accelerator`.
        resume: take up unfinished students.
        progress: rich progress, or None.
    """

    def __init__(
        self,
        experiment: Experiment,
        opened: Opened,
        out: Path,
        accelerator: Accelerator,
        *,
        resume: bool,
        progress: Progress | None,
    ) -> None:
        self.experiment = experiment
        self.opened = opened
        self.out = out
        self.accelerator = accelerator
        self.resume = resume
        self.progress = progress
        self.recipes = {recipe.name: recipe for recipe in recipes(experiment)}
        size = opened.image_size
        self.held_out = {domain: HeldOut(_pixels(split, size), torch.from_numpy(split.labels)) for domain, split in opened.test.items()}
        self._images: dict[str, TrainingImages] = {}

    def unfinished(self) -> list[str]:
        """List the students that are still to be trained, in their order."""
        return [name for name in self.recipes if not (self.resume and (self.out / "students" / name / "student.safetensors").is_file())]

    def train_all(self, names: Sequence[str]) -> dict[str, str]:
        """Train students one after another; return the name of each that failed -> why."""
        overall = self.progress.add_task("students", total=len(names)) if self.progress else None
        failed: dict[str, str] = {}
        for name in names:
            why = self.train(name)
            if why is not None:
                failed[name] = why
            if self.progress is not None and overall is not None:
                self.progress.advance(overall)
        return failed

    def train(self, name: str) -> str | None:
        """Train one student; return why it failed, or None."""
        recipe = self.recipes[name]
        folder = self.out / "students" / name
        try:
            with self._log(recipe) as log:
                train_student(
                    recipe,
                    initial_student(recipe, embed_dim=self.opened.teacher.embed_dim, image_size=self.opened.image_size),
                    self.images(recipe.trained_on),
                    config=self.experiment.training,
                    class_weights=self.opened.class_weights,
                    held_out=self.held_out,
                    out=folder,
                    accelerator=self.accelerator,
                    log=log,
                    resume=self.resume,
                    progress=self.progress,
                )
        except DistillError as error:
            # One student that diverges must not cost the others; a full disk will stop them too, and says so.
            why = str(error)
            logger.error("%s failed: %s", name, why)
            if not self.accelerator.is_main_process:
                return why
            write_then_rename(folder / "failed.json", lambda file: file.write(json.dumps({"error": why}).encode()))
            return why
        finally:
            self.accelerator.free_memory()  # it keeps every prepared model and optimiser otherwise
        if self.accelerator.is_main_process:
            (folder / "failed.json").unlink(missing_ok=True)
        return None

    def _log(self, recipe: Recipe) -> AbstractContextManager[Metrics]:
        if not self.accelerator.is_main_process:
            return nullcontext(lambda row: None)
        training = self.experiment.training
        settings = {"loss": recipe.loss_name, "trained_on": recipe.trained_on, "seed": recipe.seed, "student": recipe.spec}
        log = MetricsLog(self.out / "metrics.jsonl", recipe.name).write
        return tracked(training.trackers, self.out, run=self.experiment.name, student=recipe.name, settings=settings, log=log)

    def images(self, trained_on: str) -> TrainingImages:
        """Return one training set with its views and targets; it is opened once."""
        if trained_on in self.opened.streams and trained_on not in self._images:
            stream, views = self.opened.streams[trained_on], self.experiment.views
            self._images[trained_on] = stream_images(stream, self.opened.teacher, views, accelerator=self.accelerator)
        if trained_on not in self._images:
            self._images[trained_on] = _training_images(self.experiment, self.opened, trained_on, self.accelerator)
        return self._images[trained_on]

    def by_training_set(self, names: Sequence[str]) -> list[list[str]]:
        """Group students that share a training set, in the order of their first."""
        sets = dict.fromkeys(self.recipes[name].trained_on for name in names)
        return [[name for name in names if self.recipes[name].trained_on == trained_on] for trained_on in sets]

    def fill_targets(self, names: Sequence[str]) -> None:
        """Compute the teacher's embeddings of all views that these students will see, with all cores, before they start."""
        with_teacher = [name for name in names if "teacher" in needs_of(self.recipes[name].loss)]
        with_teacher = [name for name in with_teacher if self.recipes[name].trained_on not in self.opened.streams]
        for trained_on in dict.fromkeys(self.recipes[name].trained_on for name in with_teacher):
            for view in range(min(self.experiment.views.count, self.experiment.training.epochs)):
                self.images(trained_on).targets.view(view, self.progress)


def _training_images(experiment: Experiment, opened: Opened, name: str, accelerator: Accelerator) -> TrainingImages:
    split = opened.train[name]
    pixels = _pixels(split, opened.image_size)
    views = Views(experiment.views, len(split))
    targets = TeacherTargets(
        opened.teacher, pixels, views, fingerprint=split.fingerprint, folder=cache_folder() / "targets", accelerator=accelerator
    )
    text = {"prompt": opened.class_weights.T[torch.from_numpy(split.labels)].contiguous()}
    if any(cell.text == "caption" for cell in experiment.students.values()):
        text["caption"] = opened.teacher.embed_text([str(caption) for caption in split.captions or []])
    for text_name in sorted({cell.text for cell in experiment.students.values()} & set(experiment.texts)):
        config = experiment.texts[text_name]
        text[text_name] = opened.teacher.embed_text(write_texts(split, config.templates, config.words))
    return TrainingImages(pixels=pixels, views=views, targets=targets, text=text, labels=torch.from_numpy(split.labels).long())


def _pixels(split: Split, size: int) -> torch.Tensor:
    return torch.from_numpy(split.pixels(size))
