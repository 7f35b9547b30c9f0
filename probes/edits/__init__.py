"""Every edit of an image by its name: what it does to the image, and which family of cues it tells about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from probes.edits import colour, compression, patches, regions, scales, spectrum, traces

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Kind = Literal["removes", "isolates", "matched", "swapped"]
"""What the answer to an edit means:

`removes`: the cue is taken away, the rest stays; who relied on it loses.
`isolates`: little but the cue stays; who still knows the class has learnt it.
`matched`: real images get the cue of a synthetic image of their class; who misses the synthetic cue on real images gains.
`swapped`: the cue comes from an image of another class and the same domain; who relies on it says that other class.
"""

FAMILIES: dict[str, str] = {
    "colour": "colour, brightness or contrast",
    "texture": "local texture",
    "shape": "coarse layout",
    "frequency": "repeating patterns",
    "codec": "sharpness, noise or compression",
    "border": "border or background",
    "mark": "something at one place of the image",
    "local": "local cues of colour or texture, wherever they are",
    "spectrum": "amplitudes of the spectrum: texture, repeating patterns or sharpness",
}
"""Family of cues -> what to call it in a sentence. The first five say what a cue is made of, and their exchanges leave each other alone;
`border` and `mark` say where it is; the last two hold several of the first."""


PLACES = ("border", "mark")
"""Families that say where a cue is, whatever it is made of."""


@dataclass(frozen=True, eq=False)
class Material:
    """What an edit may use for B images.

    Args:
        images: (B, 3, H, W) in [0, 1].
        keys: (B,) int, one seed for each image.
        partner: (B, 3, H, W) in [0, 1], or None for edits that need none.
        mask: (B, 1, H, W) bool, true on the object, or None.
        partner_mask: the same for the partners.
    """

    images: Tensor
    keys: np.ndarray
    partner: Tensor | None = None
    mask: Tensor | None = None
    partner_mask: Tensor | None = None


@dataclass(frozen=True)
class Edit:
    """One edit.

    Args:
        kind: how to read the answer.
        family: key in `FAMILIES`; for `isolates` the cue that stays, else the cue that goes.
        apply: images in [0, 1] from images in [0, 1], of the same shape; pure.
        masked: whether it needs masks of the objects.
    """

    kind: Kind
    family: str
    apply: Callable[[Material], Tensor]
    masked: bool = False

    @property
    def partnered(self) -> bool:
        """Whether it takes something from another image."""
        return self.kind in ("matched", "swapped")


def _alone(kind: Kind, family: str, edit: Callable[..., Any], *, drawn: bool = False, **named: Any) -> Edit:
    if drawn:
        return Edit(kind, family, lambda material: edit(material.images, material.keys, **named))
    return Edit(kind, family, lambda material: edit(material.images, **named))


EXCHANGES: dict[str, tuple[str, Callable[[Material], Any]]] = {
    "channel_statistics": ("colour", lambda material: colour.exchange_channel_statistics(material.images, material.partner)),
    "chroma": ("colour", lambda material: colour.exchange_chroma(material.images, material.partner)),
    "tones": ("colour", lambda material: colour.exchange_tones(material.images, material.partner)),
    "palette": ("colour", lambda material: colour.exchange_palette(material.images, material.partner)),
    "border": ("border", lambda material: regions.exchange_border(material.images, material.partner)),
    "detail": ("texture", lambda material: scales.exchange_detail(material.images, material.partner)),
    "layout": ("shape", lambda material: scales.exchange_layout(material.images, material.partner)),
    "amplitude": ("spectrum", lambda material: spectrum.exchange_amplitude(material.images, material.partner)),
    "peaks": ("frequency", lambda material: spectrum.exchange_peaks(material.images, material.partner)),
    "sharpness": ("codec", lambda material: spectrum.exchange_sharpness(material.images, material.partner)),
    "noise": ("codec", lambda material: traces.exchange_noise(material.images, material.partner, material.keys)),
    "traces": ("codec", lambda material: traces.exchange_traces(material.images, material.partner, material.keys)),
    "compression": ("codec", lambda material: compression.exchange_compression(material.images, material.partner)),
    "background": (
        "border",
        lambda material: regions.exchange_background(material.images, material.partner, material.mask, material.partner_mask),
    ),
}
"""What can be taken from a partner -> its family and the exchange; each makes the edits `matched_<name>` and `swapped_<name>`."""

for _name in regions.WINDOWS:
    EXCHANGES[f"window_{_name}"] = (
        "mark",
        lambda material, name=_name: regions.exchange_window(material.images, material.partner, name),  # type: ignore[misc]
    )

MASKED = frozenset({"background"})
"""Exchanges that need masks."""

EDITS: dict[str, Edit] = {
    "grey": _alone("removes", "colour", colour.grey),
    "saturation": _alone("removes", "colour", colour.saturation),
    "hue": _alone("removes", "colour", colour.hue),
    "level_colour": _alone("removes", "colour", colour.level_colour),
    "centre_only": _alone("removes", "border", regions.centre_only),
    "hide_corners": _alone("removes", "border", regions.hide_corners),
    "low_pass": _alone("removes", "texture", scales.low_pass),
    "notch": _alone("removes", "frequency", spectrum.notch),
    "blur": _alone("removes", "codec", scales.blur),
    "sharpen": _alone("removes", "codec", scales.sharpen),
    "noise": _alone("removes", "codec", traces.noise, drawn=True),
    "jpeg": _alone("removes", "codec", traces.jpeg),
    "border_only": _alone("isolates", "border", regions.border_only),
    "high_pass": _alone("isolates", "texture", scales.high_pass),
    "patch_shuffle_2": _alone("isolates", "local", patches.patch_shuffle, drawn=True, grid=2),
    "patch_shuffle_4": _alone("isolates", "local", patches.patch_shuffle, drawn=True, grid=4),
    "patch_shuffle_8": _alone("isolates", "local", patches.patch_shuffle, drawn=True, grid=8),
    "grey_patch_shuffle_4": Edit(
        "isolates", "texture", lambda material: patches.patch_shuffle(colour.grey(material.images), material.keys, grid=4)
    ),
}
"""Edit by name; `edits()` in the probe adds those that need masks only where masks are given."""

for _kind in ("matched", "swapped"):
    for _name, (_family, _exchange) in EXCHANGES.items():
        EDITS[f"{_kind}_{_name}"] = Edit(_kind, _family, _exchange, masked=_name in MASKED)  # type: ignore[arg-type]
