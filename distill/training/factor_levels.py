"""Factor levels of a student, read off its recipe; students are compared by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.losses import find_loss
from distill.training.config import Experiment


def levels(
    losses: Mapping[str, float],
    *,
    text: str = "prompt",
    temperature: float | str | None = None,
    trained_on: str = "",
    experiment: Experiment | None = None,
) -> dict[str, str]:
    """Return the level of every factor that applies to a recipe; factors without meaning for it are left out.

    - `target`: `image`, or `text` for whatever is decided by texts (a class prompt, a caption, labels, scores of texts); `relations`.
    - `negatives`: `yes` or `no`. With them `pool`, what is pushed away: other items of the `batch`, or other `classes`; and
      `labels`: `hard` where one item is right, `soft` where a distribution is. With hard labels in the batch `positives`: the `item` of
      the image alone, so that other items of its class are false negatives, or all of its `class`.
    - `temperature`: of losses that scale their cosines by it, or `learned`.
    - `text`: `class prompt`, `caption` (of the data), or `class and context` (a template with further words or columns).
    - `prompts`: how many templates stand for a class prompt, and whether their mean does or one of them for each image.
    - `real_images`: share of real training images, in per cent.

    Args:
        losses: loss -> weight.
        text: as in the config.
        temperature: as in the config.
        trained_on: name of the training set.
        experiment: the experiment it is part of; without it neither mixtures nor prompts are known.

    Returns:
        Factor -> level.
    """
    terms = [find_loss(name) for name in losses]
    needs = {need for loss in terms for need in loss.needs}
    targets = {"text" if loss.target in ("text", "scores", "labels") else loss.target for loss in terms}
    levels = {"target": " and ".join(sorted(targets))}
    pushing = [loss for loss in terms if loss.negatives]
    levels["negatives"] = "yes" if pushing else "no"
    if pushing:
        levels["pool"] = " and ".join(sorted({"classes" if "class_weights" in loss.needs else "batch" for loss in pushing}))
    answers = {"soft" if loss.soft else "hard" for loss in terms if loss.soft is not None}
    if answers:
        levels["labels"] = " and ".join(sorted(answers))
    matching = [loss for loss in pushing if loss.soft is False and "class_weights" not in loss.needs]
    if matching:
        levels["positives"] = " and ".join(sorted({"class" if "shares" in loss.needs else "item" for loss in matching}))
    if "logit_scale" in needs and temperature is not None:
        levels["temperature"] = temperature if isinstance(temperature, str) else f"{temperature:g}"
    if "text" in targets:
        levels |= _of_text(text if "text" in needs else "prompt", experiment)
    share = _share(trained_on, experiment)
    return levels if share is None else {**levels, "real_images": f"{100 * share:g} %"}


def _of_text(text: str, experiment: Experiment | None) -> dict[str, str]:
    if text == "caption":
        return {"text": "caption"}
    if text == "prompt":
        return {"text": "class prompt"} | ({"prompts": _count(experiment.teacher.templates, "mean of")} if experiment else {})
    written = experiment.texts[text] if experiment else None
    if written is None:
        return {"text": text}
    if any(template.replace("{}", "").count("{") for template in written.templates):
        return {"text": "class and context"}
    return {"text": "class prompt", "prompts": _count(written.templates, "one of")}


def _count(templates: Sequence[str], prefix: str) -> str:
    return "1" if len(templates) == 1 else f"{prefix} {len(templates)}"


def _share(trained_on: str, experiment: Experiment | None) -> float | None:
    if experiment is not None and trained_on in experiment.data.mixtures:
        return experiment.data.mixtures[trained_on]
    return {"synthetic": 0.0, "real": 1.0}.get(trained_on)


def levels_of(description: Mapping[str, Any], experiment: Experiment | None = None) -> tuple[dict[str, str], str]:
    """Return the factor levels of a checkpoint, and a key of its loss: equal for equal terms, weights and options.

    Args:
        description: of a checkpoint, from `distill.models.checkpoint.read_description`.
        experiment: the experiment that trained it.

    Returns:
        Levels, and the key; both empty where the description does not name losses that are known here.
    """
    losses = description.get("losses")
    if not isinstance(losses, dict) or not losses:
        return {}, ""
    try:
        levels_of_student = levels(
            losses,
            text=description.get("text", "prompt"),
            temperature=description.get("temperature"),
            trained_on=str(description.get("trained_on") or ""),
            experiment=experiment,
        )
    except (ValueError, KeyError):  # a loss or text of another version
        return {}, ""
    options = description.get("options") or {}
    terms = [f"{weight:g} {name}{sorted(options.get(name, {}).items())}" for name, weight in sorted(losses.items())]
    return levels_of_student, " + ".join(terms)
