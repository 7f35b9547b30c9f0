"""Say what is missing and which command makes it, instead of failing; show how far a run is that still goes."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app.panels.curves import show_curves
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import Run, load_progress, load_report
from diagnose.schema import ProbeRecord
from diagnose.wording.numbers import format_number
from diagnose.wording.words import joined
from probes.result import DiagnosticError


def no_runs(root: Path) -> None:
    """Offer the demo where there is nothing to show."""
    st.title("No runs yet")
    st.markdown(
        f"There is no run in the folder {escape(str(root))}. The demo trains a few small students in some minutes, without a network, and "
        "shows them here:"
    )
    st.code("synthgap demo", language="bash")
    st.markdown("Page Run starts it, or any other experiment, from here. Or name the folder that holds your runs:")
    st.code("synthgap app path/to/runs", language="bash")


def view_or_notice(run: Run) -> ReportView | None:
    """Read the run's report for a page, or show why there is none and how to make it.

    Returns:
        The view of the report, or None after a notice was shown.
    """
    try:
        view = ReportView(load_report(run))
    except FileNotFoundError:
        _no_report(run)
        return None
    except DiagnosticError as error:
        st.error(f"**The report of this run cannot be read.** {escape(str(error))}")
        if run.has_students:
            st.markdown("Make it anew from the trained students; the weights are not touched:")
        how_to_make(run)
        return None
    if run.state == "going":
        st.info(
            "This run has not finished: the numbers are those of the last diagnosis, and students may be missing.",
            icon=":material/hourglass:",
        )
    return view


def missing(what: str, run: Run, error: Exception | None = None) -> None:
    """Say that one part of the evidence is missing, and the command that makes it.

    Args:
        what: a whole sentence of ours, already safe for markdown.
        run: the run.
        error: what the reader said.
    """
    st.info(f"{what} {escape(str(error)) if error else ''}", icon=":material/info:")
    how_to_make(run)


def how_to_make(run: Run) -> None:
    """Return the command that diagnoses a run; where its trained students are elsewhere, say so instead of a command that would fail."""
    if not run.has_students:
        st.caption("It cannot be made here, since the trained students are not in this folder. Where the whole run is:")
    st.code(run.diagnose_command if run.has_students else "synthgap diagnose RUN", language="bash")


def failed_probes(view: ReportView, probe: str, run: Run) -> None:
    """List the encoders for which a probe failed, with its error as text.

    Args:
        view: the report, with what pages read from it.
        probe: name of the probe.
        run: the run.
    """
    failed = [record for record in view.report.probes if record.probe == probe and record.status == "failed"]
    for error in dict.fromkeys(record.error for record in failed):
        names = joined(escape(record.subject) for record in failed if record.error == error)
        st.warning(f"The measurement of {names} failed: {escape(error)}", icon=":material/warning:")
    if failed and len(failed) < sum(record.probe == probe for record in view.report.probes):  # else the page asks for it anyway
        how_to_make(run)


def measured_or_notice(view: ReportView, probe: str, run: Run, absent: str) -> dict[str, ProbeRecord]:
    """Return the records of a probe that has run; say for whom it failed, and what is missing where it has run for nobody.

    Args:
        view: the report, with what pages read from it.
        probe: name of the probe.
        run: the run.
        absent: what to say where there is no record: a whole sentence of ours.
    """
    failed_probes(view, probe, run)
    records = view.finished(probe)
    if not records:
        missing(absent, run)
    return records


def _no_report(run: Run) -> None:
    if run.state != "going":
        st.info(
            "This run holds no report yet." if run.state == "done" else "This run has not trained anything yet.", icon=":material/info:"
        )
        st.code(run.diagnose_command if run.state == "done" else run.resume_command, language="bash")
        return
    st.subheader("This run is still going")
    _progress(run)
    st.markdown(
        "Verdict and evidence appear on these pages once the run is diagnosed. If it was interrupted, go on where it stopped, here or on page Run:"
    )
    st.code(run.resume_command, language="bash")
    st.markdown("Or judge what is there:")
    st.code(run.diagnose_command, language="bash")


@st.fragment(run_every="10s")
def _progress(run: Run) -> None:
    """Show the newest lines of `metrics.jsonl`; reads them again every ten seconds."""
    progress = load_progress(run)
    if not progress:
        st.markdown("No epoch has been finished yet.")
        return
    parts = [f"{escape(student)} has finished epoch {format_number(rows[-1].get('epoch', 0), 0)}" for student, rows in progress.items()]
    st.markdown(
        f"{joined(parts)}. The curves show zero-shot accuracy (share of images whose class is found) so far; read anew every ten seconds."
    )
    show_curves(run)
