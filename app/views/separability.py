"""Page Separability: can synthetic and real images be told apart from the student's embeddings, and more than from its teacher's?"""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import charts
from app.panels.choices import choose
from app.panels.counts import counts_sentence
from app.panels.depths import show_depths
from app.panels.directions import show_direction, show_distances
from app.panels.ends import show_ends
from app.panels.ladders import show_ladder
from app.panels.measures import LEGEND_SEEDS, Measure, available, draw, measure_chart, measure_sentence, measured
from app.panels.notices import failed_probes, missing, view_or_notice
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import Run, load_probe
from diagnose.judge.comparison import Side, common_sign
from diagnose.wording.numbers import in_percent
from probes.result import DiagnosticError, ProbeResult

AUC = "AUC (0.5 = cannot tell, 1 = always tells)"


BESIDE_TEACHER: dict[Side, str] = {
    "above": "more than its teacher by every interval",
    "below": "less than its teacher",
    "unclear": "not surely more than its teacher",
}


def _auc(label: str, score: str, meaning: str) -> Measure:
    return Measure(label, score, AUC, meaning, guide=0.5, guide_label="cannot tell")


MEASURES = (
    _auc(
        "Same class only",
        "within_class/linear/auc",
        "A straight cut through the embeddings, within one class at a time: what separates cannot be the class.",
    ),
    _auc("All classes", "linear/auc", "A straight cut through the embeddings of all images; different content may help it."),
    _auc("Neighbours", "knn/auc", "The kind of an image's nearest neighbours; it works also where no straight cut separates."),
    _auc("Neighbours, same class", "within_class/knn/auc", "The kind of an image's nearest neighbours among images of its class."),
    _auc(
        "File facts only",
        "metadata/auc",
        "From the file alone (format, size), without looking at the picture. If this is high, the files differ, and part of every "
        "other number may be that.",
    ),
)
EXCESS = (
    Measure(
        "Same class only",
        "excess/within_class/linear/auc",
        "AUC of the student minus AUC of its teacher",
        "",
        guide=0.0,
        guide_label="as its teacher",
    ),
    Measure("All classes", "excess/linear/auc", "AUC of the student minus AUC of its teacher", "", guide=0.0, guide_label="as its teacher"),
    Measure("Neighbours", "excess/knn/auc", "AUC of the student minus AUC of its teacher", "", guide=0.0, guide_label="as its teacher"),
)


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("Can it tell synthetic from real?")
    view = view_or_notice(run)
    if view is None:
        return
    st.markdown(
        "We train a simple classifier on the student's embeddings to guess whether an image is real or synthetic, and test it on "
        "images it has not seen. A teacher separates them too, so a high value alone proves nothing: **what counts is how much more "
        "the student separates than its teacher.**"
    )
    _told_apart(view, run)
    show_depths(view, run)
    show_ladder(view, run)
    if available(MEASURES, view.records("separability")):
        show_direction(view, run)
        show_distances(view)
        _scores(view, run)


def _told_apart(view: ReportView, run: Run) -> None:
    failed_probes(view, "separability", run)
    records = view.records("separability")
    choices = available(MEASURES, records)
    if not choices:
        missing("Separability is not in this report.", run)
        return
    labels = [measure.label for measure in choices]
    picked = choose("Told apart by", labels, "measure", buttons=True)
    measure = choices[labels.index(picked)]
    st.markdown(measure.meaning)
    words = measure_sentence(view, "separability", measure)
    draw(measure_chart(view, "separability", measure), f"{measure.label}: {words}", "separability")
    with st.expander("The same in words, with intervals and n"):
        st.markdown(words)
        st.caption(f"{LEGEND_SEEDS} {counts_sentence(view, 'separability')}")
    _excess(view)


def excess_sentence(view: ReportView, measure: Measure) -> str:
    """Say how much more each group separates than its teacher, and whether every seed's interval lies on one side of zero.

    Args:
        view: the report, with what pages read from it.
        measure: the measure.
    """
    values = measured(view, "separability", measure)
    lines = []
    for (title, _), over in sorted(values.items(), key=lambda item: -item[1].mean):
        lines.append(f"- **{escape(title)}**: {over.words(percent=False)}, {BESIDE_TEACHER[common_sign(over.seeds)]}")
    return "\n".join(lines)


def _excess(view: ReportView) -> None:
    records = view.records("separability")
    choices = available(EXCESS, records)
    if not choices:
        return
    st.header("More than its teacher?")
    measure = choices[0]
    st.markdown(excess_sentence(view, measure))
    figure = measure_chart(view, "separability", measure)
    draw(figure, excess_sentence(view, measure), "separability-excess")
    counts = counts_sentence(view, "separability")
    st.caption(f"Compared on the same images ({measure.label.lower()}). Right of the line: more than its teacher. {counts}")


def _scores(view: ReportView, run: Run) -> None:
    st.header("Which images give it away?")
    names = [name for name in view.records("separability") if name != view.report.teacher.name]
    student = choose("Student", names, "student", start=view.widest_gap(names))
    try:
        result = load_probe(run, view.records("separability")[student])
        scores, ids, domain = domain_scores(result, run, view)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("The score of each image is not stored with this report.", run, error)
        return
    real, synthetic = scores[domain == "real"], scores[domain == "synthetic"]
    if not len(real) or not len(synthetic):
        missing("Scores of one kind of image only are stored.", run)
        return
    higher = float(np.mean(real > np.median(synthetic)))
    sentence = (
        f"Each image gets a score for how synthetic it looks to this student, by classifiers that never saw it. {in_percent(higher)} % of "
        f"the n = {len(real):,} real images look more synthetic than the middle one of the n = {len(synthetic):,} "
        "synthetic images; 50 % would mean that it cannot tell."
    )
    st.markdown(sentence)
    figure = charts.score_histogram(real, synthetic, view.colour_of(student), "how synthetic the image looks to this student")
    draw(figure, sentence, "domain-scores")
    ends = (
        ("Synthetic images that look most synthetic to it", True, "synthetic"),
        ("Real images that look most synthetic to it", True, "real"),
        ("Synthetic images it takes for real", False, "synthetic"),
    )
    show_ends(run, scores, ids, domain, ends)


def domain_scores(result: ProbeResult, run: Run, view: ReportView) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read held-out domain scores with ids and domains; the domains may lie with the transfer probe.

    Args:
        result: the stored result with its arrays.
        run: the run.
        view: the report, with what pages read from it.

    Returns:
        Scores (N,), ids (N,) text, domains (N,) text.

    Raises:
        DiagnosticError: when an array is missing or the lengths differ.
    """
    arrays = result.arrays
    if "domain_score" not in arrays or "ids" not in arrays:
        raise DiagnosticError(
            f"`separability` of {result.subject} must hold `domain_score` and `ids`, got {sorted(arrays)}; diagnose the run again."
        )
    ids = arrays["ids"].astype(str)
    if "domain" in arrays:
        domain = arrays["domain"].astype(str)
    else:
        transfer = view.records("transfer").get(result.subject)
        other = load_probe(run, transfer).arrays if transfer else {}
        known = dict(zip(other.get("ids", np.array([])).astype(str), other.get("domain", np.array([])).astype(str), strict=False))
        domain = np.array([known.get(name, "") for name in ids])
    if not len(ids) == len(domain) == len(arrays["domain_score"]):
        raise DiagnosticError(f"`separability` of {result.subject} must hold arrays of one length, got others; diagnose the run again.")
    return arrays["domain_score"], ids, domain
