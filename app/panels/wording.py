"""Write names and numbers for people: outside strings as data (never markup), estimates with their interval and n."""

from __future__ import annotations

import re

from diagnose.schema import Estimate
from diagnose.wording.numbers import format_number, in_percent

WORD_JOINER = "\u2060"
NO_BREAK = "\u00a0"

LOSS_WORDS = {
    "l2": ("L2 to the teacher", "copies the teacher's embedding of the same image"),
    "squared_l2": ("squared L2 to the teacher", "copies the teacher's embedding of the same image"),
    "image_text_contrastive": ("image-text contrastive", "pulls each image to the text of its class, away from other texts"),
    "image_image_contrastive": (
        "image-image contrastive",
        "pulls each image to the teacher's embedding of it, away from other images; uses no text",
    ),
}
LOSS_WORDS |= {"image_text": LOSS_WORDS["image_text_contrastive"], "image_image": LOSS_WORDS["image_image_contrastive"]}
"""Loss -> short name, and what it teaches, in words; both as the registry names it and as our configs do."""

DOMAIN_WORDS = {"real": "real images", "synthetic": "synthetic images"}

VERDICT_WORDS = {
    "pass": ("No problem seen", ":material/check_circle:", "green"),
    "warn": ("Take care", ":material/warning:", "orange"),
    "fail": ("Problem found", ":material/error:", "red"),
    "inconclusive": ("Not decided", ":material/help:", "gray"),
}
"""Verdict of a finding -> words, icon and badge colour; the words carry the meaning, the colour repeats it."""

STATUS_WORDS = {
    "ruled out": "no, ruled out",
    "not ruled out": "maybe, not ruled out",
    "untested": "unknown, not tested",
    "supported": "yes, supported",
}
"""Status of another explanation -> the answer to "is it that?"."""


def escape(text: str) -> str:
    r"""Escape an outside string for Streamlit's markdown, so that it shows as it is and never as markup.

    Backslashes disarm the syntax; invisible word joiners stop what is replaced after parsing (`:emoji:`, bare links).

    Example:
        >>> escape("*x* <b>")
        '\\*x\\* \\<b\\>'
    """
    text = re.sub(r"\s+", " ", str(text)).strip()
    text = re.sub(r"(?<=\d) (?=%)", NO_BREAK, text)  # a number and its sign stay on one line
    text = re.sub(r"""[!-/:-@\[-`{-~]""", lambda match: "\\" + match.group(), text)
    text = re.sub(r"(?i)www(?=\\\.)", "www" + WORD_JOINER, text)
    return re.sub(r"(\\[:@])(?=\S)", r"\1" + WORD_JOINER, text)


def loss_name(loss: str | None) -> str:
    """Name a loss for people; an unknown one keeps its own name without underscores."""
    if loss is None:
        return "no loss given"
    return LOSS_WORDS[loss][0] if loss in LOSS_WORDS else loss.replace("_", " ")


def number(value: float, unit: str) -> str:
    """Write one number in its unit: shares and accuracies as percent, differences as points, others with three digits.

    Args:
        value: for `share` and `points` a fraction of 1 (0.43 is 43 % or 43 points).
        unit: `points`, `share`, `AUC`, `cosine` or `none`.
    """
    if unit == "share":
        return f"{in_percent(value)} %"
    if unit == "points":
        return f"{in_percent(value)} points"
    return format_number(value, 3)


def estimate(value: Estimate, unit: str) -> str:
    """Write an estimate with its interval and n, e.g. `43.3 % (95 % interval 41.9 to 44.7; n = 5,000 images)`.

    Args:
        value: the estimate.
        unit: `points`, `share`, `AUC`, `cosine` or `none`.
    """
    low, high = (in_percent(end) if unit in ("share", "points") else format_number(end, 3) for end in (value.low, value.high))
    over, what = (" over seeds and images", "seeds") if value.over == "seeds and images" else ("", value.over)
    return f"{number(value.value, unit)} (95 % interval{over} {low} to {high}; n = {value.n:,} {what})"
