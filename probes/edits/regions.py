"""Edits of regions: hide the border, the centre or the corners, or take the border, a window or the background from another image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from probes.edits.smooth import gaussian

if TYPE_CHECKING:
    from torch import Tensor

FRAME = 3 / 16
"""Width of the border as a share of the shorter side: six pixels of 32."""

CORNER = 1 / 4
"""Side of each hidden corner as a share of the shorter side."""

FILL = 1 / 8
"""Width of the blur that fills the place of a partner's object, as a share of the shorter side."""


WINDOW = 1 / 2
"""Side of a window as a share of each side: with steps of half a window every mark of up to a quarter of the side lies wholly in one."""

WINDOWS: dict[str, tuple[int, int]] = {
    "top_left": (0, 0), "top": (0, 1), "top_right": (0, 2),
    "left": (1, 0), "middle": (1, 1), "right": (1, 2),
    "bottom_left": (2, 0), "bottom": (2, 1), "bottom_right": (2, 2),
}  # fmt: skip
"""Name of a window -> how many half windows from the top and from the left."""


def centre_only(images: Tensor) -> Tensor:
    """Hide the border under the mean colour of the centre; (B, 3, H, W) in [0, 1] to the same."""
    return _fill(images, hidden=_border(images))


def border_only(images: Tensor) -> Tensor:
    """Hide the centre under the mean colour of the border; (B, 3, H, W) in [0, 1] to the same."""
    return _fill(images, hidden=~_border(images))


def hide_corners(images: Tensor) -> Tensor:
    """Hide the four corners under the mean colour of the rest; (B, 3, H, W) in [0, 1] to the same."""
    import torch

    height, width = images.shape[-2:]
    side = max(1, round(CORNER * min(height, width)))
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    outer_rows, outer_columns = (rows < side) | (rows >= height - side), (columns < side) | (columns >= width - side)
    return _fill(images, hidden=outer_rows[:, None] & outer_columns[None, :])


def exchange_border(images: Tensor, partner: Tensor) -> Tensor:
    """Keep an image's centre and take the border from its partner.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    return images.where(~_border(images), partner)


def exchange_window(images: Tensor, partner: Tensor, name: str) -> Tensor:
    """Take one window (a key of `WINDOWS`, half the height and half the width) from a partner.

    Three quarters of the image stay. A cue that is spread over the image stays in the majority; one that lies in the window goes over.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: images of the same shape and range, one for each.
        name: key of `WINDOWS`.

    Returns:
        (B, 3, H, W) in [0, 1].

    Source: ours.
    """
    height, width = images.shape[-2:]
    down, across = WINDOWS[name]
    tall, wide = round(WINDOW * height), round(WINDOW * width)
    top, left = down * (height - tall) // 2, across * (width - wide) // 2
    result = images.clone()
    result[..., top : top + tall, left : left + wide] = partner[..., top : top + tall, left : left + wide]
    return result


def exchange_background(images: Tensor, partner: Tensor, mask: Tensor, partner_mask: Tensor) -> Tensor:
    """Keep an image's object and take the background from its partner, whose own object is filled from around it.

    Args:
        images: (B, 3, H, W) in [0, 1].
        partner: the same shape.
        mask: (B, 1, H, W) bool, true on the object.
        partner_mask: the same for the partner.

    Source: the background challenge, Xiao et al. (2021), with a blur in place of their tiling.
    """
    ground = (~partner_mask).to(partner.dtype)
    sigma = FILL * min(images.shape[-2:])
    around = gaussian(partner * ground, sigma)
    weight = gaussian(ground, sigma)
    mean = (partner * ground).sum(dim=(2, 3), keepdim=True) / ground.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    # Far inside a large object the blur sees no background: there the mean takes over.
    filled = (around + 1e-3 * mean) / (weight + 1e-3)
    return images.where(mask, partner.where(~partner_mask, filled)).clamp(0, 1)


def _border(images: Tensor) -> Tensor:
    """Mark the border, (H, W) bool."""
    import torch

    height, width = images.shape[-2:]
    frame = max(1, round(FRAME * min(height, width)))
    border = torch.ones(height, width, dtype=torch.bool, device=images.device)
    border[frame : height - frame, frame : width - frame] = False
    return border


def _fill(images: Tensor, *, hidden: Tensor) -> Tensor:
    """Put the mean colour of what stays visible in place of the hidden pixels, so that nothing of them leaks."""
    seen = ~hidden
    colour = (images * seen).sum(dim=(2, 3), keepdim=True) / seen.sum()
    return images.where(seen, colour)
