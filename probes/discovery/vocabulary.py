"""Words that a cue may be called by: a built-in English list by kind, or a user's file."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 16 * 2**20
"""Largest file of words."""

BUILT_IN: dict[str, tuple[str, ...]] = {
    "colour": (
        "black", "white", "grey", "red", "orange", "yellow", "green", "cyan", "turquoise", "blue", "purple", "pink", "brown", "beige", "gold",
        "silver", "colourful", "pale", "monochrome", "sepia", "saturated", "pastel",
    ),
    "background": (
        "grass", "gravel", "sand", "snow", "ice", "water", "sea", "beach", "sky", "clouds", "stars", "moon", "night", "sunset", "forest",
        "trees", "leaves", "flower", "garden", "mountain", "desert", "road", "street", "city", "building", "wall", "window", "room", "floor",
        "carpet", "table", "kitchen", "studio", "fence", "field", "rock", "mud", "fog", "rain", "plain background", "indoors", "outdoors",
    ),
    "texture": (
        "brick", "wood", "stone", "metal", "glass", "plastic", "paper", "cloth", "leather", "fur", "feathers", "hair", "skin", "tissue",
        "rust", "marble", "concrete", "smooth", "rough", "shiny", "striped", "dotted", "checkered", "wavy", "grid", "mesh", "scaly", "glossy",
    ),
    "style": (
        "photograph", "painting", "drawing", "sketch", "cartoon", "illustration", "3d render", "digital art", "watercolour", "collage",
        "logo", "toy", "sculpture", "poster", "stock photo", "close-up", "portrait", "aerial view", "silhouette",
    ),
    "defect": (
        "blurry", "sharp", "noisy", "grainy", "pixelated", "compressed", "distorted", "deformed", "cropped", "low contrast", "high contrast",
        "overexposed", "underexposed", "bright", "dark", "watermark", "text", "border", "frame", "vignette", "lens flare", "motion blur",
        "reflection", "shadow",
    ),
    "attribute": (
        "small", "large", "thin", "thick", "round", "square", "tilted", "left-leaning", "right-leaning", "upright", "upside down", "centered",
        "off-centre", "top left", "top right", "bottom left", "bottom right", "far away", "empty", "crowded", "old", "new", "dirty", "clean",
        "wet", "moving", "hand", "person", "people", "face", "animal", "vehicle",
    ),
}  # fmt: skip
"""Kind -> words; what a spurious cue of pictures has been called in the literature, and what the eye checks first."""

CONTEXTS: dict[str, tuple[str, str]] = {
    "colour": ("a photo of a {word} {name}", "a {word} {name}"),
    "background": ("a photo of a {name} on {word}", "a {name} on {word}"),
    "texture": ("a photo of a {name} on {word}", "a {name} on {word}"),
    "style": ("a {word} of a {name}", "{word} of a {name}"),
    "defect": ("a {word} photo of a {name}", "a {word} {name}"),
    "attribute": ("a photo of a {word} {name}", "a {word} {name}"),
}
"""Kind -> two captions of a class with a word of the kind; other kinds are put as attributes."""

PLAIN = ("a photo of a {name}", "a {name}")
"""The two captions without the word."""

FAMILY_OF_KIND = {"colour": "colour", "background": "border", "texture": "texture", "defect": "codec"}
"""Kind of word -> family of cues that `probes.edits` can take away or exchange; other kinds have none."""


def read_vocabulary(path: Path | str) -> dict[str, tuple[str, ...]]:
    """Read words, one a line; a line `# kind` starts a kind, empty lines are passed over.

    Args:
        path: text file in UTF-8.

    Returns:
        Kind -> words in their order, `given` for words before the first kind.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file without words, or one that is no text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`vocabulary` must be a text file that exists, got {path}; write one word or phrase a line.")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"`vocabulary` must have at most {MAX_BYTES >> 20} MiB, got {size >> 20} in {path}; leave out rare words.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"`vocabulary` must be text in UTF-8, got {path} ({error}); save it as plain text.") from error
    kinds: dict[str, list[str]] = {}
    kind = "given"
    for line in (one.strip() for one in lines):
        if line.startswith("#"):
            kind = line.lstrip("# ").strip().lower() or "given"
        elif line:
            kinds.setdefault(kind, []).append(line)
    if not kinds:
        raise ValueError(f"`vocabulary` must hold at least one word, got none in {path}; write one word or phrase a line.")
    return {name: tuple(dict.fromkeys(words)) for name, words in kinds.items()}
