"""Every loss under one name: what it needs, what it pulls to, and whether it pushes apart."""

from __future__ import annotations

from distill.losses import contrastive, feature, relations, soft_targets, uniformity
from distill.losses.contract import Loss, Option
from distill.losses.gradients import gradient_distillation
from distill.losses.memory import MemoryContrast
from distill.losses.stateful import AugmentedFeature, SigLip
from distill.losses.transport import otter

_POSITIVE = {"low": 1e-3, "high": 1e6}

FEATURE: dict[str, Loss] = {
    "l2": Loss(lambda b: feature.l2(b.student, b.teacher), "image", False, needs=("teacher",)),
    "squared_l2": Loss(lambda b: feature.squared_l2(b.student, b.teacher), "image", False, needs=("teacher",)),
    "mse": Loss(lambda b: feature.mse(b.student, b.teacher), "image", False, needs=("teacher",)),
    "cosine": Loss(lambda b: feature.cosine(b.student, b.teacher), "image", False, needs=("teacher",)),
    "masked_squared_l2": Loss(lambda b: feature.squared_l2(b.masked, b.teacher), "image", False, needs=("teacher", "masked")),
    "vicreg": Loss(
        lambda b, **options: uniformity.vicreg(b.student, b.teacher, **options),
        "image",
        False,
        needs=("teacher",),
        joint=True,
        options={"invariance": Option(25.0, 0), "variance": Option(25.0, 0), "covariance": Option(1.0, 0)},
        smallest_batch=2,
    ),
    "align_uniform": Loss(lambda b: uniformity.align_uniform(b.student, b.teacher), "image", True, needs=("teacher",), smallest_batch=2),
    "align_uniform_heads": Loss(
        None,
        "image",
        True,
        needs=("teacher",),
        build=lambda setting: uniformity.AlignUniformHeads(setting.embed_dim),
        state="learned heads",
        smallest_batch=2,
    ),
    "text_cosine": Loss(lambda b: feature.cosine(b.student, b.text), "text", False, needs=("text",)),
}

CONTRASTIVE: dict[str, Loss] = {
    "image_text_contrastive": Loss(
        lambda b: contrastive.image_text_contrastive(b.student, b.text, logit_scale=b.logit_scale),
        "text",
        True,
        soft=False,
        needs=("text", "logit_scale"),
        smallest_batch=2,
    ),
    "image_image_contrastive": Loss(
        lambda b: contrastive.image_image_contrastive(b.student, b.teacher, logit_scale=b.logit_scale),
        "image",
        True,
        soft=False,
        needs=("teacher", "logit_scale"),
        smallest_batch=2,
    ),
    "icl": Loss(
        lambda b: contrastive.info_nce(b.student, b.text, logit_scale=b.logit_scale),
        "text",
        True,
        soft=False,
        needs=("text", "logit_scale"),
        smallest_batch=2,
    ),
    "siglip": Loss(
        None,
        "text",
        True,
        soft=False,
        needs=("text", "logit_scale"),
        options={"bias": Option(-10.0, -1e3, 1e3)},
        build=lambda setting, bias: SigLip(bias=bias),
        state="learned bias",
        smallest_batch=2,
    ),
    "supcon_text": Loss(
        lambda b: contrastive.supcon_text(b.student, b.text, b.shares, logit_scale=b.logit_scale),
        "text",
        True,
        soft=False,
        needs=("text", "logit_scale", "shares"),
        smallest_batch=2,
    ),
    "supcon_image": Loss(
        lambda b: contrastive.supcon_image(b.student, b.teacher, b.shares, logit_scale=b.logit_scale),
        "image",
        True,
        soft=False,
        needs=("teacher", "logit_scale", "shares"),
        smallest_batch=2,
    ),
    "crd_memory": Loss(
        None,
        "image",
        True,
        soft=False,
        needs=("teacher", "logit_scale", "shares", "rows"),
        options={"negatives": Option(4096, 1, 2**20), "momentum": Option(0.5, 0, 0.999)},
        build=lambda setting, negatives, momentum: MemoryContrast(
            setting.images, setting.embed_dim, negatives=negatives, momentum=momentum
        ),
        state="memory bank",
        smallest_batch=2,
    ),
    "augmented_feature": Loss(
        None,
        "text",
        True,
        soft=False,
        needs=("teacher", "text", "logit_scale"),
        build=lambda setting: AugmentedFeature(setting.embed_dim),
        state="learned fusion",
        smallest_batch=2,
    ),
}

SOFT: dict[str, Loss] = {
    "class_cross_entropy": Loss(
        lambda b: soft_targets.class_cross_entropy(b.student, b.shares, b.class_weights, logit_scale=b.logit_scale),
        "labels",
        True,
        soft=False,
        needs=("shares", "class_weights", "logit_scale"),
        joint=False,
    ),
    "zero_shot_kd": Loss(
        lambda b, temperature: soft_targets.zero_shot_kd(
            b.student, b.teacher, b.class_weights, scale=b.teacher_scale, temperature=temperature, squared=True
        ),
        "scores",
        True,
        soft=True,
        needs=("teacher", "class_weights", "teacher_scale"),
        joint=False,
        options={"temperature": Option(4.0, **_POSITIVE)},
    ),
    "zero_shot_kl": Loss(
        lambda b, temperature: soft_targets.zero_shot_kd(
            b.student, b.teacher, b.class_weights, scale=b.teacher_scale, temperature=temperature, squared=False
        ),
        "scores",
        True,
        soft=True,
        needs=("teacher", "class_weights", "teacher_scale"),
        joint=False,
        options={"temperature": Option(1.0, **_POSITIVE)},
    ),
    "affinity_kl": Loss(
        lambda b: soft_targets.affinity_kl(b.student, b.teacher, b.text, logit_scale=b.logit_scale, teacher_scale=b.teacher_scale),
        "scores",
        True,
        soft=True,
        needs=("teacher", "text", "logit_scale", "teacher_scale"),
        smallest_batch=2,
    ),
    "image_affinity_kl": Loss(
        lambda b: soft_targets.image_affinity_kl(b.student, b.teacher, logit_scale=b.logit_scale),
        "image",
        True,
        soft=True,
        needs=("teacher", "logit_scale"),
        smallest_batch=2,
    ),
    "gradient_distillation": Loss(
        lambda b: gradient_distillation(b.student, b.teacher, b.text, logit_scale=b.logit_scale, teacher_scale=b.teacher_scale),
        "scores",
        True,
        soft=True,
        needs=("teacher", "text", "logit_scale", "teacher_scale"),
        smallest_batch=2,
    ),
    "ema_soft_labels": Loss(
        lambda b: soft_targets.affinity_kl(b.student, b.momentum, b.text, logit_scale=b.logit_scale, teacher_scale=b.logit_scale.detach()),
        "text",
        True,
        soft=True,
        needs=("text", "logit_scale", "momentum"),
        state="moving average of the student",
        smallest_batch=2,
    ),
    "otter": Loss(
        lambda b, **options: otter(b.student, b.momentum, b.text, logit_scale=b.logit_scale, **options),
        "text",
        True,
        soft=True,
        needs=("text", "logit_scale", "momentum"),
        options={
            "epsilon": Option(0.15, **_POSITIVE),
            "iterations": Option(5, 1, 1000),
            "image_weight": Option(1.0, 0),
            "text_weight": Option(1.0, 0),
        },
        state="moving average of the student",
        smallest_batch=2,
    ),
}

RELATIONS: dict[str, Loss] = {
    "rkd_distance": Loss(
        lambda b: relations.rkd_distance(b.student, b.teacher), "relations", False, needs=("teacher",), joint=True, smallest_batch=3
    ),
    "rkd_angle": Loss(
        lambda b, vertices: relations.rkd_angle(b.student, b.teacher, vertices=int(vertices)),
        "relations",
        False,
        needs=("teacher",),
        joint=True,
        options={"vertices": Option(32, 1, 2**20)},
        smallest_batch=3,
    ),
    "similarity_preserving": Loss(
        lambda b: relations.similarity_preserving(b.student, b.teacher),
        "relations",
        False,
        needs=("teacher",),
        joint=True,
        smallest_batch=2,
    ),
    "pkt": Loss(lambda b: relations.pkt(b.student, b.teacher), "relations", False, needs=("teacher",), joint=True, smallest_batch=3),
}

LOSSES: dict[str, Loss] = FEATURE | CONTRASTIVE | SOFT | RELATIONS
