"""The curves of a run that is being trained: one chart a training set, one colour a loss, as on every other page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import streamlit as st

from app import charts
from app.panels.measures import draw
from app.panels.wording import escape, loss_name
from app.run_store import new_run
from app.run_store.reports import Run, load_progress
from diagnose.wording.numbers import in_percent

Progress = Mapping[str, Sequence[Mapping[str, float]]]


def show_curves(run: Run) -> bool:
    """Put the curves on the page; tell whether there are any."""
    progress = load_progress(run)
    try:
        config = new_run.read_config(run.path / "config.toml")
    except ValueError:
        config = {}
    charted = curves(progress, config)
    for trained_on, lines in charted.items():
        title = f"Trained on {trained_on} images" if trained_on else "Zero-shot accuracy"
        st.caption(
            f"**{escape(title)}**: share of held-out images whose class is found. Drawn through: real images; dashed: synthetic ones."
        )
        ends = "; ".join(f"{line.name} {in_percent(line.y[-1], 0)} %" for line in lines)
        draw(charts.line_chart(lines, "zero-shot accuracy (%)", percent=True), f"{title}, by epoch; so far: {ends}", f"curves-{trained_on}")
    return bool(charted)


def curves(progress: Progress, config: new_run.Config) -> dict[str, list[charts.Line]]:
    """Turn rows of `metrics.jsonl` into curves.

    Args:
        progress: student -> its rows.
        config: the experiment, which says what each student's loss and training set are; empty where it cannot be read.

    Returns:
        Training set -> curves, real and synthetic of each student.
    """
    known = new_run.students_of(config)
    whose = {student: known.get(student) or _guessed(student) for student in progress}
    colour = charts.colours(list(dict.fromkeys(loss for loss, _ in whose.values())))
    curves_by_set: dict[str, list[charts.Line]] = {}
    for student, rows in progress.items():
        loss, trained_on = whose[student]
        for domain in ("real", "synthetic"):
            points = [(row["epoch"], row[f"zero_shot_{domain}"]) for row in rows if "epoch" in row and f"zero_shot_{domain}" in row]
            if points:
                x, y = zip(*points)
                curves_by_set.setdefault(trained_on, []).append(
                    charts.Line(f"{loss_name(loss)}, {domain} images", x, y, colour[loss], domain)
                )
    return curves_by_set


def _guessed(student: str) -> tuple[str, str]:
    """Read loss and training set from a student's name, such as `l2-synthetic-s0`."""
    stem = re.sub(r"-s\d+$", "", student)
    loss, _, trained_on = stem.rpartition("-")
    return (loss, trained_on) if loss else (stem, "")
