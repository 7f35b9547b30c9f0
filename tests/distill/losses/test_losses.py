"""Feature and contrastive losses against closed forms and independent implementations, and mixes of losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch.nn import functional as F

from distill.losses import LOSSES, Batch, check_names, mixed_loss, properties
from distill.losses.contrastive import image_image_contrastive, image_text_contrastive, info_nce
from distill.losses.feature import l2, squared_l2


def rows(n: int = 6, d: int = 5, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=-1)


def batch_of(student: torch.Tensor, *, scale: float = 5.0) -> Batch:
    n, d = student.shape
    return Batch(student, rows(n, d, seed=1, dtype=student.dtype), rows(n, d, seed=2, dtype=student.dtype), torch.tensor(scale))


def one_way(anchors: np.ndarray, targets: np.ndarray, scale: float) -> float:
    """InfoNCE by loops over pairs."""
    terms = []
    for i, anchor in enumerate(anchors):
        logits = [scale * float(np.dot(anchor, target)) for target in targets]
        terms.append(logsumexp(logits) - logits[i])
    return float(np.mean(terms))


def test_l2_is_the_mean_of_norms() -> None:
    student, teacher = rows(seed=3), rows(seed=4)

    by_loop = np.mean([np.linalg.norm(a - b) for a, b in zip(student.numpy(), teacher.numpy(), strict=True)])

    assert l2(student, teacher).item() == pytest.approx(by_loop, rel=1e-12)


def test_l2_of_a_right_angle_is_root_two_and_of_opposites_two() -> None:
    x, y = torch.eye(3, dtype=torch.float64)[:1], torch.eye(3, dtype=torch.float64)[1:2]

    assert l2(x, y).item() == pytest.approx(math.sqrt(2))
    assert l2(x, -x).item() == pytest.approx(2)
    assert squared_l2(x, y).item() == pytest.approx(2)
    assert squared_l2(x, -x).item() == pytest.approx(4)


def test_squared_l2_is_twice_torchs_cosine_embedding_loss() -> None:
    student, teacher = rows(seed=3), rows(seed=4)

    cosine = torch.nn.CosineEmbeddingLoss()(student, teacher, torch.ones(len(student)))

    # Torch adds 1e-8 to the squared norms of its cosine.
    assert squared_l2(student, teacher).item() == pytest.approx(2 * cosine.item(), rel=1e-6)


def test_squared_l2_is_the_mean_squared_error_times_the_dimension() -> None:
    student, teacher = rows(seed=3), rows(seed=4)

    assert squared_l2(student, teacher).item() == pytest.approx(student.shape[1] * F.mse_loss(student, teacher).item(), rel=1e-12)


def test_l2_has_a_finite_gradient_at_the_teacher_itself() -> None:
    teacher = rows(dtype=torch.float32)
    student = teacher.clone().requires_grad_()

    l2(student, teacher).backward()

    assert torch.equal(student.grad, torch.zeros_like(student))


def test_l2_pulls_near_and_far_images_with_the_same_force() -> None:
    teacher = torch.zeros(2, 2, dtype=torch.float64)
    student = torch.tensor([[1e-3, 0.0], [1.5, 0.0]], dtype=torch.float64, requires_grad=True)

    l2(student, teacher).backward()

    assert student.grad.norm(dim=1).tolist() == pytest.approx([0.5, 0.5])  # 1 / N each


@pytest.mark.parametrize("scale", [0.5, 14.0, 100.0])
def test_info_nce_equals_loops_over_pairs(scale: float) -> None:
    anchors, targets = rows(seed=3), rows(seed=4)

    assert info_nce(anchors, targets, logit_scale=scale).item() == pytest.approx(one_way(anchors.numpy(), targets.numpy(), scale), rel=1e-9)


def test_image_text_contrastive_is_the_mean_of_both_ways() -> None:
    student, text = rows(seed=3), rows(seed=4)

    both = (one_way(student.numpy(), text.numpy(), 9.0) + one_way(text.numpy(), student.numpy(), 9.0)) / 2

    assert image_text_contrastive(student, text, logit_scale=9.0).item() == pytest.approx(both, rel=1e-9)


def test_image_text_contrastive_equals_open_clips_loss() -> None:
    from open_clip.loss import ClipLoss

    student, text = rows(seed=3, dtype=torch.float32), rows(seed=4, dtype=torch.float32)

    theirs = ClipLoss()(student, text, torch.tensor(9.0))

    assert image_text_contrastive(student, text, logit_scale=9.0).item() == pytest.approx(theirs.item(), rel=1e-6)


def test_image_image_contrastive_goes_one_way_only() -> None:
    student, teacher = rows(seed=3), rows(seed=4)

    forth = image_image_contrastive(student, teacher, logit_scale=9.0)

    assert forth.item() == pytest.approx(one_way(student.numpy(), teacher.numpy(), 9.0), rel=1e-9)
    assert abs(forth.item() - image_image_contrastive(teacher, student, logit_scale=9.0).item()) > 1e-3


def test_image_text_contrastive_is_symmetric() -> None:
    student, text = rows(seed=3), rows(seed=4)

    there, back = (image_text_contrastive(a, b, logit_scale=9.0).item() for a, b in ((student, text), (text, student)))

    assert there == pytest.approx(back, rel=1e-12)


@pytest.mark.parametrize("n", [2, 7])
def test_contrast_of_orthogonal_pairs_has_its_closed_form(n: int) -> None:
    """With x_i = t_i = e_i each row's logits are s at i and 0 elsewhere, so the loss is log(1 + (n - 1) exp(-s))."""
    basis = torch.eye(n, dtype=torch.float64)

    expected = math.log1p((n - 1) * math.exp(-4.0))

    assert info_nce(basis, basis, logit_scale=4.0).item() == pytest.approx(expected, rel=1e-12)


def test_contrast_of_shared_class_prompts_cannot_fall_below_the_tie() -> None:
    """Two images of one class share a target: at best each is found among two, log 2."""
    student = torch.eye(2, dtype=torch.float64).repeat_interleave(2, dim=0)

    assert image_text_contrastive(student, student, logit_scale=1e4).item() == pytest.approx(math.log(2), abs=1e-9)


def test_learned_logit_scale_gets_a_gradient() -> None:
    scale = torch.tensor(3.0, requires_grad=True)
    batch = batch_of(rows())

    mixed_loss(Batch(batch.student, batch.teacher, batch.text, scale), {"image_text_contrastive": 1.0})[0].backward()

    assert scale.grad is not None
    assert scale.grad.abs() > 0


def test_mixed_loss_is_the_weighted_sum_and_logs_unweighted_terms() -> None:
    batch = batch_of(rows().requires_grad_())

    total, terms = mixed_loss(batch, {"l2": 0.5, "image_text_contrastive": 2.0})

    first, second = (LOSSES[name].function(batch).item() for name in ("l2", "image_text_contrastive"))
    assert total.item() == pytest.approx(0.5 * first + 2.0 * second)
    assert {name: term.item() for name, term in terms.items()} == {"l2": first, "image_text_contrastive": second}
    assert total.requires_grad
    assert not any(term.requires_grad for term in terms.values())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["l2"], ("image", False)),
        (["image_text_contrastive"], ("text", True)),
        (["l2", "squared_l2"], ("image", False)),
        (["l2", "image_image_contrastive"], ("image", None)),
        (["l2", "image_text_contrastive"], (None, None)),
        (["image_image_contrastive", "image_text_contrastive"], (None, True)),
        (["rkd_distance"], (None, False)),
        (["zero_shot_kd"], (None, True)),
    ],
)
def test_properties_of_a_mix_are_those_its_terms_share(names: list[str], expected: tuple[str | None, bool | None]) -> None:
    assert properties(dict.fromkeys(names, 1.0)) == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({}, "at least one loss"),
        ({"l3": 1.0}, "did you mean l2"),
        ({"image_text": 1.0}, "did you mean image_text_contrastive"),
        ({"qqqq": 1.0}, "choose from affinity_kl, align_uniform, "),
        ({"l2": 0.0}, "positive number, got 0.0"),
        ({"l2": -1.0}, "positive number, got -1.0"),
        ({"l2": float("nan")}, "positive number, got nan"),
        ({"l2": float("inf")}, "positive number, got inf"),
    ],
)
def test_bad_mixes_are_refused_with_the_remedy(names: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_names(names)
