"""How many images a measure is of, in words."""

from __future__ import annotations

from app.panels.wording import plain
from app.run_store.reports import count_words, records
from diagnose.schema import Report


def counts_sentence(report: Report, probe: str) -> str:
    """Say how many images and folds are behind a probe's numbers."""
    counts = next((record.counts for record in records(report, probe).values() if record.counts), {})
    return f"Behind each number: {plain(count_words(counts))}." if counts else ""
