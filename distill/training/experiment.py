"""Open the splits, the teacher and the zero-shot classifier of an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from distill.data.duplicates import refuse_shared_files, warn_of_leaks, without_shared_images
from distill.data.mixtures import limited, mix
from distill.data.split import Split, load_split, require_same_classes
from distill.data.vocabulary import listed_class_names
from distill.losses import needs_of
from distill.losses.unmet import refuse_unmet
from distill.models.teacher import Teacher, load_teacher
from distill.text.captions import write_texts
from distill.training.config import DataConfig, Experiment
from distill.training.web_shards import Shards, refuse_unmet_by_stream


@dataclass(frozen=True)
class Opened:
    """An experiment's data and teacher, checked against each other.

    Args:
        train: name of a training set -> split.
        test: domain -> held-out split.
        teacher: frozen teacher.
        class_weights: zero-shot classifier weights, unit columns, shape (D, C).
        image_size: side of all images in pixels.
        streams: name of a training set -> web shards without classes.
    """

    train: Mapping[str, Split]
    test: Mapping[str, Split]
    teacher: Teacher
    class_weights: Tensor
    image_size: int
    streams: Mapping[str, Shards] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return next(iter(self.test.values())).class_names


def open_experiment(experiment: Experiment, *, training: bool = True, progress: bool = False) -> Opened:
    """Load the splits and the teacher of an experiment.

    Args:
        experiment: what to open.
        training: whether the training sets are wanted too.
        progress: show progress while images are checked.

    Raises:
        FileNotFoundError, ValueError, DistillError: for data or a teacher that cannot be used, each naming the remedy.
    """
    data = experiment.data
    used_sets = {name for cell in experiment.students.values() for name in cell.trained_on}
    unknown = sorted(used_sets - set(data.train) - set(data.mixtures) - set(data.streams))
    if unknown:
        raise ValueError(
            f"`trained_on` must name a set of data.train {sorted({**data.train, **data.mixtures, **data.streams})}, got {unknown[0]!r}; add it to data.train."
        )
    test = {domain: open_split(spec, data, domain=domain, progress=progress) for domain, spec in data.test.items()}
    train = open_training_sets(data, sorted(used_sets - set(data.streams)), progress=progress) if training else {}
    require_same_classes(*test.values(), *train.values())
    needs_caption = [name for name, cell in experiment.students.items() if cell.text == "caption"]
    for name, split in train.items():
        if needs_caption and (split.captions is None or any(caption is None for caption in split.captions)):
            raise ValueError(
                f"`text` = 'caption' of {needs_caption[0]} needs a caption for every image, got none in {name}; use text = 'prompt'."
            )
    for text in {cell.text for cell in experiment.students.values()} & set(experiment.texts):
        for split in train.values():
            write_texts(split.select([0]), experiment.texts[text].templates, experiment.texts[text].words)
    size = data.image_size or common_size(*test.values(), *train.values())
    if len(test) == 2:
        test["real"], test["synthetic"] = without_shared_images(test["real"], test["synthetic"], size)
    if {"real", "synthetic"} <= set(train):
        refuse_shared_files(train["real"], train["synthetic"])
    warn_of_leaks(train, test)
    streams = _open_streams(experiment, used_sets, size) if training else {}
    if training and experiment.student.init and not Path(experiment.student.init).is_file():
        raise FileNotFoundError(
            f"`student.init` must be a checkpoint that exists, got {experiment.student.init}; train the first stage, or leave it out."
        )
    teacher = open_teacher(experiment, image_size=size)
    weights = teacher.class_weights(next(iter(test.values())).class_names, experiment.teacher.templates)
    _refuse_unmet(experiment, train, teacher, classes=weights.shape[1])
    return Opened(train=train, test=test, teacher=teacher, class_weights=weights, image_size=size, streams=streams)


def _open_streams(experiment: Experiment, used_sets: AbstractSet[str], size: int) -> dict[str, Shards]:
    """Find the shards of the streams that students are trained on, and refuse losses that a stream cannot serve."""
    data, epochs = experiment.data, experiment.training.epochs
    for name, cell in experiment.students.items():
        for stream in set(cell.trained_on) & set(data.streams):
            refuse_unmet_by_stream(name, stream, needs_of(cell.loss))
    return {
        name: Shards(
            stream_config.shards, folder=data.folder, images=stream_config.images, together=stream_config.together, size=size, epochs=epochs
        )
        for name, stream_config in data.streams.items()
        if name in used_sets
    }


def _refuse_unmet(experiment: Experiment, train: Mapping[str, Split], teacher: Teacher, *, classes: int) -> None:
    """Refuse losses without what they need, naming them, before anything is trained."""
    for name, cell in experiment.students.items():
        for split in (train[trained_on] for trained_on in cell.trained_on if trained_on in train):
            size = min(experiment.training.batch_size, len(split))
            refuse_unmet(name, cell.loss, text=cell.text, text_tower=teacher.has_text, classes=classes, batch_size=size)


def open_training_sets(data: DataConfig, names: Sequence[str], *, progress: bool = False) -> dict[str, Split]:
    """Load training sets with at most `data.limit` images, and make the mixtures among them.

    Args:
        data: the experiment's data.
        names: of the training sets.
        progress: show progress while images are checked.

    Returns:
        Name -> split.

    Raises:
        ValueError: for a mixture of sets of unequal size without a limit, or with too few images of a class.
    """
    mixed = [name for name in names if name in data.mixtures]
    whole: dict[str, Split] = {}
    for name in dict.fromkeys([*(name for name in names if name not in mixed), *(("synthetic", "real") if mixed else ())]):
        whole[name] = open_split(data.train[name], data, domain=name if name in ("real", "synthetic") else None, progress=progress)
    if mixed:
        total = min(len(whole[name]) for name in ("synthetic", "real"))
        if total != max(len(whole[name]) for name in ("synthetic", "real")) and (data.limit is None or data.limit > total):
            raise ValueError(f"`data.limit` must be given, at most {total}, for the mixtures to match both sets in size; set it.")
        total = min(data.limit or total, total)
    splits = {}
    for name in names:
        if name in mixed:
            splits[name] = mix(whole["synthetic"], whole["real"], data.mixtures[name], total=total, name=name)
        else:
            splits[name] = limited(whole[name], data.limit)
    return splits


def open_teacher(experiment: Experiment, *, image_size: int) -> Teacher:
    """Load the teacher of an experiment; `pocket` is the embedded one.

    Args:
        experiment: names the teacher and its class weights.
        image_size: side of the images in pixels.
    """
    spec = experiment.teacher.model
    if spec == "pocket":
        from distill.packs import pocket

        spec = str(pocket.teacher_folder())
    return load_teacher(spec, class_weights=experiment.teacher.class_weights or None, image_size=image_size)


def open_split(spec: str, config: DataConfig, *, domain: str | None, progress: bool = False) -> Split:
    """Load one split and set its task.

    Args:
        spec: `pocket:PART` or any source of `load_split`.
        config: its folder, task and `skip_bad` apply.
        domain: of images that do not name theirs.
        progress: show progress while images are checked.
    """
    if spec.startswith("pocket:"):
        from distill.packs import pocket

        return pocket.pocket_split(spec.removeprefix("pocket:"), task=config.task or "digit")
    if config.folder and not spec.startswith("hf:") and not Path(spec).is_absolute():
        spec = str(Path(config.folder) / spec)
    listed = Path(config.folder, config.class_names)
    names = listed_class_names(str(listed) if listed.is_file() else config.class_names) if config.class_names else None
    named = {"class": config.class_column, "domain": config.domain_column, "group": config.group_column, "image": config.image_column}
    columns = {ours: theirs for ours, theirs in named.items() if theirs}
    split = load_split(
        spec,
        domain=domain,
        class_names=names,
        split=config.split or None,
        columns=columns,
        layout=config.layout or None,
        skip_bad=config.skip_bad,
        progress=progress,
    )
    return split.task(config.task) if config.task else split


def common_size(*splits: Split, what: str = "data.image_size") -> int:
    """Return the side in pixels that all images share.

    Args:
        splits: of square images.
        what: name of the option that sets the side, for the message.

    Raises:
        ValueError: when they differ or are not square, naming the remedy.
    """
    sizes = {
        (int(w), int(h))
        for split in splits
        for w, h in {(w, h) for w, h in zip(split.metadata["width"], split.metadata["height"], strict=True)}
    }
    if len(sizes) > 1 or any(w != h for w, h in sizes):
        sides = ", ".join(f"{w} x {h}" for w, h in sorted(sizes)[:3])
        raise ValueError(
            f"`{what}` must be given when images are not square and equal, got {sides}; set it to the side wanted, such as 224."
        )
    return sizes.pop()[0]
