"""What an edit and an exchange are: how they change an image, which family of cues they tell about, and their words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Kind = Literal["removes", "isolates", "matched", "swapped"]
"""What the answer to an edit means:

`removes`: the cue is taken away, the rest stays; an encoder that relied on it loses accuracy.
`isolates`: little but the cue stays; an encoder that still knows the class has learnt it.
`matched`: real images get the cue of a synthetic image of their class; an encoder that misses the synthetic cue on real images gains.
`swapped`: the cue comes from an image of another class and the same domain; an encoder that relies on it names that other class.
"""

PARTNERS: dict[Kind, str] = {"matched": "a synthetic image of its own class", "swapped": "an image of another class"}
"""Kind of the edits that an exchange makes -> the partner that the cue comes from."""


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
        does: what the image becomes, for the dashboard (`slightly blurred`).
        short: what goes over from a partner, as the object of a sentence in the report (`the noise`); empty for edits without a partner,
            which a report calls by their names.
        masked: whether it needs masks of the objects.
    """

    kind: Kind
    family: str
    apply: Callable[[Material], Tensor]
    does: str
    short: str = ""
    masked: bool = False

    @property
    def partnered(self) -> bool:
        """Whether it takes something from another image."""
        return self.kind in PARTNERS


@dataclass(frozen=True)
class Exchange:
    """What can be taken from a partner; each exchange makes the edits `matched_<name>` and `swapped_<name>`.

    Args:
        family: key in `FAMILIES`.
        apply: images in [0, 1] from images and partners in [0, 1], of the same shape; pure.
        short: what goes over, as the object of a sentence in the report (`the coarse colours`).
        does: what goes over, for the dashboard (`the coarse colours, place by place; the brightness stays`).
        masked: whether it needs masks of the objects.
    """

    family: str
    apply: Callable[[Material], Tensor]
    short: str
    does: str
    masked: bool = False

    def edits(self, name: str) -> dict[str, Edit]:
        """Return the edits that this exchange makes under a name, by their own names."""
        return {
            f"{kind}_{name}": Edit(kind, self.family, self.apply, f"{self.does}, taken from {partner}", self.short, self.masked)
            for kind, partner in PARTNERS.items()
        }
