"""From run directories and names of models to what `diagnose` judges; where models, data and probes meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from diagnose.inputs.class_mix import in_one_list
from diagnose.inputs.students_file import StudentEntry
from diagnose.inputs.subjects import Domain, Images, Subject
from diagnose.inputs.text_spaces import text_space_of
from diagnose.inputs.trained_as import TrainedAs, annotate
from distill.data.duplicates import refuse_shared_files, without_shared_images
from distill.data.mixtures import limited
from distill.data.split import Split, require_same_classes
from distill.errors import DistillError
from distill.models.batchnorm_folding import fuse_conv_bn
from distill.models.checkpoint import load_encoder, load_student, read_description
from distill.models.encoder import parameter_count, weights_hash
from distill.models.teacher import Teacher, load_teacher, read_class_weights
from distill.training.config import Experiment, read_experiment
from distill.training.experiment import common_size, open_experiment
from distill.training.factor_levels import levels_of
from distill.training.metrics import read_metrics
from probes.probe_input import EmbedText
from probes.text_space import TextSpace


@dataclass(frozen=True)
class Loaded:
    """Everything one diagnosis needs.

    Args:
        subjects: students.
        teacher: teacher, or None for a probe without one.
        class_weights: zero-shot classifier weights (D, C), or None.
        images: domain -> held-out images.
        name: name of the run.
        about: one paragraph on the data.
        logit_scale: the teacher's multiplier of cosines.
        embed_text: the teacher's text tower, or None where there is none.
    """

    subjects: list[Subject]
    teacher: Subject | None
    class_weights: np.ndarray | None
    images: Mapping[Domain, Images]
    name: str
    about: str
    logit_scale: float
    embed_text: EmbedText | None = None


def load_run(run: Path, *, limit: int | None = None, progress: bool = False) -> Loaded:
    """Load a run that `synthgap train` made, with every student that is finished.

    Args:
        run: its folder.
        limit: held-out images of each domain at most, or None for all.
        progress: show bars.

    Raises:
        FileNotFoundError: when it is no run or has no finished student.
        DistillError, ValueError: for broken checkpoints, data that changed since, or a teacher that is another one.
    """
    if not (run / "config.toml").is_file():
        raise FileNotFoundError(f"`run` must be a run directory with config.toml, got {run}; make one with `synthgap train`.")
    experiment = read_experiment(run / "config.toml")
    finished = sorted((run / "students").glob("*/student.safetensors"))
    if not finished:
        raise FileNotFoundError(
            f"`run` must hold a finished student, got none in {run / 'students'}; go on with `synthgap train --resume`."
        )
    opened = open_experiment(experiment, training=False, progress=progress)
    rows = read_metrics(run / "metrics.jsonl")
    order = {name: place for place, name in enumerate(_order(experiment))}
    subjects = [_trained(path, [row for row in rows if row["student"] == path.parent.name], experiment) for path in finished]
    for subject, path in zip(subjects, finished, strict=True):
        description = read_description(path)
        if description["embed_dim"] != opened.teacher.embed_dim:
            raise DistillError(
                f"{path} must have the teacher's {opened.teacher.embed_dim} dimensions, got {description['embed_dim']}; was the teacher replaced?"
            )
        order.setdefault(subject.name, len(order))
    images: dict[Domain, Images] = {}
    for domain, split in opened.test.items():
        images[domain] = images_of(limited(split, limit, what="--limit"), domain, opened.image_size)  # type: ignore[index, arg-type]
    return Loaded(
        subjects=sorted(subjects, key=lambda subject: order[subject.name]),
        teacher=of_teacher(opened.teacher),
        class_weights=opened.class_weights.numpy(),
        images=images,
        name=experiment.name,
        about=experiment.about,
        logit_scale=opened.teacher.logit_scale,
        embed_text=text_of(opened.teacher),
    )


def _order(experiment: Experiment) -> list[str]:
    """List the students loss by loss, as people compare them."""
    return [
        f"{name}-{domain}-s{seed}" for name, cell in experiment.students.items() for domain in cell.trained_on for seed in experiment.seeds
    ]


def _trained(path: Path, curve: list[dict], experiment: Experiment) -> Subject:
    encoder, description = load_student(path)
    levels, recipe = levels_of(description, experiment)
    checkpoints = {int(file.stem.removeprefix("epoch-")): _later(file) for file in sorted(path.parent.glob("epoch-*.safetensors"))}
    return Subject(
        name=path.parent.name,
        encode=encoder,
        fast_encode=fuse_conv_bn(encoder, description["image_size"]),
        params=parameter_count(encoder),
        loss=description["loss"],
        seed=description["seed"],
        trained_on=description["trained_on"],
        target=description["target"],
        negatives=description["negatives"],
        levels=levels,
        recipe=recipe,
        curve=[{key: value for key, value in row.items() if key != "student"} for row in curve],
        checkpoints=checkpoints,
        weights_hash=weights_hash(encoder),
    )


def _later(path: Path) -> Callable[[], nn.Module]:
    """Load one epoch's weights only when they are wanted."""

    def load() -> nn.Module:
        encoder, description = load_student(path)
        return fuse_conv_bn(encoder, description["image_size"])

    return load


def of_teacher(teacher: Teacher) -> Subject:
    """Return a teacher as a subject."""
    return Subject(
        name=teacher.name, encode=teacher.encoder, params=teacher.params, weights_hash=teacher.hash, fast_encode=teacher.fast_encode
    )


def text_of(teacher: Teacher) -> EmbedText | None:
    """Return a teacher's text tower as a function of texts, or None where it has none."""
    return (lambda texts: teacher.embed_text(texts).cpu().numpy()) if teacher.has_text else None


def images_of(split: Split, domain: Domain, size: int) -> Images:
    """Decode a split as held-out images of one domain.

    Args:
        split: ids, encoded images, labels.
        domain: "real" or "synthetic".
        size: side in pixels.
    """
    captions = split.captions
    return Images(
        domain=domain,
        ids=split.ids,
        labels=split.labels,
        pixels=split.pixels(size),
        class_names=split.class_names,
        metadata=split.metadata,
        fingerprint=split.fingerprint,
        groups=split.groups,
        captions=None if captions is None else np.array([caption or "" for caption in captions]),
    )


def load_subject(
    spec: str,
    *,
    weights: str | None = None,
    image_size: int,
    name: str | None = None,
    class_names: Sequence[str] = (),
    templates: Sequence[str] = (),
) -> Subject:
    """Load anybody's student: a synthgap checkpoint or any form of `distill.models.student.build_backbone`.

    Args:
        spec: what to load.
        weights: state dict for the model that `spec` names.
        image_size: side of the images in pixels.
        name: what to call it; by default the last part of the spec.
        class_names: names for which a model with two towers embeds its own prompts; none: its text tower is not asked.
        templates: prompts with `{}`, for a model without its own.
    """
    trained: dict = {}
    if spec.endswith(".safetensors"):
        description = read_description(spec)
        trained = {key: description.get(key) for key in ("loss", "seed", "trained_on", "target", "negatives")}
        trained["levels"], trained["recipe"] = levels_of(description)
        name = name or description.get("name")
    encoder = load_encoder(spec, weights=weights, image_size=image_size)
    return Subject(
        name=name
        or (Path(weights).stem if weights else Path(spec.rsplit(":", 1)[-1]).name if ".py:" not in spec else spec.rsplit(":", 1)[-1]),
        encode=encoder,
        fast_encode=fuse_conv_bn(encoder, image_size),
        params=parameter_count(encoder),
        weights_hash=weights_hash(encoder) if encoder.state_dict() else "",
        text_space=text_space_of(encoder, class_names, templates, image_size=image_size, where=spec),
        **trained,
    )


def load_entry(entry: StudentEntry, *, image_size: int, class_names: Sequence[str], templates: Sequence[str]) -> Subject:
    """Load a student and tell it what its user says of its training and of its text space.

    Args:
        entry: which.
        image_size: side of the images in pixels.
        class_names: C names.
        templates: prompts with `{}`, for a model with two towers without its own.

    Raises:
        ValueError: for class weights of the student's own space that have another number of classes.
    """
    subject = load_subject(
        entry.model, weights=entry.weights, image_size=image_size, name=entry.name, class_names=class_names, templates=templates
    )
    if entry.class_weights is not None:
        weights = read_class_weights(entry.class_weights).numpy()
        if weights.shape[1] != len(class_names):
            raise ValueError(
                f"`class_weights` of {subject.name} must have one column for each of {len(class_names)} classes, got {weights.shape[1]}; "
                "give the columns in the order of the class names."
            )
        subject = replace(subject, text_space=TextSpace(weights))
    return annotate(subject, entry.trained)


def annotate_students(loaded: Loaded, trained: TrainedAs) -> Loaded:
    """Return what was loaded with what is told of the training of its only student.

    Args:
        loaded: models and images.
        trained: of each of its students.
    """
    return replace(loaded, subjects=[annotate(subject, trained) for subject in loaded.subjects])


def load_teacher_subject(
    spec: str, class_names: tuple[str, ...], *, templates: list[str], class_weights: str | None, image_size: int
) -> tuple[Subject, np.ndarray | None, float, EmbedText | None]:
    """Load a teacher with its zero-shot classifier weights (D, C) or None where it cannot name classes, its logit scale and its text tower.

    Args:
        spec: see `distill.models.teacher.load_teacher`.
        class_names: C names.
        templates: prompts with `{}`.
        class_weights: `.npy` of shape (D, C), or None.
        image_size: side of the images in pixels.
    """
    teacher = load_teacher(spec, class_weights=class_weights, image_size=image_size)
    matrix = teacher.class_weights(class_names, templates).numpy() if teacher.has_classes else None
    return of_teacher(teacher), matrix, teacher.logit_scale, text_of(teacher)


def load_images(real: Split | None, synthetic: Split | None, size: int | None, *, limit: int | None = None) -> dict[Domain, Images]:
    """Decode two splits at one size, by default the one all images share, with one list of classes; of each at most `limit` images.

    Classes that one split alone holds are let in: `diagnose.inputs.class_mix.same_classes` leaves their images out and says so.

    Images whose pixels are the same in both domains are left out, and many of them refused; see `distill.data.duplicates`.

    Raises:
        ValueError: for fewer than two classes in common, sizes that differ, or many images in both domains.
    """
    splits: dict[Domain, Split] = {}
    if real is not None:
        splits["real"] = real
    if synthetic is not None:
        splits["synthetic"] = synthetic
    present = [{split.class_names[label] for label in np.unique(split.labels)} for split in splits.values()]
    if len(set.intersection(*present)) < 2:
        require_same_classes(*splits.values())
    size = common_size(*splits.values(), what="--image-size") if size is None else size
    if real is not None and synthetic is not None and limit is not None and limit < max(len(real), len(synthetic)):
        refuse_shared_files(real, synthetic)
    used = {domain: limited(split, limit, what="--limit") for domain, split in splits.items()}
    if len(used) == 2:
        used["real"], used["synthetic"] = without_shared_images(used["real"], used["synthetic"], size)
    decoded = [images_of(split, domain, size) for domain, split in used.items()]
    return {images.domain: images for images in in_one_list(decoded)}  # type: ignore[misc]
