"""Laws that hold for every loss of the registry, with and without a state of its own."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from loss_batches import ALL, fresh_states, full_batch, pick, rows, value
from torch.nn import functional as F

from distill.losses import LOSSES, describe, mixed_loss, needs_of
from distill.losses.contract import Batch

FIELDS = ("teacher", "text", "logit_scale", "shares", "class_weights", "teacher_scale", "rows", "masked", "momentum")

BELOW_ZERO = {"align_uniform", "align_uniform_heads"}
"""Uniformity is the logarithm of a mean that is at most one."""

ELSEWHERE = {
    "vicreg": "spread and correlation pull too",
    "align_uniform": "spreading beats standing at orthogonal targets",
    "align_uniform_heads": "heads lie between",
    "augmented_feature": "the fusion lies between",
    "otter": "its targets are the other pairs",
}
"""Losses whose minimum need not be the student that equals its targets, and why."""

TOLD_APART_BY_SOFTMAX = [
    "image_text_contrastive",
    "image_image_contrastive",
    "icl",
    "supcon_text",
    "supcon_image",
    "augmented_feature",
]


def changed(batch: Batch, field: str) -> Batch:
    """The batch with another content of one field."""
    other: dict[str, object] = {
        "teacher": rows(seed=11),
        "text": rows(seed=12),
        "logit_scale": torch.tensor(3.0, dtype=torch.float64),
        "shares": F.one_hot(torch.tensor([3, 3, 1, 2, 0, 1]), 4).double(),
        "class_weights": rows(4, 5, seed=13).T,
        "teacher_scale": 2.0,
        "rows": torch.tensor([1, 2, 4, 6, 7, 9]),
        "masked": rows(seed=14),
        "momentum": rows(seed=15),
    }
    return dataclasses.replace(batch, **{field: other[field]})


@pytest.mark.parametrize("name", ALL)
def test_loss_is_a_finite_deterministic_scalar_in_its_range(name: str) -> None:
    first, second = value(name, full_batch()), value(name, full_batch())

    assert first.shape == ()
    assert math.isfinite(first.item())
    assert first.item() >= (-8 if name in BELOW_ZERO else 0)
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ALL)
def test_loss_is_differentiated_rightly(name: str) -> None:
    states = fresh_states(name, 3)
    mixed_loss(full_batch(4, 3), {name: 1.0}, states=states)  # a memory fixes its normaliser at the first batch

    def through(student: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        return value(name, full_batch(4, 3, student=student, masked=masked), states)

    assert torch.autograd.gradcheck(through, (rows(4, 3).requires_grad_(), rows(4, 3, seed=4).requires_grad_()))


@pytest.mark.parametrize("name", [name for name in ALL if "logit_scale" in LOSSES[name].needs])
def test_logit_scale_is_differentiated_rightly_where_it_is_used(name: str) -> None:
    if name in ("crd_memory", "ema_soft_labels", "image_affinity_kl"):
        pytest.skip("its normaliser or its target is held fixed on purpose")

    def through(scale: torch.Tensor) -> torch.Tensor:
        return value(name, full_batch(logit_scale=scale))

    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(through, scale)
    through(scale).backward()
    assert scale.grad.abs() > 1e-6


@pytest.mark.parametrize("name", [name for name in ALL if LOSSES[name].build is not None])
def test_parameters_of_a_loss_are_differentiated_rightly(name: str) -> None:
    state = fresh_states(name)[name]
    parameters = dict(state.named_parameters())
    if not parameters:
        assert LOSSES[name].state == "memory bank"
        return

    def through(*tensors: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(state, dict(zip(parameters, tensors, strict=True)), (full_batch(),))

    assert torch.autograd.gradcheck(through, tuple(p.detach().clone().requires_grad_() for p in parameters.values()), fast_mode=True)


@pytest.mark.parametrize("name", ALL)
def test_loss_gives_gradients_to_the_student_and_to_no_target(name: str) -> None:
    fields = ("student", "masked", "teacher", "text", "momentum")
    leaves = {field: getattr(full_batch(), field).clone().requires_grad_(field in ("student", "masked")) for field in fields}

    value(name, full_batch(**leaves)).backward()

    seen = leaves["masked" if "masked" in LOSSES[name].needs else "student"]
    assert seen.grad.abs().sum() > 0
    assert all(leaves[field].grad is None for field in ("teacher", "text", "momentum"))


@pytest.mark.parametrize("name", ALL)
def test_loss_does_not_depend_on_the_order_of_the_batch(name: str) -> None:
    batch = full_batch()

    shuffled = pick(batch, torch.tensor([3, 0, 5, 1, 4, 2]))

    assert value(name, shuffled).item() == pytest.approx(value(name, batch).item(), rel=1e-9)


@pytest.mark.parametrize("name", sorted(set(ALL) - set(ELSEWHERE)))
def test_loss_is_smallest_where_the_student_is_its_target(name: str) -> None:
    """Orthonormal targets of six classes: then the perfect student is the minimum of the contrastive losses over all unit embeddings too."""
    targets = torch.eye(6, dtype=torch.float64)
    fixed = {"teacher": targets, "text": targets, "momentum": targets, "class_weights": targets, "shares": targets, "teacher_scale": 5.0}
    states = fresh_states(name, 6)

    best = value(name, full_batch(6, 6, student=targets, masked=targets, **fixed), states).item()

    for seed in range(8):
        moved = F.normalize(targets + 0.3 * rows(6, 6, seed=seed), dim=-1)
        assert value(name, full_batch(6, 6, student=moved, masked=moved, **fixed), states).item() > best


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("field", FIELDS)
def test_loss_looks_at_what_it_says_it_needs_and_at_nothing_else(name: str, field: str) -> None:
    batch = full_batch()

    same = torch.equal(value(name, changed(batch, field)), value(name, batch))

    assert same == (field not in LOSSES[name].needs)


@pytest.mark.parametrize("name", ALL)
def test_loss_without_a_needed_field_is_refused_by_name(name: str) -> None:
    for need in set(LOSSES[name].needs) - {"teacher_scale"}:
        with pytest.raises(ValueError, match=rf"`batch.{need}` must be given for the loss {name}, got None"):
            value(name, full_batch(**{need: None}))


@pytest.mark.parametrize("name", ALL)
def test_only_joint_losses_let_an_image_feel_the_others_of_its_batch(name: str) -> None:
    batch = full_batch()
    others = {field: torch.cat([getattr(batch, field)[:1], getattr(changed(batch, field), field)[1:]]) for field in ("teacher", "text")}
    others["student"] = torch.cat([batch.student[:1], rows(seed=21)[1:]])
    states = fresh_states(name)

    pulls = []
    for fields in ({"student": batch.student}, others):
        student, masked = fields["student"].clone().requires_grad_(), batch.masked.clone().requires_grad_()
        value(name, dataclasses.replace(batch, **{**fields, "student": student, "masked": masked}), states).backward()
        pulls.append((masked if student.grad is None else student).grad[0])

    joint = LOSSES[name].negatives if LOSSES[name].joint is None else LOSSES[name].joint
    assert torch.allclose(*pulls, rtol=1e-9, atol=1e-12) != joint


@pytest.mark.parametrize("name", TOLD_APART_BY_SOFTMAX)
def test_contrast_at_zero_scale_is_log_n(name: str) -> None:
    assert value(name, full_batch(scale=0.0)).item() == pytest.approx(math.log(6))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("student", ["collapsed", "perfect"])
def test_gradients_stay_finite_for_equal_images_and_perfect_students(name: str, student: str) -> None:
    """Distances of zero, where roots have no slope, and equal rows, whose angle is undefined; in the precision of training."""
    teacher = rows(dtype=torch.float32).index_copy(0, torch.tensor([1]), rows(dtype=torch.float32)[:1])
    leaf = (teacher if student == "perfect" else teacher[:1].repeat(6, 1)).clone().requires_grad_()
    batch = full_batch(student=leaf, masked=leaf, teacher=teacher)
    batch = dataclasses.replace(
        batch,
        text=teacher.clone(),
        momentum=teacher.clone(),
        logit_scale=torch.tensor(100.0),
        shares=batch.shares.float(),
        class_weights=batch.class_weights.float(),
    )
    states = {key: state.float() for key, state in fresh_states(name).items()}

    result = value(name, batch, states)
    result.backward()

    assert math.isfinite(result.item())
    assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("name", [name for name in ALL if LOSSES[name].smallest_batch > 1])
def test_loss_pulls_from_its_smallest_batch_on(name: str) -> None:
    student = rows(LOSSES[name].smallest_batch).requires_grad_()

    value(name, full_batch(len(student), student=student)).backward()

    assert student.grad.abs().max() > 1e-6


@pytest.mark.parametrize(
    "name", ["image_text_contrastive", "image_image_contrastive", "icl", "affinity_kl", "otter", "pkt", "rkd_distance"]
)
def test_loss_does_not_pull_in_a_smaller_batch(name: str) -> None:
    student = rows(LOSSES[name].smallest_batch - 1).requires_grad_()

    value(name, full_batch(len(student), student=student)).backward()

    assert student.grad.abs().max() < 1e-12


@pytest.mark.parametrize("name", ALL)
def test_properties_are_whole(name: str) -> None:
    loss = LOSSES[name]

    assert (loss.function is None) == (loss.build is not None)
    assert bool(loss.state) == (loss.build is not None or "momentum" in loss.needs)
    assert all(option.low <= option.default <= option.high for option in loss.options.values())
    assert needs_of({name: 1.0}) == set(loss.needs)
    assert describe({name: 1.0})["targets"] == [loss.target]
    assert {"text": "text" in loss.needs, "image": "teacher" in loss.needs}.get(loss.target, True)


def test_states_are_built_alike_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    first = [fresh_states(name) for name in ALL]

    assert torch.equal(torch.rand(3), expected)
    for name, states in zip(ALL, first, strict=True):
        again = fresh_states(name)
        assert states.keys() == again.keys()
        for key in states:
            tensors = again[key].state_dict()
            assert all(torch.equal(tensor, tensors[part]) for part, tensor in states[key].state_dict().items())


def test_loss_with_a_state_needs_it() -> None:
    with pytest.raises(ValueError, match=r"`states` must hold the memory bank of the loss crd_memory, got none; make it with"):
        mixed_loss(full_batch(), {"crd_memory": 1.0})


def test_copies_of_a_state_do_not_see_each_other() -> None:
    """The tests above rely on it."""
    states = fresh_states("crd_memory")
    before = copy.deepcopy(states["crd_memory"].state_dict())

    value("crd_memory", full_batch(), states)

    assert all(torch.equal(tensor, before[key]) for key, tensor in states["crd_memory"].state_dict().items())
