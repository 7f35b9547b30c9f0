"""Page Drift: how far the student is from its teacher on the same images, by domain and over epochs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from app import charts
from app.panels.choices import choose
from app.panels.counts import counts_sentence
from app.panels.ends import show_ends
from app.panels.measures import LEGEND_SEEDS, Measure, available, draw, measure_chart, measure_sentence, measured
from app.panels.notices import failed_probes, missing, view_or_notice
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import Run, load_probe
from diagnose.wording.numbers import format_number
from probes.result import DiagnosticError

MEASURES = (
    Measure(
        "Same direction",
        "cosine",
        "cosine between student and teacher (1 = the same)",
        "Mean cosine between the student's and the teacher's embedding of one image: 1 means the same direction, 0 unrelated.",
        domains=True,
    ),
    Measure(
        "Same geometry",
        "cka",
        "CKA (1 = same similarities among images)",
        "Centred kernel alignment: do student and teacher agree on which images are alike? A turned copy of the teacher has 1 too.",
        domains=True,
    ),
    Measure(
        "Misfit after turning",
        "procrustes",
        "residual after the best rotation (0 = none)",
        "What is left after turning the student's space as well as possible onto the teacher's: 0 means a perfect copy.",
        domains=True,
    ),
    Measure(
        "Same neighbours",
        "knn_overlap",
        "share of nearest neighbours in common",
        "Of an image's nearest neighbours, the share that student and teacher have in common.",
        domains=True,
    ),
    Measure(
        "Distance to the texts",
        "modality_gap",
        "distance between mean image and mean class text",
        "How far the cloud of images lies from the class texts it is compared with.",
        domains=True,
    ),
    Measure("Classes stay together", "alignment", "alignment", "How far apart images of one class lie; lower is closer.", domains=True),
    Measure("Spread", "uniformity", "uniformity", "How evenly the embeddings fill the sphere; lower is more even.", domains=True),
)


ENDS = (
    ("Real images that it sees least like its teacher", False, "real"),
    ("Real images that it sees most like its teacher", True, "real"),
    ("Synthetic images that it sees least like its teacher", False, "synthetic"),
)
"""Words, highest first, kind of image."""


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("How far is it from its teacher?")
    view = view_or_notice(run)
    if view is None:
        return
    st.markdown(
        "Student and teacher look at the **same image**; we compare what they make of it, on real and on synthetic images. "
        "A student that stays near its teacher only on synthetic images has learnt those images, not the teacher."
    )
    failed_probes(view, "drift", run)
    records = view.records("drift")
    choices = available(MEASURES, records)
    if not choices:
        missing("Drift is not in this report.", run)
        return
    labels = [measure.label for measure in choices]
    picked = choose("Compared by", labels, "measure", buttons=True)
    measure = choices[labels.index(picked)]
    st.markdown(f"{measure.meaning} {domain_sentence(view, measure)}")
    words = measure_sentence(view, "drift", measure)
    draw(measure_chart(view, "drift", measure), f"{measure.label}: {words}", "drift")
    with st.expander("The same in words, with intervals and n"):
        st.markdown(words)
        st.caption(f"{LEGEND_SEEDS} {counts_sentence(view, 'drift')}")
    _epochs(view, run, measure)
    _images(view, run)


def domain_sentence(view: ReportView, measure: Measure) -> str:
    """Say for which group real and synthetic images differ most.

    Args:
        view: the report, with what pages read from it.
        measure: the measure.
    """
    values = measured(view, "drift", measure)
    titles = [title for title, domain in values if domain == "real" and (title, "synthetic") in values]
    if not titles:
        return ""
    widest = max(titles, key=lambda title: abs(values[title, "synthetic"].mean - values[title, "real"].mean))
    real, synthetic = values[widest, "real"], values[widest, "synthetic"]
    n = f" (n = {real.n:,} images)" if real.n else ""
    numbers = f"{format_number(real.mean)} on real, {format_number(synthetic.mean)} on synthetic images{n}"
    return f"Here the two kinds of image differ most for **{escape(widest)}**: {numbers}."


def epoch_lines(view: ReportView, run: Run, measure: Measure) -> tuple[list[charts.Line], str]:
    """Read a measure over epochs for every student not trained on real images.

    Args:
        view: the report, with what pages read from it.
        run: the run.
        measure: the measure.

    Returns:
        Curves with bands, one a student and domain; and the first reason why one is missing.
    """
    colours, lines, reason = view.colours, [], ""
    records = view.records("drift")
    for group, title in view.curve_groups:
        for name in group.names:
            try:
                arrays = load_probe(run, records[name]).arrays
            except (KeyError, FileNotFoundError, DiagnosticError) as error:
                reason = reason or (str(error) if not isinstance(error, KeyError) else "")
                continue
            epochs = arrays.get("epochs")
            for domain, score in measure.names().items():
                rows = arrays.get(f"{score}/by_epoch")
                if epochs is not None and rows is not None and rows.shape == (len(epochs), 3) and np.isfinite(rows).all():
                    value, low, high = rows.T.tolist()
                    lines.append(charts.Line(f"{title}, {domain} images", epochs.tolist(), value, colours[group.key], domain, low, high))
    return lines, reason


def _epochs(view: ReportView, run: Run, measure: Measure) -> None:
    st.header("While it was trained")
    lines, reason = epoch_lines(view, run, measure)
    if not lines:
        missing(
            "Values by epoch are not stored for this measure; they need the checkpoints of the training.",
            run,
            DiagnosticError(reason) if reason else None,
        )
        return
    sentence = epoch_sentence(lines)
    st.markdown(sentence)
    draw(charts.line_chart(lines, measure.label.lower()), f"{measure.label} by epoch. {sentence}", "drift-epochs")
    st.caption(
        f"One curve a seed with its 95 % band; drawn through: real images; dashed: synthetic images. {counts_sentence(view, 'drift')}"
    )


def epoch_sentence(lines: list[charts.Line]) -> str:
    """Say between which values each group moved, on real images."""
    ends: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        if line.domain == "real":
            ends.setdefault(line.name.rsplit(", ", 1)[0], []).append((line.y[0], line.y[-1]))
    parts = [
        f"**{escape(title)}** from {format_number(float(np.mean([a for a, _ in pairs])))} to {format_number(float(np.mean([b for _, b in pairs])))}"
        for title, pairs in ends.items()
    ]
    return "From the first to the last checkpoint, on real images:\n\n" + "\n".join(f"- {part}" for part in parts) if parts else ""


def _images(view: ReportView, run: Run) -> None:
    st.header("Which images does it see otherwise than its teacher?")
    records = {name: record for name, record in view.finished("drift").items() if name != view.report.teacher.name}
    if not records:
        missing("The likeness of each image is not in this report.", run)
        return
    student = choose("Student", list(records), "student", start=view.widest_gap(list(records)))
    try:
        arrays = load_probe(run, records[student]).arrays
    except (FileNotFoundError, DiagnosticError) as error:
        missing("The likeness of each image is not stored with this report.", run, error)
        return
    needed = [arrays[name] for name in ("cosine", "ids", "domain") if name in arrays]
    if len(needed) < 3 or len({len(values) for values in needed}) > 1:
        missing("The likeness of each image is not stored for this student; it needs embeddings of the teacher's size.", run)
        return
    cosine, ids, domain = needed[0], needed[1].astype(str), needed[2].astype(str)
    sides = {where: cosine[domain == where] for where in ("real", "synthetic")}
    if not all(len(values) for values in sides.values()):
        missing("The likeness of one kind of image only is stored.", run)
        return
    sentence = likeness_sentence(sides)
    st.markdown(sentence)
    figure = charts.score_histogram(sides["real"], sides["synthetic"], view.colour_of(student), "cosine to the teacher (1 = the same)")
    draw(figure, sentence, "likeness")
    show_ends(run, cosine, ids, domain, ENDS)


def likeness_sentence(sides: Mapping[str, np.ndarray]) -> str:
    """Say what the likeness of single images is like: the middle one and the lowest twentieth of each kind, with n."""
    parts = [
        f"of n = {len(values):,} {where} images the middle one has a cosine of {format_number(np.median(values))}, and one in twenty has less than "
        f"{format_number(np.quantile(values, 0.05))}"
        for where, values in sides.items()
    ]
    return f"Student and teacher look at one image after the other: {'; '.join(parts)}."
