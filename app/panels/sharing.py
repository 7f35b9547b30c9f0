"""Take the report away: as the one HTML file that the diagnosis wrote, and as PDF."""

from __future__ import annotations

import streamlit as st

from app.panels.report_view import ReportView
from app.run_store.reports import Run, inside
from diagnose.schema import Report

MAX_PAGE_BYTES = 64 * 2**20


def show_sharing(view: ReportView, run: Run) -> None:
    """Offer the report as files; nothing is made before it is asked for.

    Args:
        view: the report, with what pages read from it.
        run: the run.
    """
    st.header("Share it")
    st.markdown("Both files hold the verdict, the figures and every number with its interval, and can be read without this dashboard.")
    with st.container(horizontal=True, gap="small"):
        page = inside(run, "report.html")
        if page.is_file() and page.stat().st_size <= MAX_PAGE_BYTES:
            st.download_button(
                "One HTML file", page.read_bytes, f"{run.name}.html", "text/html", icon=":material/download:", key="share-html"
            )
        st.download_button(
            "PDF",
            lambda: paper(view.report),
            f"{run.name}.pdf",
            "application/pdf",
            icon=":material/download:",
            key="share-pdf",
            on_click="ignore",
        )


def paper(report: Report) -> bytes:
    """Make the PDF; its library is imported only now."""
    from diagnose.report.pdf import pdf

    return pdf(report)
