"""What a student was trained for, told by its user: loss, target, negatives, training images, seed, and any other factor."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from diagnose.inputs.subjects import Subject

FACTS = ("loss", "target", "negatives", "trained_on", "seed")
"""Keys that say something of the training and are no factors of one's own."""

NEAR = 0.8
"""Likeness (difflib) from which on a key is taken for a slip of a known one and not for a factor."""


@dataclass(frozen=True)
class TrainedAs:
    """What is told of one student's training; None and empty where nothing is.

    Args:
        loss: name of the loss; students that differ in their seed alone share it.
        target: "image" or "text", what the loss draws the embedding to.
        negatives: whether the loss pushes away from other images or texts.
        trained_on: "real", "synthetic" or the name of a mixture.
        seed: seed of the training.
        factors: other factor -> its level.
    """

    loss: str | None = None
    target: Literal["image", "text"] | None = None
    negatives: bool | None = None
    trained_on: str | None = None
    seed: int | None = None
    factors: Mapping[str, str] = field(default_factory=dict)

    @property
    def levels(self) -> dict[str, str]:
        """Factor -> level: those of a loss that is known here, then what is told, then the factors."""
        levels, _ = _of_known_loss(self)
        if self.target is not None:
            levels["target"] = self.target
        if self.negatives is not None:
            levels["negatives"] = "yes" if self.negatives else "no"
        return levels | dict(self.factors)


def read_trained_as(values: Mapping[str, Any], where: str, *, beside: Sequence[str] = ()) -> TrainedAs:
    """Read what is told of a training.

    Args:
        values: key -> value, from TOML or from `key=value` options; every key that is not of `FACTS` is a factor. A table `factors` holds factors of any name.
        where: what errors call it.
        beside: other keys that are known there, for the nearest name of a slip.

    Raises:
        ValueError: for a value of another kind, or a key that is a slip of a known one.
    """
    values = dict(values)
    factors = values.pop("factors", {})
    if not isinstance(factors, Mapping):
        raise ValueError(f"`factors` of {where} must be a table of factor = level, got {factors!r}; write [students.NAME.factors].")
    for key in values:
        if key not in FACTS:
            near = difflib.get_close_matches(key, [*FACTS, *beside], n=1, cutoff=NEAR)
            if near:
                raise ValueError(
                    f"`{key}` of {where} must be a known key or a factor, got a key that looks like `{near[0]}`; rename it, or put it into the table `factors`."
                )
    return TrainedAs(
        loss=_text(values.get("loss"), "loss", where),
        target=_target(values.get("target"), where),
        negatives=_yes_or_no(values.get("negatives"), where),
        trained_on=_text(values.get("trained_on"), "trained_on", where),
        seed=_whole(values.get("seed"), where),
        factors={
            key: _level(value, key, where) for key, value in {**{k: v for k, v in values.items() if k not in FACTS}, **factors}.items()
        },
    )


def read_trained_options(options: Sequence[str]) -> TrainedAs:
    """Read `key=value` options, such as `loss=l2` and `target=image`.

    Raises:
        ValueError: for an option without `=`, a key that is given twice, or what `read_trained_as` refuses.
    """
    values: dict[str, str] = {}
    for option in options:
        key, sign, value = (part.strip() for part in option.partition("="))
        if not (key and sign and value):
            raise ValueError(f"`--trained` must be KEY=VALUE, got {option!r}; write for example --trained loss=l2.")
        if key in values:
            raise ValueError(f"`--trained {key}` must be given once, got {values[key]!r} and {value!r}; keep one.")
        values[key] = value
    return read_trained_as(values, "`--trained`")


def annotate(subject: Subject, trained: TrainedAs) -> Subject:
    """Return a subject with what is told of its training; what its checkpoint says stays where nothing is told.

    Args:
        subject: as it was loaded.
        trained: what is told.
    """
    if trained == TrainedAs():
        return subject
    known, recipe = _of_known_loss(trained)
    target, negatives = known.get("target"), known.get("negatives")
    facts = {
        "loss": trained.loss,
        "seed": trained.seed,
        "trained_on": trained.trained_on,
        "target": trained.target or (target if target in ("image", "text") else None),
        "negatives": trained.negatives if trained.negatives is not None else {"yes": True, "no": False}.get(negatives or ""),
    }
    levels = {**subject.levels, **trained.levels} if trained.loss is None else trained.levels
    changes = {key: value for key, value in facts.items() if value is not None}
    return replace(subject, **changes, levels=levels, recipe=recipe if trained.loss is not None else subject.recipe)  # type: ignore[arg-type]


def _of_known_loss(trained: TrainedAs) -> tuple[dict[str, str], str]:
    """Look up the levels of a loss that this project has, and its key; both empty for another one."""
    from distill.losses import LOSSES
    from distill.training.factor_levels import levels_of

    if trained.loss not in LOSSES:
        return {}, ""
    return levels_of({"losses": {trained.loss: 1.0}, "trained_on": trained.trained_on})


def _text(value: object, key: str, where: str) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise ValueError(f"`{key}` of {where} must be a name, got {value!r}; write it as text.")


def _target(value: object, where: str) -> Literal["image", "text"] | None:
    if value is None or value == "image" or value == "text":
        return value  # type: ignore[return-value]
    raise ValueError(f"`target` of {where} must be 'image' or 'text', got {value!r}; leave it out where neither is true.")


def _yes_or_no(value: object, where: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    known = {"yes": True, "true": True, "no": False, "false": False}
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise ValueError(f"`negatives` of {where} must be true or false, got {value!r}; write one of them.")


def _whole(value: object, where: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    raise ValueError(f"`seed` of {where} must be a whole number, got {value!r}; write one.")


def _level(value: object, key: str, where: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (str, int)) and str(value):
        return str(value)
    raise ValueError(f"`{key}` of {where} must be one level, a text, number or truth value, got {value!r}; write one.")
