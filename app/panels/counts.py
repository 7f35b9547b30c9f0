"""How many images a measure is of, in words."""

from __future__ import annotations

from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import count_words


def counts_sentence(view: ReportView, probe: str) -> str:
    """Say how many images and folds are behind a probe's numbers.

    Args:
        view: the report, with what pages read from it.
        probe: name of the probe.
    """
    counts = next((record.counts for record in view.records(probe).values() if record.counts), {})
    return f"Behind each number: {escape(count_words(counts))}." if counts else ""
