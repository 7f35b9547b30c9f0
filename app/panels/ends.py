"""The images at the ends of a number that every image has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.panels.images import by_id, strip
from app.panels.notices import missing
from app.run_store.reports import Run, load_thumbnails
from probes.result import DiagnosticError

SHOWN = 8
"""Images of each end."""


def show_ends(run: Run, scores: np.ndarray, ids: np.ndarray, domain: np.ndarray, ends: Sequence[tuple[str, bool, str]]) -> None:
    """Put the stored images at the ends of a number on the page.

    Args:
        run: the run.
        scores: (N,) the number.
        ids: (N,) text.
        domain: (N,) text.
        ends: words of ours for the row, whether the highest come first, and of which domain.
    """
    try:
        thumbnails = load_thumbnails(run)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("The pictures are not stored with this run.", run, error)
        return
    order = np.argsort(scores, kind="stable")
    for words, highest, where in ends:
        ranked = order[::-1] if highest else order
        strip(by_id(thumbnails, ids[ranked[domain[ranked] == where]].tolist(), SHOWN), f"{words} (among the stored sample)")
