"""Losses against loops, official implementations and closed forms, and the identities between them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_batches import CLASSES, fresh_states, full_batch, rows, value
from scipy.special import i0, kl_div, log_softmax, logsumexp, softmax
from torch.nn import functional as F

from distill.losses import contrastive, feature, relations, soft_targets, uniformity
from distill.losses.gradients import contrastive_gradients, gradient_distillation
from distill.losses.stateful import AugmentedFeature

STUDENT, TEACHER, TEXT, WEIGHTS = rows(seed=3), rows(seed=4), rows(seed=5), rows(4, seed=6).T
SHARES = F.one_hot(CLASSES, 4).double()


def divergence(right: np.ndarray, found: np.ndarray) -> float:
    return float(np.mean([kl_div(p, q).sum() for p, q in zip(right, found, strict=True)]))


def slope(function: object, *arguments: object, **named: object) -> torch.Tensor:
    """Gradient with respect to the student."""
    student = STUDENT.clone().requires_grad_()
    function(student, *arguments, **named).backward()
    return student.grad


# Features


def test_mse_is_torchs_and_squared_l2_divided_by_the_dimension() -> None:
    assert feature.mse(STUDENT, TEACHER).item() == pytest.approx(F.mse_loss(STUDENT, TEACHER).item(), rel=1e-12)
    assert feature.mse(STUDENT, TEACHER).item() == pytest.approx(feature.squared_l2(STUDENT, TEACHER).item() / 5, rel=1e-12)


def test_weight_of_2000_on_mse_at_512_dimensions_is_four_on_squared_l2() -> None:
    student, teacher = rows(4, 512, seed=1), rows(4, 512, seed=2)

    assert 2000 * feature.mse(student, teacher).item() == pytest.approx(3.90625 * feature.squared_l2(student, teacher).item(), rel=1e-9)


def test_cosine_is_torchs_and_half_of_squared_l2_and_half_the_square_of_l2_for_one_image() -> None:
    theirs = (1 - F.cosine_similarity(STUDENT, TEACHER)).mean()

    assert feature.cosine(STUDENT, TEACHER).item() == pytest.approx(theirs.item(), rel=1e-9)
    assert feature.cosine(STUDENT, TEACHER).item() == pytest.approx(feature.squared_l2(STUDENT, TEACHER).item() / 2, rel=1e-12)
    assert feature.cosine(STUDENT[:1], TEACHER[:1]).item() == pytest.approx(feature.l2(STUDENT[:1], TEACHER[:1]).item() ** 2 / 2, rel=1e-9)


def test_masked_loss_looks_at_the_masked_view_alone() -> None:
    batch = full_batch()

    assert value("masked_squared_l2", batch).item() == feature.squared_l2(batch.masked, batch.teacher).item()


# Contrast


def test_icl_is_one_direction_of_image_text_contrast_under_a_frozen_text_tower() -> None:
    """The published other half, texts against teacher images, then has no gradient."""
    one = contrastive.info_nce(STUDENT, TEXT, logit_scale=9.0)
    other = contrastive.info_nce(TEXT, STUDENT, logit_scale=9.0)

    assert value("icl", full_batch(student=STUDENT, text=TEXT, scale=9.0)).item() == pytest.approx(one.item(), rel=1e-12)
    assert (one + other).item() / 2 == pytest.approx(contrastive.image_text_contrastive(STUDENT, TEXT, logit_scale=9.0).item(), rel=1e-12)


def test_supervised_contrast_equals_loops() -> None:
    positives = SHARES @ SHARES.T

    terms = []
    for i in range(6):
        logits = [8.0 * float(STUDENT[i] @ TEACHER[j]) for j in range(6)]
        right = [j for j in range(6) if CLASSES[j] == CLASSES[i]]
        terms.append(-np.mean([logits[j] - logsumexp(logits) for j in right]))

    found = contrastive.multi_positive_contrastive(STUDENT, TEACHER, positives, logit_scale=8.0)
    assert found.item() == pytest.approx(np.mean(terms), rel=1e-9)
    assert contrastive.supcon_image(STUDENT, TEACHER, SHARES, logit_scale=8.0).item() == pytest.approx(found.item(), rel=1e-12)


def test_supervised_contrast_of_six_classes_is_info_nce() -> None:
    one = contrastive.supcon_image(STUDENT, TEACHER, torch.eye(6, dtype=torch.float64), logit_scale=8.0)

    assert one.item() == pytest.approx(contrastive.info_nce(STUDENT, TEACHER, logit_scale=8.0).item(), rel=1e-12)


def test_class_aware_positives_change_nothing_for_class_prompts() -> None:
    """Texts of one class are one text: telling them apart is impossible, so the false negatives of class prompts are a constant tie."""
    prompts = WEIGHTS.T[CLASSES]

    aware = contrastive.supcon_text(STUDENT, prompts, SHARES, logit_scale=9.0)
    plain = contrastive.image_text_contrastive(STUDENT, prompts, logit_scale=9.0)
    captions = contrastive.supcon_text(STUDENT, TEXT, SHARES, logit_scale=9.0)

    assert aware.item() == pytest.approx(plain.item(), rel=1e-12)
    torch.testing.assert_close(
        slope(contrastive.supcon_text, prompts, SHARES, logit_scale=9.0),
        slope(contrastive.image_text_contrastive, prompts, logit_scale=9.0),
    )
    assert abs(captions.item() - contrastive.image_text_contrastive(STUDENT, TEXT, logit_scale=9.0).item()) > 1e-3


def test_contrast_with_class_prompts_is_cross_entropy_with_the_batchs_class_counts() -> None:
    """`-log e^z_y / sum_c n_c e^z_c`: cross-entropy over classes with log n_c added to each logit, plus log n_y."""
    counts = SHARES.sum(dim=0)

    with_counts = F.cross_entropy(9.0 * STUDENT @ WEIGHTS + counts.log(), CLASSES) + counts[CLASSES].log().mean()

    assert contrastive.info_nce(STUDENT, WEIGHTS.T[CLASSES], logit_scale=9.0).item() == pytest.approx(with_counts.item(), rel=1e-12)


def test_siglip_equals_open_clips() -> None:
    from open_clip.loss import SigLipLoss

    theirs = SigLipLoss()(STUDENT, TEXT, torch.tensor(10.0), torch.tensor(-10.0))

    assert contrastive.siglip(STUDENT, TEXT, logit_scale=10.0, bias=-10.0).item() == pytest.approx(theirs.item(), rel=1e-9)


def test_siglip_of_orthonormal_pairs_has_its_closed_form() -> None:
    """Right pairs have logit s + b, the N - 1 wrong ones b."""
    basis = torch.eye(6, dtype=torch.float64)

    found = contrastive.siglip(basis, basis, logit_scale=10.0, bias=-4.0)

    assert found.item() == pytest.approx(math.log1p(math.exp(-6.0)) + 5 * math.log1p(math.exp(-4.0)), rel=1e-12)


# Learned parts


def test_fusion_that_passes_the_student_through_is_image_text_contrast() -> None:
    fusion = AugmentedFeature(5).double()
    with torch.no_grad():
        for layer in (fusion.image, fusion.text):
            layer.weight.copy_(torch.cat([torch.eye(5), torch.zeros(5, 5)], dim=1))
            layer.bias.zero_()

    batch = full_batch(scale=9.0)

    expected = contrastive.image_text_contrastive(batch.student, batch.text, logit_scale=9.0)
    assert fusion(batch).item() == pytest.approx(expected.item(), rel=1e-9)


def test_fusion_that_looks_at_the_teacher_alone_teaches_the_student_nothing() -> None:
    """The trap of augmented feature distillation: a low loss without any student."""
    fusion = AugmentedFeature(5).double()
    with torch.no_grad():
        fusion.image.weight.copy_(torch.cat([torch.zeros(5, 5), torch.eye(5)], dim=1))
        fusion.image.bias.zero_()
    student = rows().requires_grad_()

    fusion(full_batch(student=student)).backward()

    assert torch.equal(student.grad, torch.zeros_like(student))


def test_heads_are_compared_by_alignment_and_uniformity() -> None:
    heads = fresh_states("align_uniform_heads")["align_uniform_heads"]
    batch = full_batch()

    student, teacher = (F.normalize(head(x), dim=-1) for head, x in ((heads.student, batch.student), (heads.teacher, batch.teacher)))

    assert heads(batch).item() == pytest.approx(uniformity.align_uniform(student, teacher).item(), rel=1e-12)
    assert student.shape == (6, 128)


# Soft targets


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("squared", [True, False])
def test_zero_shot_distillation_equals_scipys_divergence(temperature: float, squared: bool) -> None:
    right, found = (softmax(30.0 * (x @ WEIGHTS).numpy() / temperature, axis=1) for x in (TEACHER, STUDENT))

    ours = soft_targets.zero_shot_kd(STUDENT, TEACHER, WEIGHTS, scale=30.0, temperature=temperature, squared=squared)

    assert ours.item() == pytest.approx(divergence(right, found) * (temperature**2 if squared else 1), rel=1e-9)


def test_hot_distillation_matches_logits() -> None:
    """As T grows, T^2 KL tends to 1/(2 C) sum of squared differences of centred logits (Hinton et al., section 2.1).

    The next term of the expansion is of order z / T relative to it: 30 / 1e4.
    """
    left, right = (30.0 * x @ WEIGHTS for x in (STUDENT, TEACHER))
    difference = left - left.mean(dim=1, keepdim=True) - right + right.mean(dim=1, keepdim=True)

    hot = soft_targets.zero_shot_kd(STUDENT, TEACHER, WEIGHTS, scale=30.0, temperature=1e4, squared=True)

    assert hot.item() == pytest.approx(difference.square().sum(dim=1).mean().item() / 8, rel=1e-2)


def test_class_cross_entropy_equals_scipys_also_for_blended_labels() -> None:
    shares = 0.7 * SHARES + 0.3 * SHARES.roll(1, dims=0)

    expected = -np.mean((shares.numpy() * log_softmax(9.0 * (STUDENT @ WEIGHTS).numpy(), axis=1)).sum(axis=1))

    assert soft_targets.class_cross_entropy(STUDENT, shares, WEIGHTS, logit_scale=9.0).item() == pytest.approx(expected, rel=1e-9)


def test_affinity_equals_scipys_divergence_both_ways() -> None:
    right, found = 40.0 * (TEACHER @ TEXT.T).numpy(), 9.0 * (STUDENT @ TEXT.T).numpy()

    expected = (divergence(softmax(right, 1), softmax(found, 1)) + divergence(softmax(right.T, 1), softmax(found.T, 1))) / 2

    assert soft_targets.affinity_kl(STUDENT, TEACHER, TEXT, logit_scale=9.0, teacher_scale=40.0).item() == pytest.approx(expected, rel=1e-9)


def test_tinyclips_soft_cross_entropy_has_the_gradient_of_the_affinity_divergence() -> None:
    def soft_cross_entropy(student: torch.Tensor) -> torch.Tensor:
        right, found = 40.0 * TEACHER @ TEXT.T, 9.0 * student @ TEXT.T
        ways = (F.cross_entropy(a, b.softmax(dim=1)) for a, b in ((found, right), (found.T, right.T)))
        return sum(ways) / 2

    torch.testing.assert_close(
        slope(soft_cross_entropy), slope(soft_targets.affinity_kl, TEACHER, TEXT, logit_scale=9.0, teacher_scale=40.0)
    )


def test_affinity_to_a_sure_and_right_teacher_is_image_text_contrast() -> None:
    """Teacher embeddings equal to orthonormal texts at a great scale: its soft answers are the hard ones."""
    text = torch.eye(6, dtype=torch.float64)
    student = rows(6, 6, seed=3)

    soft = soft_targets.affinity_kl(student, text, text, logit_scale=9.0, teacher_scale=1e4)

    assert soft.item() == pytest.approx(contrastive.image_text_contrastive(student, text, logit_scale=9.0).item(), rel=1e-9)


def test_image_affinity_equals_scipys_divergence_and_its_hard_limit_is_image_contrast() -> None:
    right, found = 9.0 * (TEACHER @ TEACHER.T).numpy(), 9.0 * (STUDENT @ TEACHER.T).numpy()
    basis, student = torch.eye(6, dtype=torch.float64), rows(6, 6, seed=3)

    ours = soft_targets.image_affinity_kl(STUDENT, TEACHER, logit_scale=9.0)
    sure = soft_targets.image_affinity_kl(student, basis, logit_scale=1e3)

    assert ours.item() == pytest.approx(divergence(softmax(right, 1), softmax(found, 1)), rel=1e-9)
    assert sure.item() == pytest.approx(contrastive.image_image_contrastive(student, basis, logit_scale=1e3).item(), rel=1e-9)


def test_soft_labels_of_the_average_are_affinity_at_the_students_own_scale() -> None:
    batch = full_batch(scale=9.0)

    expected = soft_targets.affinity_kl(batch.student, batch.momentum, batch.text, logit_scale=9.0, teacher_scale=9.0)

    assert value("ema_soft_labels", batch).item() == pytest.approx(expected.item(), rel=1e-12)
    assert value("ema_soft_labels", full_batch(momentum=batch.student)).item() == pytest.approx(0, abs=1e-12)


def test_contrastive_gradients_are_those_of_autograd() -> None:
    images, text = STUDENT.clone().requires_grad_(), TEXT.clone().requires_grad_()

    found = contrastive_gradients(images, text, logit_scale=9.0)
    right = torch.autograd.grad(6 * contrastive.image_text_contrastive(images, text, logit_scale=9.0), (images, text))

    torch.testing.assert_close(found, right)


def test_published_weight_of_gradient_distillation_is_divided_by_batch_and_dimension() -> None:
    """Published: gradients of the mean loss, squared error averaged over N and D. Ours: of the summed loss, summed over D."""
    published = 0.0
    for index in (0, 1):
        pair = []
        for images, scale in ((STUDENT, 9.0), (TEACHER, 40.0)):
            leaves = (images.clone().requires_grad_(), TEXT.clone().requires_grad_())
            pair.append(torch.autograd.grad(contrastive.image_text_contrastive(*leaves, logit_scale=scale), leaves)[index])
        published += F.mse_loss(*pair).item()

    ours = gradient_distillation(STUDENT, TEACHER, TEXT, logit_scale=9.0, teacher_scale=40.0).item()

    assert ours / (6**2 * 5) == pytest.approx(published, rel=1e-9)


# Relations


def huber(a: float, b: float) -> float:
    return 0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5


def test_rkd_distance_equals_loops() -> None:
    pairs = [(i, j) for i in range(6) for j in range(i)]
    relative = []
    for x in (STUDENT.numpy(), TEACHER.numpy()):
        distances = np.array([np.linalg.norm(x[i] - x[j]) for i, j in pairs])
        relative.append(distances / distances.mean())

    expected = np.mean([huber(a, b) for a, b in zip(*relative, strict=True)])

    assert relations.rkd_distance(STUDENT, TEACHER).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("vertices", "at"), [(None, range(6)), (3, (0, 2, 4)), (99, range(6))])
def test_rkd_angle_equals_loops_over_triangles(vertices: int | None, at: tuple[int, ...]) -> None:
    def angle(x: np.ndarray, i: int, j: int, k: int) -> float:
        a, b = x[i] - x[j], x[k] - x[j]
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    triangles = [(i, j, k) for j in at for i in range(6) for k in range(6) if len({i, j, k}) == 3]
    expected = np.mean([huber(angle(STUDENT.numpy(), *t), angle(TEACHER.numpy(), *t)) for t in triangles])

    assert relations.rkd_angle(STUDENT, TEACHER, vertices=vertices).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["rkd_distance", "rkd_angle", "similarity_preserving", "pkt"])
def test_relations_do_not_anchor_a_turned_teacher_costs_nothing(name: str) -> None:
    turn = torch.linalg.qr(rows(5, 5, seed=8))[0]

    assert value(name, full_batch(student=TEACHER @ turn, teacher=TEACHER)).item() == pytest.approx(0, abs=1e-12)
    assert value(name, full_batch(student=STUDENT, teacher=TEACHER)).item() > 1e-4


@pytest.mark.parametrize("function", [relations.rkd_distance, relations.rkd_angle])
def test_rkd_does_not_see_scale(function: object) -> None:
    assert function(3.0 * TEACHER, TEACHER).item() == pytest.approx(0, abs=1e-12)


def test_similarity_preserving_equals_numpys() -> None:
    matrices = []
    for x in (STUDENT.numpy(), TEACHER.numpy()):
        gram = np.stack([[a @ b for b in x] for a in x])
        matrices.append(gram / np.linalg.norm(gram, axis=1)[:, None])

    expected = np.linalg.norm(matrices[0] - matrices[1]) ** 2 / 36

    assert relations.similarity_preserving(STUDENT, TEACHER).item() == pytest.approx(expected, rel=1e-9)


def test_pkt_equals_loops() -> None:
    kernels = []
    for x in (TEACHER.numpy(), STUDENT.numpy()):
        kernel = np.array([[(1 + a @ b) / 2 for b in x] for a in x])
        np.fill_diagonal(kernel, 0)
        kernels.append(kernel / kernel.sum(axis=1, keepdims=True))

    assert relations.pkt(STUDENT, TEACHER).item() == pytest.approx(divergence(*kernels), rel=1e-9)


# Uniformity and spread


def test_uniformity_of_orthonormal_rows_is_minus_four_and_of_opposites_minus_eight_and_of_one_point_zero() -> None:
    """Squared distances of 2, 4 and 0, times t = 2."""
    basis = torch.eye(6, dtype=torch.float64)

    assert uniformity.uniformity(basis).item() == pytest.approx(-4)
    assert uniformity.uniformity(torch.stack([basis[0], -basis[0]])).item() == pytest.approx(-8)
    assert uniformity.uniformity(basis[:1].repeat(3, 1)).item() == pytest.approx(0)


def test_uniformity_of_the_circle_has_its_closed_form() -> None:
    """On evenly spaced points the mean over all pairs, a point with itself included, is e^-4 I_0(4) up to terms beyond e^-n."""
    n = 60
    angles = 2 * torch.pi * torch.arange(n, dtype=torch.float64) / n
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)

    expected = math.log((n * math.exp(-4) * i0(4) - 1) / (n - 1))

    assert uniformity.uniformity(circle).item() == pytest.approx(expected, rel=1e-9)


def test_frozen_teachers_uniformity_is_a_constant() -> None:
    def without(student: torch.Tensor) -> torch.Tensor:
        return feature.squared_l2(student, TEACHER) + uniformity.uniformity(student) / 2

    torch.testing.assert_close(slope(uniformity.align_uniform, TEACHER), slope(without))


def test_vicreg_equals_numpys_covariance() -> None:
    x = STUDENT.numpy() * math.sqrt(5)
    matrix = np.cov(x, rowvar=False)
    spread = np.mean(np.maximum(0, 1 - np.sqrt(np.diag(matrix) + 1e-4)))
    repeated = (np.square(matrix).sum() - np.square(np.diag(matrix)).sum()) / 5

    expected = 25 * ((STUDENT - TEACHER).numpy() ** 2).sum(axis=1).mean() + 25 * spread + repeated

    assert uniformity.vicreg(STUDENT, TEACHER).item() == pytest.approx(expected, rel=1e-9)


def test_vicreg_sees_a_collapse_that_the_pull_alone_forgives() -> None:
    """All images at one point: the spread term is at its largest, 25 (1 - 0.01)."""
    point = TEACHER[:1].repeat(6, 1)

    assert uniformity.vicreg(point, point).item() == pytest.approx(25 * 0.99)
