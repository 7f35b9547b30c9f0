"""The colours and markers of every chart: one colour a loss (Okabe-Ito), one marker a domain, grey for the teacher."""

from __future__ import annotations

from collections.abc import Sequence

OKABE_ITO = ("#0072B2", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#F0E442")
NEUTRAL = "#56B4E9"
"""Okabe-Ito's sky blue, kept for numbers that belong to no single student."""

FIXED = {
    "l2": "#009E73",
    "squared_l2": "#009E73",
    "image_text": "#D55E00",
    "image_text_contrastive": "#D55E00",
    "image_image": "#0072B2",
    "image_image_contrastive": "#0072B2",
}
"""Colours of the losses as the registry names them and as our configs do."""
TEACHER = "#8A8A8A"
GUIDE = "rgba(128,128,128,0.45)"
MARKERS = {"real": "circle", "synthetic": "diamond", "": "square"}


def colours(keys: Sequence[str]) -> dict[str, str]:
    """Assign every loss (or student) its colour; known losses keep theirs in every run.

    Args:
        keys: distinct, in the report's order; beyond six, colours repeat.
    """
    assigned: dict[str, str] = {}
    for key in keys:
        if key in FIXED and FIXED[key] not in assigned.values():
            assigned[key] = FIXED[key]
    kept = {colour for name, colour in FIXED.items() if name in keys}
    free = [colour for colour in OKABE_ITO if colour not in kept] or list(OKABE_ITO)
    rest = [key for key in keys if key not in assigned]
    return assigned | {key: free[index % len(free)] for index, key in enumerate(rest)}
