"""The edits of `interventions` in plain words: what each does to an image, and what its answer means."""

from __future__ import annotations

from dataclasses import dataclass

from probes.edits import EDITS


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

WORDS = {
    "grey": "colours removed: a grey picture",
    "saturation": "colours made paler",
    "hue": "every hue turned to its opposite, the brightness kept",
    "level_colour": "the same mean and spread of every colour in all images",
    "centre_only": "the border painted over, the centre left",
    "hide_corners": "the four corners painted over",
    "low_pass": "fine detail removed, coarse shapes left",
    "notch": "repeating patterns removed",
    "blur": "slightly blurred",
    "sharpen": "sharpened",
    "noise": "a little noise added",
    "jpeg": "stored as a coarse JPEG and read again",
    "border_only": "the centre painted over, only the border left",
    "high_pass": "only fine detail left, coarse shapes removed",
    "patch_shuffle_2": "cut into 2 x 2 pieces and shuffled",
    "patch_shuffle_4": "cut into 4 x 4 pieces and shuffled",
    "patch_shuffle_8": "cut into 8 x 8 pieces and shuffled",
    "grey_patch_shuffle_4": "grey, cut into 4 x 4 pieces and shuffled",
}
EXCHANGED = {
    "channel_statistics": "mean and coarse spread of each colour",
    "chroma": "the coarse colours, place by place; the brightness stays",
    "border": "the border",
    "detail": "the fine detail",
    "layout": "the coarse layout of light and dark, place by place",
    "amplitude": "the strengths of all frequencies",
    "peaks": "the repeating patterns",
    "sharpness": "the sharpness",
    "tones": "how light and dark are spread over the scale (contrast, gamma), shades kept in order",
    "palette": "all tones and colours, place by place",
    "noise": "the noise, put in another order",
    "traces": "all of the noise and sharpness",
    "compression": "the JPEG compression, where the other image shows one",
    "background": "the background, by the masks of the objects",
}


EXCHANGED |= {
    f"window_{name}": f"a quarter of the image, {name.replace('_', ' ')}"
    for name in ("top_left", "top", "top_right", "left", "middle", "right", "bottom_left", "bottom", "bottom_right")
}

SHORT = {
    "colour": "colour",
    "texture": "fine texture",
    "shape": "layout",
    "frequency": "patterns",
    "codec": "sharpness, noise",
    "border": "border",
    "mark": "one place",
    "local": "local cues",
    "spectrum": "spectrum",
}
"""Family of cues -> a word for a narrow place."""


def kind_of(edit: str) -> str:
    """Return the kind of an edit; one of another version counts as `removes`."""
    return EDITS[edit].kind if edit in EDITS else "removes"


def family_word(edit: str) -> str:
    """Say in one or two words what kind of cue an edit tells about."""
    return SHORT.get(EDITS[edit].family, EDITS[edit].family) if edit in EDITS else "unknown"


def edit_name(edit: str) -> str:
    """Name an edit shortly: `hue`, `chroma`, `patch shuffle 4`."""
    return edit.removeprefix("swapped_").removeprefix("matched_").replace("_", " ")


def edit_words(edit: str) -> str:
    """Say what an edit does, e.g. `the colours, place by place, from an image of another class`."""
    for kind, whose in (("swapped_", "an image of another class"), ("matched_", "a synthetic image of its own class")):
        if edit.startswith(kind):
            what = EXCHANGED.get(edit.removeprefix(kind), edit_name(edit))
            return f"{what}, taken from {whose}"
    return WORDS.get(edit, edit_name(edit))
