"""The page of results of the planted benchmark, and its numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnose.planted import scores
from diagnose.planted.scores import Record
from diagnose.report.assemble import write_text
from diagnose.wording.numbers import in_percent
from probes.edits import FAMILIES
from probes.planted.plant import CUES
from probes.stats.intervals import Interval

if TYPE_CHECKING:
    from diagnose.planted.config import PlantedConfig
    from distill.models.teacher import Teacher

Share = tuple[float, Interval, int] | None


def write_page(records: Sequence[Record], config: PlantedConfig, world: str, teacher: Teacher, out: Path) -> None:
    """Write `README.md` and `scores.json`.

    Args:
        records: of all draws.
        config: what was run.
        world: what the images are called.
        teacher: the teacher.
        out: folder to write.
    """
    write_text(out / "scores.json", json.dumps(summary(records), indent=1, sort_keys=True) + "\n")
    write_text(out / "README.md", page(records, config, world, teacher.params))


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """Compute the numbers that the goals are about, JSON types."""
    positive, null = scores.positives(records), scores.nulls(records)
    cost = scores.costs(records)
    costly = scores.costly(records, cost)
    named = [scores.naming(record) for record in costly if scores.fires(record)]
    outside = [scores.naming(record) == "wrong" for record in positive if not scores.carried(record)]
    return {
        "draws": len(records),
        "detection_auc": scores.detection_auc(positive, null),
        "power_where_it_costs": _plain(scores.share([scores.fires(record) for record in costly])),
        "power_where_it_costs_at_5_percent": scores.power_at(costly, null),
        "false_alarms": _plain(scores.share([scores.fires(record) for record in null])),
        "named_right": _plain(scores.share([name == "right" for name in named])),
        "named_wrong": _plain(scores.share([name == "wrong" for name in named])),
        "held_out": _held_out(records, cost),
        "named_though_no_exchange_carries_it": _plain(scores.share(outside)),
        "coverage": {name: _plain(share) for name, share in scores.coverage(records).items()},
        "places": scores.places(records),
    }


def _held_out(records: Sequence[Record], cost: dict[str, float]) -> dict[str, Any]:
    costly = scores.costly(records, cost, ("held-out",))
    named = [scores.naming(record) for record in costly if scores.fires(record)]
    return {
        "power_where_it_costs": _plain(scores.share([scores.fires(record) for record in costly])),
        "named_right": _plain(scores.share([name == "right" for name in named])),
        "named_wrong": _plain(scores.share([name == "wrong" for name in named])),
    }


def _plain(share: Share) -> list[float] | None:
    return None if share is None else [share[0], share[1][0], share[1][1], share[2]]


def page(records: Sequence[Record], config: PlantedConfig, world: str, teacher_params: int) -> str:
    """Write the page in Markdown.

    Args:
        records: of all draws.
        config: what was run.
        world: what the images are called.
        teacher_params: parameters of the teacher.
    """
    cost = scores.costs(records)
    parts = [
        "# Planted truth: what the toolkit finds when the answer is known",
        _about(records, config, world, teacher_params),
        _goals(records, cost),
        _by_strength(records, cost),
        _by_cue(records, cost),
        _by_null(records),
        _wrong(records, cost),
        _places(records),
        _coverage(records),
        _dose(records, config),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(records: Sequence[Record], config: PlantedConfig, world: str, teacher_params: int) -> str:
    judged = scores.judged(records)
    teacher = [record["truth"]["teacher_real"] for record in judged if record["draw"]["kind"] != "weak_teacher"]
    clean = [record["truth"]["real"] for record in judged if record["draw"]["kind"] == "halves"]
    seconds = sum(record["seconds"] for record in records)
    learnt = f", a student without any cue on {_mean(clean)}" if clean else ""
    return (
        f'Made by `synthgap planted`: {len(records)} draws in {seconds / 60:.0f} core-minutes. Images: {world}; "synthetic" ones are other images of the '
        f"same kind with a cue in them, so a cue is all that tells the domains apart. Each draw: {config.classes} classes, a student trained with a text "
        f"target on {config.train_images} images; the toolkit sees {config.test_images} held-out images of each domain ({config.limit} in the "
        f"interventions). The teacher ({teacher_params:,} parameters) is right on {_mean(teacher)} of the real images{learnt}.\n\n"
        + _roles(records)
        + "See the docs (`docs/probes/planted.md`) for what each word means."
    )


def _roles(records: Sequence[Record]) -> str:
    """Write which of the cues the rules had seen."""
    words = {
        "dev": "free to be looked at while the rules were written",
        "checked": "held out from an earlier version of the rules, looked at since",
        "held-out": "**held out**, not seen by the toolkit before its rules were frozen",
    }
    used = sorted({record["draw"]["cue"] for record in scores.positives(records)})
    named = {role: _names([name for name in used if CUES[name].role == role]) for role in words}
    return "".join(f"{names}: {words[role]}. " for role, names in named.items() if names)


def _mean(values: Sequence[float]) -> str:
    return f"{100 * sum(values) / len(values):.0f} %" if values else "an unknown share"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _share(share: Share) -> str:
    return "no draws" if share is None else f"{100 * share[0]:.0f} % ({100 * share[1][0]:.0f} to {100 * share[1][1]:.0f}), n = {share[2]}"


def _whole(value: float) -> str:
    """Write a difference of accuracies in whole points, with a true minus sign and none for a rounded zero."""
    return in_percent(value, 0)


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.0f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def _goals(records: Sequence[Record], cost: dict[str, float]) -> str:
    positive, null = scores.positives(records), scores.nulls(records)
    rows = []
    for title, roles in (("all cues", None), ("held-out cues", ("held-out",))):
        costly = scores.costly(records, cost, roles)
        firing = [record for record in costly if scores.fires(record)]
        rows += [
            (
                f"power where the cue costs 5 points or more, {title}",
                "at least 90 %",
                _share(scores.share([scores.fires(r) for r in costly])),
            ),
            (
                f"right family, of those that fire, {title}",
                "at least 90 %",
                _share(scores.share([scores.naming(record) == "right" for record in firing])),
            ),
            (f"wrong family, of those that fire, {title}", "none", _share(scores.share([scores.naming(r) == "wrong" for r in firing]))),
        ]
    auc = scores.detection_auc(positive, null)
    outside = [record for record in positive if not scores.carried(record)]
    rows += [
        (
            "a family named though no exchange carries the cue",
            "none",
            _share(scores.share([scores.naming(record) == "wrong" for record in outside])),
        ),
        ("false alarms on nulls", "at most 5 %", _share(scores.share([scores.fires(record) for record in null]))),
        ("detection AUC, all strengths against nulls", "", "unknown" if auc is None else f"{auc:.3f}"),
    ]
    return "## Goals\n\n" + _table(("question", "goal", "found"), rows)


def _by_strength(records: Sequence[Record], cost: dict[str, float]) -> str:
    null = scores.nulls(records)
    rows = []
    for strength in sorted({record["draw"]["strength"] for record in scores.positives(records)}):
        here = [record for record in scores.positives(records) if record["draw"]["strength"] == strength and scores.carried(record)]
        known = [cost[record["name"]] for record in here if record["name"] in cost]
        auc = scores.detection_auc(here, null)
        rows.append(
            (
                f"{100 * strength:.0f} %",
                _whole(sum(known) / len(known)) if known else "unknown",
                _share(scores.share([scores.fires(record) for record in here])),
                _percent(scores.power_at(here, null)),
                "unknown" if auc is None else f"{auc:.3f}",
                _share(scores.share([scores.naming(record) == "right" for record in here if scores.fires(record)])),
            )
        )
    if not rows:
        return ""
    head = (
        "tie to the class",
        "mean cost on real images, points",
        "fires",
        "power at 5 % false alarms",
        "AUC",
        "right family, if it fires",
    )
    return "## By strength\n\n" + _table(head, rows)


def _by_cue(records: Sequence[Record], cost: dict[str, float]) -> str:
    rows = []
    for cue in dict.fromkeys(record["draw"]["cue"] for record in scores.positives(records)):
        here = [record for record in scores.positives(records) if record["draw"]["cue"] == cue]
        costly = [record for record in here if cost.get(record["name"], 0.0) >= scores.COSTS]
        count = {name: sum(scores.naming(record) == name for record in costly) for name in ("right", "wrong", "open", "silent")}
        known = [cost[record["name"]] for record in here if record["name"] in cost]
        rows.append(
            (
                f"`{cue}`{f', {CUES[cue].role}' if CUES[cue].role != 'dev' else ''}",
                " or ".join(FAMILIES[name].title for name in scores.expected(here[0])) or "nothing",
                f"{_whole(min(known))} to {_whole(max(known))}" if known else "unknown",
                str(len(costly)),
                *(str(count[name]) for name in ("right", "wrong", "open", "silent")),
            )
        )
    if not rows:
        return ""
    head = ("cue", "family to name", "cost, points", "draws that cost 5 points", "right", "wrong", "fires, names none", "silent")
    return "## By cue\n\n" + _table(head, rows)


def _by_null(records: Sequence[Record]) -> str:
    words = {
        "halves": "two halves of the same images",
        "imbalance": "the same with classes of unequal size",
        "unused": "a cue that is there and tells nothing",
        "weak_teacher": "the same beside a teacher that is worse than the student",
    }
    rows = []
    for kind, what in words.items():
        here = [record for record in scores.nulls(records) if record["draw"]["kind"] == kind]
        if here:
            labels = sum(record["said"]["label"] not in ("no_gap", "inconclusive", "training_failure") for record in here)
            rows.append((what, _share(scores.share([scores.fires(record) for record in here])), f"{labels} of {len(here)}"))
    return "## Nulls\n\n" + _table(("null", "fires", "verdict says that it fails on real images"), rows) if rows else ""


def _wrong(records: Sequence[Record], cost: dict[str, float]) -> str:
    """List every draw that fired on nothing, named the wrong family, or stayed silent at a cost."""
    lines = []
    for record in scores.judged(records):
        answer, draw = record["said"], record["draw"]
        if draw["kind"] != "cue":
            if scores.fires(record):
                lines.append(f"- `{record['name']}`: a null; the toolkit says {_said(answer)}.")
        elif scores.naming(record) == "wrong" or (
            scores.carried(record) and scores.naming(record) in ("silent", "open") and cost.get(record["name"], 0) >= scores.COSTS
        ):
            price = f"{100 * cost[record['name']]:.0f} points" if record["name"] in cost else "unknown"
            lines.append(
                f"- `{record['name']}`: should be {' or '.join(scores.expected(record)) or 'unnamed'}, cost {price}; the toolkit says {_said(answer)}."
            )
    return "## Where it went wrong\n\n" + ("\n".join(lines) if lines else "Nowhere in these draws.") if scores.judged(records) else ""


def _said(answer: dict[str, Any]) -> str:
    return " ".join(part for part in (answer["status"], answer["family"]) if part)


def _places(records: Sequence[Record]) -> str:
    by_method = scores.places(records)
    if not by_method:
        return ""
    rows = [
        (
            method.replace("_", " "),
            f"{values['pointing']:.2f} (chance {values['pointing_chance']:.2f})",
            f"{values['overlap']:.2f} (chance {values['overlap_chance']:.2f})",
            f"{values['draws']:.0f}",
        )
        for method, values in by_method.items()
    ]
    head = ("method", "largest value lies in the mask", "overlap (IoU) with the mask", "draws")
    return (
        "## Where it is\n\nCues that have a place, in draws in which the toolkit fires; maps of the predicted class on held-out planted images.\n\n"
        + _table(head, rows)
    )


def _coverage(records: Sequence[Record]) -> str:
    by_quantity = scores.coverage(records)
    if not by_quantity:
        return ""
    words = {
        "real": "accuracy on real images",
        "synthetic": "accuracy on synthetic images",
        "behind_real": "accuracy behind the teacher on real images",
    }
    rows = [(words[name], _share(value)) for name, value in by_quantity.items()]
    return (
        "## Are the intervals honest?\n\nShare of 95 % intervals that hold the truth: the same number on all further held-out images, measured with and "
        "without the cue on the same images. The truth's own sampling error is allowed for.\n\n" + _table(("quantity", "covered"), rows)
    )


def _dose(records: Sequence[Record], config: PlantedConfig) -> str:
    table = scores.dose(records)
    if not table:
        return ""
    strengths = sorted({strength for by in table.values() for strength in by})
    rows = []
    for loss, by in table.items():
        cells = [by.get(strength, []) for strength in strengths]
        rows.append((loss.replace("_", "-"), *(_percent(sum(v for _, v in cell) / len(cell)) if cell else "" for cell in cells)))
    differ = {
        pair: scores.differences(table, *pair) for pair in (("l2", "image_text"), ("image_image", "image_text"), ("l2", "image_image"))
    }
    for (first, second), by_strength in differ.items():
        if by_strength:
            row = [_points(by_strength[strength][:2]) if strength in by_strength else "" for strength in strengths]
            rows.append((f"{first} minus {second}, points".replace("_", "-"), *row))
    seeds = max(len(cell) for by in table.values() for cell in by.values())
    head = ("loss", *(f"{100 * strength:.0f} %" for strength in strengths))
    text = (
        f"## Dose response\n\nAccuracy on real images of students of three losses, as `{config.dose_cue}` is tied to the class in a share of the "
        f"synthetic images ({seeds} seed{'s' if seeds > 1 else ''}; intervals over seeds).\n\n" + _table(head, rows)
    )
    for (first, second), by_strength in differ.items():
        text += _places_change(first, second, by_strength)
    return text


def _points(difference: tuple[float, Interval | None]) -> str:
    mean, interval = difference
    return _whole(mean) + ("" if interval is None else f" ({_whole(interval[0])} to {_whole(interval[1])})")


def _places_change(first: str, second: str, by_strength: dict[float, tuple[float, Interval | None, list[float]]]) -> str:
    if len(by_strength) < 2:
        return ""
    names = [name.replace("_", "-") for name in (first, second)]
    where = scores.crossing({strength: difference[0] for strength, difference in by_strength.items()})
    count = min(len(difference[2]) for difference in by_strength.values())
    each = [scores.crossing({strength: difference[2][seed] for strength, difference in by_strength.items()}) for seed in range(count)]
    known = [value for value in each if value is not None]
    if where is None:
        always = all(difference[0] >= 0 for difference in by_strength.values())
        return f"\n\n{names[0]} and {names[1]} do not change places on average: {names[0] if always else names[1]} is ahead" + (
            " at every strength." if always or all(difference[0] < 0 for difference in by_strength.values()) else " at the strongest tie."
        )
    spread = f" (single seeds: {', '.join(f'{100 * value:.0f} %' for value in known)})" if len(known) > 1 else ""
    return f"\n\n{names[0]} overtakes {names[1]} at a tie of {100 * where:.0f} %{spread}."
