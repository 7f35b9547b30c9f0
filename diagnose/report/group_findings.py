"""The finding on groups of images: whether the worst of them does surely worse than the others."""

from __future__ import annotations

from diagnose.judge import verdict
from diagnose.judge.facts import Measured
from diagnose.schema import Evidence, Finding
from diagnose.wording.words import (
    percent,
    plain,
    upper_first,
)


def group_finding(measured: Measured) -> Finding | None:
    """Compare the worst group of real images with the mean of the groups; None where the images have no groups."""
    worst, mean = measured.worst_group, measured.mean_group
    if worst is None or mean is None:
        return None
    fails = verdict.fails_a_group(measured)
    text = f"{upper_first(plain(measured.name))} is right on {percent(worst)} of its worst group of real images and on {percent(mean)} of a group on average."
    if fails:
        text += " So it does not do equally well on all groups."
    return Finding(
        id=f"groups/{measured.name}",
        probe="transfer",
        verdict="warn" if fails else "inconclusive",
        statement=text,
        students=list(measured.students),
        evidence=[
            Evidence(what="accuracy on the worst group of real images", estimate=worst, unit="share", source="worst_group/real"),
            Evidence(what="mean accuracy of the groups of real images", estimate=mean, unit="share", source="mean_group/real"),
        ],
    )
