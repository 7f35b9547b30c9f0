"""Which of the two properties of a loss is to blame, what they mean, and what losses of each kind reach."""

from __future__ import annotations

import streamlit as st

from app.panels.factor_parts import KIND_WORDS, kind_of
from app.panels.groups import SeedValues, StudentGroup, collect_seeds, zero_shot
from app.panels.report_view import ReportView
from app.panels.wording import escape
from diagnose.judge.properties import Property, judge_properties
from diagnose.judge.verdict import MARGIN, compare
from diagnose.schema import Estimate
from diagnose.wording.numbers import format_number, in_percent

DRAWN_TO = """
- **What it is drawn to.** *The teacher's image embedding* is another point for every image: to hit it, the student has to see what the teacher \
sees in this very image. *The text of the class* is one point for all images of a class: anything that tells the class in the training images \
is good enough, also a cue that only synthetic images have.
- **Negatives.** What the student is pushed away from: the other images or texts of the batch. They make it tell classes apart, by \
whatever tells them apart. A loss with negatives is called contrastive.
"""
IN_PLAIN_WORDS = {
    "text_target_costs_real_accuracy": "students that are only asked to hit the text of the class do worse on real images than students that are "
    "asked to copy what the teacher sees in each image.",
    "negatives_cost_real_accuracy": "students that are pushed away from other images or texts do worse on real images than students that are not.",
    "all_losses_fail_on_real": "whatever the students are asked to copy, they fail on real images, so no one loss is to blame.",
    "training_failure": "the training itself did not work, so it says nothing about real and synthetic images.",
    "domain_difficulty": "the students lose no more on real images than their teacher does: these images are simply harder.",
    "no_gap": "the students do as well on real images as their teacher lets one expect.",
}
"""Label of the verdict -> what it means, for who knows neither the losses nor their names."""

MORE: dict[Property, str] = {"text_target": ", the text target surely more", "negatives": ", the negatives surely more"}
"""The property that costs more -> words behind `Both cost accuracy`."""

BLAME: dict[Property, tuple[str, str]] = {
    "text_target": ("the text target", "being contrastive"),
    "negatives": ("the use of negatives", "the text target"),
}
"""The one property that costs accuracy -> its name, and that of the other."""

EXPLAINED = f"""{DRAWN_TO}
That is why losses are taken apart here: a contrastive loss that fails may do so for its text target, for its negatives, or for both. \
This is an explanation; what follows is measured.
"""


def show_targets(view: ReportView) -> None:
    """Put the answer, the kinds of losses behind it, and the explanation on the page; nothing where no property was told apart."""
    table = kind_table(view)
    if not view.report.factors or not table:
        return
    st.markdown(target_sentence(view))
    st.markdown(table)
    st.caption(
        "Rows that follow each other differ in one thing. Students trained on synthetic images; their size, start and order of images agree."
    )
    st.markdown(f"**Why the target and the negatives may matter**\n{DRAWN_TO}\nThis is an explanation; what stands above it is measured.")


def in_plain_words(view: ReportView) -> str:
    """Say what the verdict means without the names of losses; empty where it names no cause."""
    meaning = IN_PLAIN_WORDS.get(view.report.verdict.label, "")
    negatives = next((factor.points for factor in view.report.factors if factor.name == "negatives"), None)
    text_costs = view.report.verdict.label == "text_target_costs_real_accuracy"
    if text_costs and negatives is not None and compare(negatives, MARGIN) == "below":
        meaning += " Being contrastive, that is, pushing others away, is not what costs."
    return f"**In plain words:** {meaning}" if meaning else ""


def target_sentence(view: ReportView) -> str:
    """Say in one sentence which of the two properties costs accuracy on real images, as the judge decides it."""
    known = {factor.name: factor.points for factor in view.report.factors}
    text, negatives = known.get("text_target"), known.get("negatives")
    if text is None or negatives is None:
        joint = known.get("text_target_and_negatives")
        if joint is None:
            return "The losses of this run do not differ in target or negatives alone."
        return (
            f"Text target and negatives together: {cost_words(joint)} on real images. To tell them apart, train the image-image "
            "contrastive loss as well: it has negatives and no text."
        )
    return property_sentence(text, negatives, view.report.text_minus_negatives)


def property_sentence(text: Estimate, negatives: Estimate, text_minus_negatives: Estimate | None) -> str:
    """Write what the judge decides on the costs of the two properties.

    Args:
        text: cost of the text target.
        negatives: cost of the negatives.
        text_minus_negatives: their paired difference, None in reports of older versions.
    """
    costs = judge_properties(text, negatives, text_minus_negatives)
    numbers = f"on real images texts as target {cost_words(text)}, negatives {cost_words(negatives)}"
    if len(costs.blamed) == 2:
        return f"**Both cost accuracy**{'' if costs.larger is None else MORE[costs.larger]}: {numbers}."
    if not costs.blamed:
        known_small = costs.text_target == costs.negatives == "below"
        return f"Neither {'costs' if known_small else 'is shown to cost'} more than {in_percent(MARGIN, 0)} points: {numbers}."
    blamed, acquitted = BLAME[costs.blamed[0]]
    if "unclear" in (costs.text_target, costs.negatives):
        return f"It is **{blamed}** that costs accuracy; whether the other property does too is not settled: {numbers}."
    return f"It is **{blamed}** that costs accuracy, not {acquitted}: {numbers}."


def cost_words(given: Estimate) -> str:
    """Write a cost so that its sign is a word, with its interval over seeds and images."""
    value, low, high = (100 * end for end in (given.value, given.low, given.high))
    if value < 0:
        value, low, high = -value, -high, -low
    interval = f"{format_number(low, 1)} to {format_number(high, 1)}"
    return f"{'help by' if given.value < 0 else 'cost'} **{format_number(value, 1)} points** ({interval}; n = {given.n:,} {given.over.split()[0]})"


def kind_table(view: ReportView) -> str:
    """Write what losses of each kind reach on real images as a markdown table; empty where fewer than two kinds were trained."""
    groups = [group for group in view.groups if group.trained_on in (None, "synthetic")]
    rows = []
    for kind, words in KIND_WORDS.items():
        values = [
            (group, over)
            for group in groups
            if kind_of(group) == kind and (over := collect_seeds(group, lambda student: zero_shot(student, "real"))) is not None
        ]
        if values:
            rows.append(f"| {words} | {_reached(values)} |")
    return "\n".join(["| The student is drawn to | Right on real images |", "|---|---|", *rows]) if len(rows) > 1 else ""


def _reached(found: list[tuple[StudentGroup, SeedValues]]) -> str:
    if len(found) == 1:
        return f"{escape(found[0][0].label)}: {found[0][1].words(percent=True)}"
    means = [over.mean for _, over in found]
    return f"{in_percent(min(means))} % to {in_percent(max(means))} % ({len(found)} losses, means over seeds; n = {found[0][1].n:,} images each)"
