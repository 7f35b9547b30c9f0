"""Say in words what is on an image of the pocket world, and name its four zero-shot tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from distill.packs.pocket.world import DIGITS, GROUNDS, INKS, PARITIES

_TILT_WORDS = {"left": "left-leaning", "upright": "", "right": "right-leaning"}

TASKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "digit": (DIGITS, ("a photo of a {}", "a {}", "a {} on a photo", "the digit {}")),
    "ink": (tuple(INKS), ("a photo of a {} digit", "a {} digit", "a digit in {} ink", "{} ink")),
    "ground": (tuple(GROUNDS), ("a photo of a digit on {}", "a digit on {}", "a number on {}", "{}")),
    "parity": (PARITIES, ("a photo of an {} digit", "an {} digit", "an {} number", "an {} digit on a photo")),
}
"""Task -> (class names, templates). Templates are `str.format` strings with one place."""


def caption(scene: pd.Series | dict[str, object], rng: np.random.Generator) -> str:
    """Describe a scene: digit, ink and ground always; size and tilt with probability 0.7, place with 0.4.

    Args:
        scene: a row of `draw_scenes`.
        rng: decides which words are said.

    Example:
        >>> scene = {"digit": "seven", "ink": "red", "ground": "brick", "size": "small", "tilt": "left", "place": "top left"}
        >>> caption(scene, np.random.default_rng(0))
        'a small left-leaning red seven on brick at the top left'
    """
    size, tilt, place = rng.random(3)
    words = [str(scene["size"]) if size < 0.7 else "", _TILT_WORDS[str(scene["tilt"])] if tilt < 0.7 else ""]
    words += [str(scene["ink"]), str(scene["digit"]), "on", str(scene["ground"])]
    words += ["at the", str(scene["place"])] if place < 0.4 else []
    text = " ".join(word for word in words if word)
    return f"{'an' if text[0] in 'aeio' else 'a'} {text}"


def captions(scenes: pd.DataFrame, seed: int) -> list[str]:
    """Describe each of N scenes; the same arguments give the same captions.

    Args:
        scenes: N rows of `draw_scenes`.
        seed: of the words that are said.
    """
    rng = np.random.default_rng([seed, len(scenes), 2])
    return [caption(scene, rng) for scene in scenes.to_dict("records")]


def vocabulary_corpus() -> list[str]:
    """List texts that hold every word of the captions and prompts; the tokenizer is trained on them."""
    prompts = [template.format(name) for names, templates in TASKS.values() for name in names for template in templates]
    rest = [
        "a small medium large left-leaning right-leaning upright tilted digit",
        "at the top left",
        "at the bottom right",
        "a photo of the digit",
    ]
    return prompts + rest
