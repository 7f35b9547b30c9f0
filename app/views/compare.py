"""Page Compare: two runs side by side, both in the address: verdicts, outcomes with intervals, findings that changed."""

from __future__ import annotations

import streamlit as st

from app import charts
from app.panels.choices import choose
from app.panels.differences import Changed, alone, badge, changed_findings, outcome_dots, outcome_words, outcomes, settings
from app.panels.measures import draw
from app.panels.notices import how_to_make, view_or_notice
from app.panels.report_view import ReportView
from app.panels.wording import escape, estimate
from app.run_store.reports import Run, find_runs, load_report
from diagnose.wording.words import first_sentence, joined
from probes.result import DiagnosticError


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("What changed between two runs?")
    view = view_or_notice(run)
    if view is None:
        return
    others = others_of(run, find_runs(run.root))
    if not others:
        st.info(
            "There is no other run beside this one to compare it with. Serve the folder that holds several runs:", icon=":material/info:"
        )
        st.code("synthgap app path/to/runs", language="bash")
        return
    names = [other.name for other in others]
    named = choose("Compared with", names, "with", start=names[readable(others)])
    other = others[names.index(named)]
    try:
        earlier = ReportView(load_report(other))
    except (FileNotFoundError, DiagnosticError) as error:
        st.info(f"The other run has no report that can be read. {escape(str(error))}", icon=":material/info:")
        how_to_make(other)
        return
    _verdicts(earlier, other.name, view, run.name)
    _outcomes(earlier, view)
    _findings(earlier, view)
    _settings(earlier, other.name, view, run.name)


def others_of(run: Run, runs: list[Run]) -> list[Run]:
    """List the runs beside one: those before it first, the nearest first, then those after it; `runs` are the newest first.

    Args:
        run: the run.
        runs: all runs, the newest first.
    """
    place = next((place for place, other in enumerate(runs) if other.name == run.name), -1)
    return [*runs[place + 1 :], *runs[: max(place, 0)]]


def readable(runs: list[Run]) -> int:
    """Find the first run whose report can be read, 0 where none can."""
    for place, run in enumerate(runs):
        try:
            load_report(run)
        except (FileNotFoundError, DiagnosticError):
            continue
        return place
    return 0


def _verdicts(first: ReportView, first_name: str, second: ReportView, second_name: str) -> None:
    st.header("The verdicts")
    for column, view, name, when in zip(st.columns(2), (first, second), (first_name, second_name), ("Before", "Now"), strict=True):
        with column.container(border=True):
            head, rest = first_sentence(view.report.verdict.statement)
            st.caption(f"{when}: {escape(name)}, {escape(view.report.verdict.label.replace('_', ' '))}")
            st.markdown(f"**{escape(head)}**")
            if rest:
                with st.expander("The whole verdict"):
                    st.markdown(escape(rest))
    same = first.report.verdict.label == second.report.verdict.label
    st.markdown("Both runs come to the same verdict." if same else "The two runs come to **different verdicts**.")
    teachers = [view.report.teacher.zero_shot.real for view in (first, second)]
    if teachers[0] is not None and teachers[1] is not None:
        st.caption(f"The teacher on real images: {estimate(teachers[0], 'share')} before, {estimate(teachers[1], 'share')} now.")


def _outcomes(first: ReportView, second: ReportView) -> None:
    st.header("The outcomes, loss by loss")
    pairs = outcomes(first, second)
    if not pairs:
        st.info("The two runs have no loss in common that was trained on the same kind of images.", icon=":material/info:")
    else:
        lines = [outcome_words(pair) for pair in pairs]
        st.markdown(change_sentence(first, second))
        dots = outcome_dots(pairs, first.colours)
        figure = charts.dot_chart(dots, "change in accuracy, percentage points", percent=True, guide=0.0, guide_label="no change")
        draw(figure, "Accuracy now minus before. " + " ".join(lines).replace("*", "").replace("\\", ""), "compare-outcomes")
        st.caption(
            "Now minus before: right of the line it got better. Circle: real images, diamond: synthetic ones. Whiskers: 95 % interval over seeds "
            "and images, as if the two runs shared no image; where they were tested on the same images it is wider than it need be."
        )
        with st.expander("The same in words, with intervals and n"):
            st.markdown("\n".join(lines))
    for view, other, when in ((first, second, "before"), (second, first, "now")):
        titles = alone(view, other)
        if titles:
            st.caption(f"Only {when}: {joined(escape(title) for title in titles)}.")


def change_sentence(first: ReportView, second: ReportView) -> str:
    """Say on how many losses real accuracy surely changed.

    Args:
        first: the report before.
        second: the report now.
    """
    pairs = [pair for pair in outcomes(first, second) if pair.domain == "real"]
    better = [escape(pair.title) for pair in pairs if pair.direction == "above"]
    worse = [escape(pair.title) for pair in pairs if pair.direction == "below"]
    parts = [f"- surely **{word}** for {'; '.join(titles)}" for word, titles in (("better", better), ("worse", worse)) if titles]
    rest = len(pairs) - len(better) - len(worse)
    parts += [f"- not surely changed for {rest} of {len(pairs)} losses"] if rest else []
    return "\n".join(["Accuracy on real images is", "", *parts]) if parts else "Accuracy on real images is in one of the two runs only."


def _findings(first: ReportView, second: ReportView) -> None:
    st.header("Which findings changed?")
    moved, stayed = changed_findings(first, second)
    if not moved:
        st.markdown(f"None: all {len(stayed)} findings are judged alike.")
    else:
        st.markdown(f"{len(moved)} of {len(moved) + len(stayed)} findings are judged otherwise, or stand in one of the runs only.")
    for pair in moved:
        _pair(pair)
    if stayed:
        with st.expander(f"{len(stayed)} findings that stayed"):
            for pair in stayed:
                _pair(pair)


def _pair(pair: Changed) -> None:
    st.markdown(f"**{escape(pair.title)}**: {badge(pair.first)} → {badge(pair.second)}")
    for finding, when in ((pair.first, "before"), (pair.second, "now")):
        if finding is not None:
            st.caption(f"{when}: {escape(first_sentence(finding.statement)[0])}")


def _settings(first: ReportView, first_name: str, second: ReportView, second_name: str) -> None:
    st.header("What differs in the setting?")
    rows = settings(first, second)
    if not rows:
        st.markdown("Nothing that the reports say: same teacher, classes, losses, seeds, images and versions.")
        return
    lines = [f"- **{escape(name)}**: {escape(one)} → {escape(two)}" for name, one, two in rows]
    st.markdown(f"From {escape(first_name)} to {escape(second_name)}; a difference in the outcome may come from any of these:")
    st.markdown("\n".join(lines))
