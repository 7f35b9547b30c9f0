"""An experiment in one TOML file: data, teacher, student, training, views, and the losses to compare."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from distill.losses import check_names, check_options, needs_of
from distill.system.untrusted_text import fault_and_remedy, read_toml
from distill.text.captions import placeholders
from distill.text.prompts import DEFAULT_TEMPLATES, fill
from distill.training.loop import TrainingConfig
from distill.training.views import ViewConfig

T = TypeVar("T")


class StrictModel(BaseModel):
    """A table of the file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_folders(value: dict[str, T]) -> dict[str, T]:
    for name in value:
        if not name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(f"names must be letters, digits, - and _, got {name!r}")
    return value


class StreamConfig(StrictModel):
    """Web shards as a training set without classes; an epoch reads the next few of them."""

    shards: str = Field(description="WebDataset shards, with braces; only their images are used")
    images: int = Field(ge=2, description="images an epoch takes; all in memory as pixels, and as many again read ahead")
    together: int = Field(1, ge=1, description="shards an epoch reads")


class DataConfig(StrictModel):
    """Where the images are: one specification for each domain, for training and for testing."""

    folder: str = Field("", description="put before every relative path below")
    train: dict[str, str] = Field(description="name of a training set -> its data; `synthetic`, `real`")
    mixtures: dict[str, float] = Field(default_factory=dict, description="name of a training set -> its share of `real` images")
    streams: dict[str, StreamConfig] = Field(default_factory=dict, description="name of a training set -> web shards without classes")
    test: dict[str, str] = Field(description="domain -> held-out images")
    task: str = Field("", description="text column to classify by instead of the labels")
    class_column: str = Field("", description="column that names the class, where it has another name")
    domain_column: str = Field("", description="column that tells the domain; of numbers as in NAME=real,synthetic")
    group_column: str = Field("", description="column of groups, such as the background")
    image_column: str = Field("", description="column with the images, where it has another name")
    class_names: str = Field("", description="file of class names in the order of the labels, or a,b,c")
    split: str = Field("", description="train, test ..., where every source below holds several")
    layout: str = Field("", description="what folders name, such as generator/class/domain, where their names do not tell it")
    image_size: int | None = Field(None, ge=8, le=2048, description="side in pixels; without it the images' own common size")
    limit: int | None = Field(None, ge=2, description="use only so many images of each training set, each class in proportion")
    skip_bad: bool = Field(False, description="leave out images that cannot be read, and count them")

    @field_validator("train")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        return _as_folders(value)

    @model_validator(mode="after")
    def _mixed(self) -> Self:
        _as_folders(self.mixtures)
        for name in _as_folders(self.streams):
            if name in self.train or name in self.mixtures:
                raise ValueError(f"a stream must have a name of its own, and {name!r} is a training set already")
        for name, share in self.mixtures.items():
            if name in self.train:
                raise ValueError(f"a mixture must have a name of its own, and {name!r} is a training set already")
            if not 0.0 < share < 1.0:
                raise ValueError(f"mixture {name!r} must have a share of real images in (0, 1), got {share}")
        if self.mixtures and not {"synthetic", "real"} <= set(self.train):
            raise ValueError("mixtures need the training sets `synthetic` and `real`")
        return self

    @field_validator("test")
    @classmethod
    def _domains(cls, value: dict[str, str]) -> dict[str, str]:
        if not value or not set(value) <= {"real", "synthetic"}:
            raise ValueError(f"the keys must be `real` and `synthetic`, got {sorted(value)}")
        return value


class TeacherConfig(StrictModel):
    """The frozen teacher and the words of the zero-shot classifier."""

    model: str
    templates: list[str] = Field(default_factory=lambda: list(DEFAULT_TEMPLATES), min_length=1)
    class_weights: str = Field("", description=".npy of shape (D, C) for a teacher without a text tower")

    @field_validator("templates")
    @classmethod
    def _one_place(cls, value: list[str]) -> list[str]:
        fill(value, "x")
        return value


class TextConfig(StrictModel):
    """One text for each training image, drawn by seed, to stand for it in text losses in place of its class prompt."""

    templates: list[str] = Field(min_length=1, description="{} is the class, {name} one of `words.name` or a text column")
    words: dict[str, list[str]] = Field(default_factory=dict, description="name -> words, one of them drawn for each image")

    @model_validator(mode="after")
    def _places(self) -> Self:
        used = {place for template in self.templates for place in placeholders(template)}
        if spare := sorted(set(self.words) - used):
            raise ValueError(f"each of `words` must have a place in a template, and {{{spare[0]}}} has none")
        if empty := sorted(name for name, words in self.words.items() if not words):
            raise ValueError(f"`words.{empty[0]}` must hold a word")
        return self


class StudentConfig(StrictModel):
    """The architecture that every student shares."""

    model: str = "builtin:small_resnet"
    kwargs: dict[str, Any] = Field(default_factory=dict)
    init: str = Field("", description="checkpoint whose weights every student starts from, such as that of a first stage")


class RecipeConfig(StrictModel):
    """A mix of losses, with the training sets and texts that students of it are trained on."""

    loss: dict[str, float] = Field(description="name of a loss -> weight")
    trained_on: list[str] = Field(default_factory=lambda: ["synthetic"], min_length=1)
    text: str = Field("prompt", description="what stands for an image in text losses: prompt, caption or a name in `texts`")
    temperature: float | Literal["learned"] = Field(0.07, description="of contrastive terms; learned starts at 0.07")
    options: dict[str, dict[str, float]] = Field(default_factory=dict, description="loss -> option -> value, see docs/losses.md")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="of the student's moving average, for losses that need one")
    mask_ratio: float = Field(0.75, gt=0, lt=1, description="share of the patches that masked feature distillation hides")

    @field_validator("loss")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        check_names(value)
        return value

    @field_validator("temperature")
    @classmethod
    def _positive(cls, value: float | str) -> float | str:
        if not isinstance(value, str) and not 0.001 <= value <= 100:
            raise ValueError(f"must be in [0.001, 100] or 'learned', got {value}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_options(self.loss, self.options)
        if self.temperature == "learned" and "logit_scale" not in needs_of(self.loss):
            raise ValueError(f"`temperature` = 'learned' needs a loss that uses it, which {' and '.join(sorted(self.loss))} does not")
        return self


class Experiment(StrictModel):
    """The whole file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    about: str = ""
    data: DataConfig
    teacher: TeacherConfig
    student: StudentConfig = StudentConfig()
    training: TrainingConfig = TrainingConfig()
    views: ViewConfig = ViewConfig()
    texts: dict[str, TextConfig] = Field(default_factory=dict, description="name -> texts; a cell names one as its `text`")
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)
    students: dict[str, RecipeConfig] = Field(min_length=1)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if len(set(value)) != len(value) or not 0 <= min(value) <= max(value) < 2**32:
            raise ValueError(f"must be distinct and in 0..{2**32 - 1}, got {value}")
        return value

    @field_validator("students")
    @classmethod
    def _names(cls, value: dict[str, RecipeConfig]) -> dict[str, RecipeConfig]:
        return _as_folders(value)

    @model_validator(mode="after")
    def _known_texts(self) -> Self:
        if taken := sorted({"prompt", "caption"} & set(self.texts)):
            raise ValueError(f"`texts` must have names of their own, and {taken[0]!r} is taken")
        for name, cell in self.students.items():
            if cell.text not in ("prompt", "caption", *self.texts):
                raise ValueError(f"`text` of {name} must be one of {['prompt', 'caption', *self.texts]}, got {cell.text!r}")
        return self

    @model_validator(mode="after")
    def _distinct_students(self) -> Self:
        names = [f"{name}-{trained_on}" for name, cell in self.students.items() for trained_on in cell.trained_on]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"names of students and their `trained_on` must tell them apart, got {twice[0]!r} twice")
        return self


def read_experiment(path: Path | str, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment and apply `key=value` overrides.

    Args:
        path: TOML file.
        overrides: such as `training.epochs=3`; the value is TOML, or else a plain string.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is not TOML, an unknown key (the nearest is named) or a value out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`config` must be a TOML file that exists, got {path}; see configs/.")
    data = read_toml(path, "`config`")
    for override in overrides:
        _override(data, override)
    try:
        return Experiment.model_validate(data)
    except ValidationError as error:
        raise ValueError(f"{path}: {_first_error(error)}") from error


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = (part.strip() for part in override.partition("="))
    if not equals or not key:
        raise ValueError(f"`--set` must be key=value, got {override!r}; such as training.epochs=3.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    *parents, last = key.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise ValueError(f"`--set` {key} must name a key, got {parent}, which is a value; check the path.")
    data[last] = value


def _first_error(error: ValidationError) -> str:
    """Say the first fault of a config in one line, with the nearest key for an unknown one."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _keys_at(first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=2, cutoff=0.4) or sorted(known)
        return f"unknown key `{where}`; did you mean {' or '.join(near)}?{more}"
    if first["type"] == "missing":
        return f"`{where}` must be given, got nothing; add it.{more}"
    return fault_and_remedy(error, more=more)


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "data": DataConfig,
        "teacher": TeacherConfig,
        "student": StudentConfig,
        "training": TrainingConfig,
        "views": ViewConfig,
    }
    if not location:
        return list(Experiment.model_fields)
    if location[0] in ("students", "texts"):
        return list((RecipeConfig if location[0] == "students" else TextConfig).model_fields)
    return list(models[str(location[0])].model_fields) if location[0] in models else []
