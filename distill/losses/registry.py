"""Every loss under one name: what it needs, what it pulls to, and whether it pushes apart."""

from __future__ import annotations

from distill.losses.contract import Loss
from distill.losses.contrastive import image_image_contrastive, image_text_contrastive
from distill.losses.feature import l2, squared_l2

_CONTRAST_TEXT = ("text", "logit_scale")
_CONTRAST_IMAGE = ("teacher", "logit_scale")

LOSSES: dict[str, Loss] = {
    "l2": Loss(lambda b: l2(b.student, b.teacher), "image", False, needs=("teacher",)),
    "squared_l2": Loss(lambda b: squared_l2(b.student, b.teacher), "image", False, needs=("teacher",)),
    "image_text_contrastive": Loss(
        lambda b: image_text_contrastive(b.student, b.text, logit_scale=b.logit_scale),
        "text",
        True,
        soft=False,
        needs=_CONTRAST_TEXT,
        smallest_batch=2,
    ),
    "image_image_contrastive": Loss(
        lambda b: image_image_contrastive(b.student, b.teacher, logit_scale=b.logit_scale),
        "image",
        True,
        soft=False,
        needs=_CONTRAST_IMAGE,
        smallest_batch=2,
    ),
}
