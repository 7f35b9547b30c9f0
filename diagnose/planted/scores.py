"""Scores of the toolkit over planted draws: does it fire, does it stay silent, does it say what and where, are its intervals honest?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from probes.planted.cue import diagnosed_family
from probes.planted.plant import CUES
from probes.stats.intervals import Interval, wilson

Record = Mapping[str, Any]

FIRES = ("named", "used", "several", "unnamed")
"""What a cause may be called when something is alarmed at; the others are silence."""

COSTS = 0.05
"""The cost on real images from which the goals count, in accuracy."""


def judged(records: Iterable[Record]) -> list[Record]:
    """Keep the draws on which the toolkit was run."""
    return [record for record in records if "said" in record]


def positives(records: Iterable[Record]) -> list[Record]:
    """Keep the judged draws with a cue that is tied to the class."""
    return [record for record in judged(records) if record["draw"]["kind"] == "cue"]


def nulls(records: Iterable[Record]) -> list[Record]:
    """Keep the judged draws without a cue that tells anything."""
    return [record for record in judged(records) if record["draw"]["kind"] != "cue"]


def costs(records: Sequence[Record]) -> dict[str, float]:
    """Compute what each draw's cue costs on real images: accuracy of the student of the same seed without any cue, minus its own.

    Both are measured on the same further held-out images, which the toolkit does not see.
    """
    clean = {record["draw"]["seed"]: record["truth"]["real"] for record in records if record["draw"]["kind"] == "halves"}
    return {
        record["name"]: clean[record["draw"]["seed"]] - record["truth"]["real"]
        for record in records
        if record["draw"]["seed"] in clean and record["draw"]["loss"] == "image_text"
    }


def expected(record: Record) -> tuple[str, ...]:
    """Return the families that the toolkit may name, the best one first; empty where no exchange carries the cue and it should name none."""
    cue = CUES[record["draw"]["cue"]]
    return tuple(name for family in (cue.family, *cue.also) if (name := diagnosed_family(family)) is not None)


def carried(record: Record) -> bool:
    """Return whether a family of the vocabulary is planted, so that one can be named."""
    return diagnosed_family(CUES[record["draw"]["cue"]].family) is not None


def fires(record: Record) -> bool:
    """Return whether the toolkit says that a cue is used."""
    return record["said"]["status"] in FIRES


def costly(records: Sequence[Record], cost: Mapping[str, float], roles: Sequence[str] | None = None) -> list[Record]:
    """Keep the judged draws that the goals are about: a cue of the vocabulary that costs at least `COSTS`, of these roles if any are given.

    Args:
        records: of draws.
        cost: name of a draw -> cost on real images, see `costs`.
        roles: roles of cues to keep; None for all.
    """
    return [
        record
        for record in positives(records)
        if carried(record) and cost.get(record["name"], 0.0) >= COSTS and (roles is None or CUES[record["draw"]["cue"]].role in roles)
    ]


def naming(record: Record) -> str:
    """Return how a draw was named: `right`, `wrong`, `open` (it fires and names no family) or `silent`."""
    if not fires(record):
        return "silent"
    family = record["said"]["family"]
    return "open" if family is None else "right" if family in expected(record) else "wrong"


def share(hits: Sequence[bool]) -> tuple[float, Interval, int] | None:
    """Compute a share with its interval (Wilson) and count; None of nothing."""
    return None if not hits else (sum(hits) / len(hits), wilson(sum(hits), len(hits)), len(hits))


def detection_auc(positive: Sequence[Record], null: Sequence[Record]) -> float | None:
    """Compute the chance that a draw with a cue scores higher than one without; the score is the low end of what is followed most.

    Args:
        positive: records of draws with a cue.
        null: records of draws without one.

    Returns:
        AUC in [0, 1], chance 0.5; None without draws of both kinds.
    """
    if not positive or not null:
        return None
    from sklearn.metrics import roc_auc_score

    scores = np.array([record["said"]["score"] for record in (*null, *positive)])
    return float(roc_auc_score(np.arange(len(scores)) >= len(null), scores))


def power_at(positive: Sequence[Record], null: Sequence[Record], *, false_alarms: float = 0.05) -> float | None:
    """Compute the share of draws whose score exceeds all but 5 % of the nulls' (with fewer than 20 nulls: all of them).

    Args:
        positive: records of draws with a cue.
        null: records of draws without one.
        false_alarms: share of the nulls that may score higher.

    Returns:
        Share in [0, 1]; None without draws of both kinds.
    """
    if not positive or not null:
        return None
    ordered = sorted(record["said"]["score"] for record in null)
    threshold = ordered[max(0, math.ceil((1 - false_alarms) * len(ordered)) - 1)]
    return float(np.mean([record["said"]["score"] > threshold for record in positive]))


def coverage(records: Iterable[Record]) -> dict[str, tuple[float, Interval, int]]:
    """Compute the share of 95 % intervals that hold the truth, by quantity.

    The truth is the same number on all further held-out images, the real ones and the same with the cue. It is itself known up to
    its sampling error, whose half-width is added to the interval's as the root of the sum of squares.
    """
    covered: dict[str, list[bool]] = {}
    for record in judged(records):
        if record["draw"]["kind"] == "imbalance":
            continue  # there the further images have other shares of the classes than the toolkit's
        true, n = record["truth"], record["truth"]["n"]
        known = {
            "real": (true["real"], true["real"] * (1 - true["real"])),
            "synthetic": (true["synthetic"], true["synthetic"] * (1 - true["synthetic"])),
            "behind_real": (true["teacher_real"] - true["real"], abs(true["teacher_real"] - true["real"])),
        }
        for name, (value, variance) in known.items():
            middle, low, high = record["said"]["outcome"][name]
            error = 1.96 * math.sqrt(variance / n)
            reach = math.hypot(high - middle if value > middle else middle - low, error)
            covered.setdefault(name, []).append(abs(value - middle) <= reach)
    return {name: interval for name, hits in covered.items() if (interval := share(hits)) is not None}


def places(records: Iterable[Record]) -> dict[str, dict[str, float]]:
    """Compute the means over draws, by method, of pointing game, overlap and their chances, where the toolkit fires on a cue that has a place."""
    by_method: dict[str, list[dict[str, float]]] = {}
    for record in filter(fires, positives(records)):
        for method, values in record["said"].get("place", {}).items():
            by_method.setdefault(method, []).append(values)
    return {
        method: {name: float(np.mean([item[name] for item in values])) for name in values[0]} | {"draws": float(len(values))}
        for method, values in by_method.items()
    }


def dose(records: Iterable[Record]) -> dict[str, dict[float, list[tuple[int, float]]]]:
    """Return accuracy on real images by loss and strength: a list of (seed, accuracy)."""
    by_loss: dict[str, dict[float, list[tuple[int, float]]]] = {}
    for record in records:
        draw = record["draw"]
        if not draw["judged"]:
            by_loss.setdefault(draw["loss"], {}).setdefault(draw["strength"], []).append((draw["seed"], record["truth"]["real"]))
    return {loss: dict(sorted(by.items())) for loss, by in by_loss.items()}


def differences(
    table: Mapping[str, Mapping[float, Sequence[tuple[int, float]]]], first: str, second: str
) -> dict[float, tuple[float, Interval | None, list[float]]]:
    """Compute accuracy of one loss minus another by strength, paired over seeds: mean, t interval (None for one seed), the differences.

    Args:
        table: see `dose`.
        first: a loss.
        second: the loss to subtract.
    """
    by_strength = {}
    for strength in table.get(first, {}):
        others = dict(table.get(second, {}).get(strength, ()))
        values = [value - others[seed] for seed, value in table[first][strength] if seed in others]
        if values:
            half = None
            if len(values) > 1:
                half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
            mean = float(np.mean(values))
            by_strength[strength] = (mean, None if half is None else (mean - half, mean + half), values)
    return by_strength


def crossing(by_strength: Mapping[float, float]) -> float | None:
    """Compute the strength at which a difference first goes from below 0 to above, by straight lines between strengths; None without one."""
    points = sorted(by_strength.items())
    for (left, below), (right, above) in itertools.pairwise(points):
        if below < 0 <= above:
            return left + (right - left) * -below / (above - below)
    return None
