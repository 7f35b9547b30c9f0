"""The edits of `interventions` in plain words: what each does to an image, and what its answer means."""

from __future__ import annotations

from dataclasses import dataclass

from probes.edits import EDITS, FAMILIES, PARTNERS


@dataclass(frozen=True)
class Kind:
    """One kind of edits.

    Args:
        label: what the reader picks.
        does: what is done to the image, one sentence.
        means: what follows from the answer, one sentence.
        score: score that says it, before the edit's name.
        axis: what a number of the matrix is.
    """

    label: str
    does: str
    means: str
    score: str
    axis: str


KINDS = {
    "swapped": Kind(
        "Exchanged with another class",
        "The image keeps its object and gets the cue of an image of **another class**.",
        "Who reads the class from the cue now names that other class. A network that is merely disturbed names it no more often than any "
        "other wrong class, so this is the cleanest proof that a cue is used.",
        "reliance",
        "points by which it goes over to the other class, beyond its teacher and beyond real images",
    ),
    "removes": Kind(
        "Taken away",
        "The cue is **taken away**, the rest stays.",
        "Who relied on the cue gets more images wrong. A blunt test: any change does some harm, which is why the teacher is shown the same.",
        "reliance",
        "points of accuracy it loses, beyond its teacher and beyond real images",
    ),
    "isolates": Kind(
        "Left alone",
        "**Little but the cue** is left.",
        "Who still names the class has learnt to read it from the cue.",
        "reliance",
        "points by which it is still right more often, beyond its teacher and beyond real images",
    ),
    "matched": Kind(
        "Given to real images",
        "A real image gets the cue of a **synthetic image of its own class**.",
        "Who misses the cue on real images now gets them right. This says what the cue costs: the share of the gap that closes.",
        "gap_closed",
        "share of the gap between synthetic and real images that closes, in per cent",
    ),
}
"""Kind of `probes.edits` -> how to read it, the cleanest first."""


def kind_of(edit: str) -> str:
    """Return the kind of an edit; one of another version counts as `removes`."""
    return EDITS[edit].kind if edit in EDITS else "removes"


def family_word(edit: str) -> str:
    """Return one or two words for what kind of cue an edit tells about."""
    return FAMILIES[EDITS[edit].family].short if edit in EDITS else "unknown"


def edit_name(edit: str) -> str:
    """Return a short name of an edit: `hue`, `chroma`, `patch shuffle 4`."""
    return edit.removeprefix("swapped_").removeprefix("matched_").replace("_", " ")


def edit_words(edit: str) -> str:
    """Return what an edit does, e.g. `the colours, place by place, taken from an image of another class`; one of another version by its name."""
    if edit in EDITS:
        return EDITS[edit].does
    partner = next((partner for kind, partner in PARTNERS.items() if edit.startswith(f"{kind}_")), None)
    return edit_name(edit) if partner is None else f"{edit_name(edit)}, taken from {partner}"
