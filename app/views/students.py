"""Page Students: side by side, the grid trained on x tested on, training curves, accuracy by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from app import charts
from app.panels.choices import choose
from app.panels.confusions import show_confusions
from app.panels.fragility import show_fragility
from app.panels.groups import StudentGroup, collect_seeds, zero_shot
from app.panels.measures import draw
from app.panels.notices import failed_probes, missing, view_or_notice
from app.panels.opened import when_opened
from app.panels.outcome import show_outcome
from app.panels.report_view import ReportView
from app.panels.sizes import show_sizes
from app.panels.wording import DOMAIN_WORDS, escape
from app.run_store.reports import Run, load_probe
from diagnose.schema import Estimate, Student, Teacher
from diagnose.wording.numbers import format_number, in_percent, with_interval
from probes.result import DiagnosticError

MOST_CLASSES = 40

A_ROW = 2
"""Grids beside each other; a third would leave no room for its numbers."""

MOST_GROUPS = 6
"""Kinds of students that one chart shows unasked: there are as many colours."""


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("The students, side by side")
    view = view_or_notice(run)
    if view is None:
        return
    show_outcome(view, "students-outcome")
    when_opened("Every student in a table", "students-table", partial(_table, view))
    _grid(view)
    show_sizes(view)
    titles = shown_groups(view)
    _curves(view, run, titles)
    _classes(view, run, titles)
    show_fragility(view, run)


def _table(view: ReportView) -> None:
    st.dataframe(student_table(view), hide_index=True, alt="Zero-shot accuracy of every student with its 95 % interval")


def student_table(view: ReportView) -> pd.DataFrame:
    """Return one row an encoder: what it is and its two accuracies with intervals; the teacher first."""

    def cell(accuracy: Estimate | None) -> str:
        return "not measured" if accuracy is None else f"{with_interval(accuracy, digits=1, percent=True)}, n = {accuracy.n:,}"

    encoders: list[Teacher | Student] = [view.report.teacher, *view.report.students]
    rows = [
        {
            "name": encoder.name,
            "trained on": getattr(encoder, "trained_on", None) or "",
            "seed": "" if getattr(encoder, "seed", None) is None else str(getattr(encoder, "seed", "")),
            "real, %": cell(encoder.zero_shot.real),
            "synthetic, %": cell(encoder.zero_shot.synthetic),
            "parameters": f"{encoder.params:,}",
        }
        for encoder in encoders
    ]
    return pd.DataFrame(rows)


def grid_cells(groups: list[StudentGroup]) -> dict[tuple[str, str], tuple[float, str]]:
    """Return the cells of one loss's grid: (trained on, tested on) -> accuracy and its text."""
    cells = {}
    for group in groups:
        for domain in ("real", "synthetic"):
            values = collect_seeds(group, lambda student, domain=domain: zero_shot(student, domain))  # type: ignore[misc]
            if values is not None and group.trained_on is not None:
                low, high = values.span
                cells[group.trained_on, domain] = (
                    values.mean,
                    f"<b>{in_percent(values.mean)} %</b><br>{in_percent(low)} to {in_percent(high)}",
                )
    return cells


def grid_sentence(label: str, cells: dict[tuple[str, str], tuple[float, str]]) -> str:
    """Say whether a loss fails everywhere or only after training on synthetic images.

    Args:
        label: name of the loss.
        cells: (trained on, tested on) -> accuracy and its text.
    """
    real, synthetic = cells.get(("real", "real")), cells.get(("synthetic", "real"))
    if real is None or synthetic is None:
        return f"**{escape(label)}**: only one of the two trainings is in this run, so the loss and the images cannot be told apart."
    points = 100 * (real[0] - synthetic[0])
    return (
        f"**{escape(label)}** finds the class of {in_percent(real[0])} % of real images when trained on real ones and "
        f"{in_percent(synthetic[0])} % when trained on synthetic ones: synthetic images {'cost' if points >= 0 else 'gain'} it "
        f"{format_number(abs(points), 0)} points."
    )


def _grid(view: ReportView) -> None:
    st.header("Does the loss fail, or does it fail on synthetic images?")
    groups = view.groups
    by_key = {key: [group for group in groups if group.key == key and group.trained_on] for key in view.keys}
    both = {key: members for key, members in by_key.items() if {"real", "synthetic"} <= {group.trained_on for group in members}}
    if not both:
        st.info(
            "The grid needs one loss trained on real images and also on synthetic ones; this run has one kind only. Write "
            '`trained_on = ["synthetic", "real"]` at a loss of the config, name the real training images, and train again:',
            icon=":material/info:",
        )
        st.code("synthgap train CONFIG.toml --out RUN", language="bash")
        return
    st.markdown("If a loss were bad in itself, its upper row would be pale too.")
    columns = [column for _ in range(0, len(both), A_ROW) for column in st.columns(min(len(both), A_ROW))]
    for column, (key, members) in zip(columns, both.items(), strict=False):
        cells = grid_cells(members)
        trained = [name for name in ("real", "synthetic") if any(where == name for where, _ in cells)]
        trained += sorted({where for where, _ in cells} - set(trained))
        sentence = grid_sentence(members[0].label, cells)
        with column:
            st.markdown(f"##### {escape(members[0].label)}")
            draw(charts.grid_chart(cells, trained), f"Accuracy by training and test images. {sentence}", f"grid-{key}")
    for members in both.values():
        st.markdown(f"- {grid_sentence(members[0].label, grid_cells(members))}")
    st.caption(f"Means over seeds; below each, the lowest and highest seed (with one seed: its 95 % interval). {_tested(view)}")


def _tested(view: ReportView) -> str:
    counts = [
        f"n = {accuracy.n:,} {DOMAIN_WORDS[domain]}"
        for domain in ("real", "synthetic")
        if (accuracy := getattr(view.report.teacher.zero_shot, domain))
    ]
    return f"Tested on {' and '.join(counts)}." if counts else ""


def shown_groups(view: ReportView) -> list[str]:
    """Let the reader choose whose curves and classes are drawn where there are too many kinds of students for one chart."""
    titles = [group.title for group in view.groups if group.trained_on != "real"]
    if len(titles) <= MOST_GROUPS:
        return titles
    label = f"Drawn in the charts below, of {len(titles)} kinds of students"
    return st.multiselect(label, titles, titles[:MOST_GROUPS], key="drawn") or titles[:MOST_GROUPS]


def curve_lines(view: ReportView, column: str, domain: str = "", titles: Sequence[str] | None = None) -> list[charts.Line]:
    """Return one curve a student not trained on real images, of a column of its training curve; seeds share a name, short where it can be.

    Args:
        view: the report, with what pages read from it.
        column: of the training curve.
        domain: `real`, `synthetic`, or empty.
        titles: titles of the groups; all where None.
    """
    colours = view.colours
    lines = []
    for group, title in view.curve_groups:
        if titles is not None and group.title not in titles:
            continue
        for student in group.students:
            rows = [row for row in student.curve if "epoch" in row and column in row]
            if rows:
                name = f"{title}{f', {domain} images' if domain else ''}"
                lines.append(charts.Line(name, [row["epoch"] for row in rows], [row[column] for row in rows], colours[group.key], domain))
    return lines


def _curves(view: ReportView, run: Run, titles: Sequence[str]) -> None:
    st.header("Was it just not trained long enough?")
    lines = [line for domain in ("real", "synthetic") for line in curve_lines(view, f"zero_shot_{domain}", domain, titles)]
    losses = curve_lines(view, "loss", titles=titles)
    if not lines and not losses:
        missing("The training curves are not stored in this report.", run)
        return
    if lines:
        st.markdown(curve_sentence(lines))
        draw(
            charts.line_chart(lines, "zero-shot accuracy (%)", percent=True),
            "Zero-shot accuracy by epoch, real and synthetic images. " + curve_sentence(lines),
            "curves",
        )
        st.caption("One curve a seed. Drawn through: real images; dashed: synthetic images. Students trained on synthetic images.")
    if losses:
        when_opened("The training loss, epoch by epoch", "loss-opened", partial(_losses, losses))


def _losses(losses: list[charts.Line]) -> None:
    relative = [charts.Line(line.name, line.x, [value / (abs(line.y[0]) or 1.0) for value in line.y], line.colour) for line in losses]
    st.markdown("The training loss, as a part of its value after the first epoch: a training that failed would not come down.")
    ends = "; ".join(f"{line.name} {format_number(line.y[-1])}" for line in relative)
    alt = f"Training loss by epoch, relative to the first; after the last epoch: {ends}"
    draw(charts.line_chart(relative, "loss / loss after the first epoch"), alt, "loss-curves")
    st.caption("One curve a seed; each loss has a scale of its own, so only the course of one curve means something.")


def curve_sentence(lines: list[charts.Line]) -> str:
    """Say where training ended, on real and on synthetic images."""
    last: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        last.setdefault((line.name.rsplit(", ", 1)[0], line.domain), []).append(line.y[-1])
    means = {key: float(np.mean(values)) for key, values in last.items()}
    parts = [
        f"- **{escape(title)}**: {in_percent(means[title, 'synthetic'], 0)} % on synthetic, {in_percent(means[title, 'real'], 0)} % on real"
        for title in dict.fromkeys(name for name, _ in means)
        if (title, "real") in means and (title, "synthetic") in means
    ]
    end = "A student that masters synthetic images was trained well; if it fails on real ones, that has another reason."
    return "\n".join(["Accuracy after the last epoch, on images of each kind:", "", *parts, "", end]) if parts else ""


@dataclass(frozen=True)
class ClassAccuracy:
    """Accuracy by class of every group on one domain.

    Args:
        groups: group title -> (C,) mean over seeds, NaN where a class has no images.
        teacher: (C,) or None.
        n: fewest images of a class, 0 where not stored.
        reason: the first reason why something is missing.
    """

    groups: dict[str, np.ndarray]
    teacher: np.ndarray | None = None
    n: int = 0
    reason: str = ""


def class_accuracy(view: ReportView, run: Run, domain: str) -> ClassAccuracy:
    """Read accuracy by class from the stored results of `transfer`; arrays of another length are passed over.

    Args:
        view: the report, with what pages read from it.
        run: the run.
        domain: `real` or `synthetic`.
    """
    by_group: dict[str, np.ndarray] = {}
    teacher, n, reason, records = None, 0, "", view.records("transfer")
    shape = (len(view.report.class_names),)
    for group in view.groups:
        rows = []
        for name in group.names:
            try:
                arrays = load_probe(run, records[name]).arrays
            except KeyError:
                reason = reason or f"`transfer` of {name} is not in the report."
                continue
            except (FileNotFoundError, DiagnosticError) as error:
                reason = reason or str(error)
                continue
            rows += [values for values in [arrays.get(f"class_accuracy/{domain}")] if values is not None and values.shape == shape]
            of_teacher, counts = arrays.get(f"teacher/class_accuracy/{domain}"), arrays.get(f"class_count/{domain}")
            teacher = of_teacher if of_teacher is not None and of_teacher.shape == shape else teacher
            n = int(counts[counts > 0].min()) if counts is not None and (counts > 0).any() else n
        if rows:
            by_group[group.title] = np.mean(rows, axis=0)
    return ClassAccuracy(by_group, teacher, n, reason)


def _classes(view: ReportView, run: Run, titles: Sequence[str]) -> None:
    st.header("Which classes suffer?")
    failed_probes(view, "transfer", run)
    domain = choose("Tested on", ["real", "synthetic"], "tested-on", buttons=True)
    accuracies = class_accuracy(view, run, domain)
    if not accuracies.groups:
        missing("Accuracy by class is not stored with this report.", run, DiagnosticError(accuracies.reason) if accuracies.reason else None)
        return
    groups = [group for group in view.groups if group.title in accuracies.groups]
    chosen = [group for group in groups if group.title in titles] or groups[:MOST_GROUPS]
    words = class_sentence(view, {group.title: accuracies.groups[group.title] for group in chosen}, domain)
    st.markdown(words)
    draw(charts.mark_chart(class_marks(view, accuracies, chosen, domain), f"zero-shot accuracy on {domain} images"), words, "classes")
    margin = (
        f" At least n = {accuracies.n:,} images a class: the 95 % interval of one seed's mark reaches ± {format_number(98 / accuracies.n**0.5, 0)} points or less."
        if accuracies.n
        else ""
    )
    st.caption(f"Means over seeds, the worst class first, at most {MOST_CLASSES} classes.{margin}")
    lowest = np.min([accuracies.groups[group.title] for group in chosen], axis=0)
    show_confusions(view, run, domain, view.report.class_names[int(np.nanargmin(lowest))] if np.isfinite(lowest).any() else "")


def class_marks(view: ReportView, accuracies: ClassAccuracy, groups: list[StudentGroup], domain: str) -> list[charts.Mark]:
    """Make the marks of all classes, the worst first; classes without images are left out.

    Args:
        view: the report, with what pages read from it.
        accuracies: accuracy by class of every group.
        groups: the groups to draw.
        domain: `real` or `synthetic`.
    """
    colours = view.colours
    lowest = np.min([accuracies.groups[group.title] for group in groups], axis=0)
    marks = []
    for index in np.argsort(np.nan_to_num(lowest, nan=2.0))[:MOST_CLASSES]:
        named = [("teacher", accuracies.teacher, charts.TEACHER)] if accuracies.teacher is not None else []
        named += [(group.title, accuracies.groups[group.title], colours[group.key]) for group in groups]
        marks += [
            charts.Mark(view.report.class_names[index], float(values[index]), colour, domain, name)
            for name, values, colour in named
            if np.isfinite(values[index])
        ]
    return marks


def class_sentence(view: ReportView, by_group: dict[str, np.ndarray], domain: str) -> str:
    """Name each group's worst and best class.

    Args:
        view: the report, with what pages read from it.
        by_group: group title -> (C,) accuracy of each class, NaN where a class has no images.
        domain: `real` or `synthetic`.
    """
    parts = []
    for title, values in by_group.items():
        if not np.isfinite(values).any():
            continue
        worst, best = int(np.nanargmin(values)), int(np.nanargmax(values))
        low, high = f"{in_percent(values[worst], 0)} %", f"{in_percent(values[best], 0)} %"
        names = [escape(view.report.class_names[index]) for index in (worst, best)]
        words = f"is worst on {names[0]} ({low}) and best on {names[1]} ({high})" if low != high else f"is right on {low} of every class"
        parts.append(f"- **{escape(title)}** {words}")
    return "\n".join([f"On {domain} images:", "", *parts])
