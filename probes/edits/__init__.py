"""Every edit and every exchange by its name: what it does to an image, which family of cues it tells about, and its words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from probes.edits import colour, compression, patches, regions, scales, spectrum, traces
from probes.edits.edit import PARTNERS, Edit, Exchange, Kind, Material
from probes.edits.families import FAMILIES, Family

__all__ = ["EDITS", "EXCHANGES", "FAMILIES", "PARTNERS", "Edit", "Exchange", "Family", "Kind", "Material"]


def _unpaired(kind: Kind, family: str, edit: Callable[..., Any], does: str, *, drawn: bool = False, **settings: Any) -> Edit:
    """Return an edit that needs no partner; `drawn` for one that takes a seed for each image."""
    if drawn:
        return Edit(kind, family, lambda material: edit(material.images, material.keys, **settings), does)
    return Edit(kind, family, lambda material: edit(material.images, **settings), does)


def _paired(
    family: str, exchange: Callable[..., Any], short: str, does: str, *, drawn: bool = False, masked: bool = False, **settings: Any
) -> Exchange:
    """Return an exchange of images with partners; `drawn` for one that takes a seed for each image, `masked` for one that takes both masks."""

    def apply(material: Material) -> Any:
        further = [material.keys] if drawn else [material.mask, material.partner_mask] if masked else []
        return exchange(material.images, material.partner, *further, **settings)

    return Exchange(family, apply, short, does, masked)


def _window(name: str) -> Exchange:
    words = name.replace("_", " ")
    return _paired("mark", regions.exchange_window, f"the {words} quarter", f"a quarter of the image, {words}", name=name)


EXCHANGES: dict[str, Exchange] = {
    "channel_statistics": _paired(
        "colour", colour.exchange_channel_statistics, "the mean and spread of the colours", "mean and coarse spread of each colour"
    ),
    "chroma": _paired("colour", colour.exchange_chroma, "the coarse colours", "the coarse colours, place by place; the brightness stays"),
    "tones": _paired(
        "colour", colour.exchange_tones, "the tones", "how light and dark are spread over the scale (contrast, gamma), shades kept in order"
    ),
    "palette": _paired("colour", colour.exchange_palette, "all tones and colours", "all tones and colours, place by place"),
    "border": _paired("border", regions.exchange_border, "the border", "the border"),
    "detail": _paired("texture", scales.exchange_detail, "the fine detail", "the fine detail"),
    "layout": _paired("shape", scales.exchange_layout, "the coarse layout", "the coarse layout of light and dark, place by place"),
    "amplitude": _paired("spectrum", spectrum.exchange_amplitude, "the amplitudes of all frequencies", "the strengths of all frequencies"),
    "peaks": _paired("frequency", spectrum.exchange_peaks, "the repeating pattern", "the repeating patterns"),
    "sharpness": _paired("codec", spectrum.exchange_sharpness, "the sharpness", "the sharpness"),
    "noise": _paired("codec", traces.exchange_noise, "the noise", "the noise, put in another order", drawn=True),
    "traces": _paired("codec", traces.exchange_traces, "the sharpness and noise", "all of the noise and sharpness", drawn=True),
    "compression": _paired(
        "codec", compression.exchange_compression, "the JPEG compression", "the JPEG compression, where the other image shows one"
    ),
    "background": _paired(
        "border", regions.exchange_background, "the background", "the background, by the masks of the objects", masked=True
    ),
    **{f"window_{name}": _window(name) for name in regions.WINDOWS},
}
"""What can be taken from a partner, by name; each exchange makes the edits `matched_<name>` and `swapped_<name>`."""

EDITS: dict[str, Edit] = {
    "grey": _unpaired("removes", "colour", colour.grey, "colours removed: a grey picture"),
    "saturation": _unpaired("removes", "colour", colour.saturation, "colours made paler"),
    "hue": _unpaired("removes", "colour", colour.hue, "every hue turned to its opposite, the brightness kept"),
    "level_colour": _unpaired("removes", "colour", colour.level_colour, "the same mean and spread of every colour in all images"),
    "centre_only": _unpaired("removes", "border", regions.centre_only, "the border painted over, the centre left"),
    "hide_corners": _unpaired("removes", "border", regions.hide_corners, "the four corners painted over"),
    "low_pass": _unpaired("removes", "texture", scales.low_pass, "fine detail removed, coarse shapes left"),
    "notch": _unpaired("removes", "frequency", spectrum.notch, "repeating patterns removed"),
    "blur": _unpaired("removes", "codec", scales.blur, "slightly blurred"),
    "sharpen": _unpaired("removes", "codec", scales.sharpen, "sharpened"),
    "noise": _unpaired("removes", "codec", traces.noise, "a little noise added", drawn=True),
    "jpeg": _unpaired("removes", "codec", traces.jpeg, "stored as a coarse JPEG and read again"),
    "border_only": _unpaired("isolates", "border", regions.border_only, "the centre painted over, only the border left"),
    "high_pass": _unpaired("isolates", "texture", scales.high_pass, "only fine detail left, coarse shapes removed"),
    "patch_shuffle_2": _unpaired("isolates", "local", patches.patch_shuffle, "cut into 2 x 2 pieces and shuffled", drawn=True, grid=2),
    "patch_shuffle_4": _unpaired("isolates", "local", patches.patch_shuffle, "cut into 4 x 4 pieces and shuffled", drawn=True, grid=4),
    "patch_shuffle_8": _unpaired("isolates", "local", patches.patch_shuffle, "cut into 8 x 8 pieces and shuffled", drawn=True, grid=8),
    "grey_patch_shuffle_4": Edit(
        "isolates",
        "texture",
        lambda material: patches.patch_shuffle(colour.grey(material.images), material.keys, grid=4),
        "grey, cut into 4 x 4 pieces and shuffled",
    ),
}
"""Every edit by its name, those of the exchanges included: first all `matched_`, then all `swapped_`."""

for _kind in PARTNERS:
    for _name, _exchange in EXCHANGES.items():
        EDITS[f"{_kind}_{_name}"] = _exchange.edits(_name)[f"{_kind}_{_name}"]
