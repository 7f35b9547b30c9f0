"""The memory of CRD, the moving average of the student, and masked views."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math

import pytest
import torch
from loss_batches import CLASSES, IMAGES, full_batch, rows
from torch import nn
from torch.nn import functional as F

from distill.losses.masking import GRID, frozen_statistics, hide, patch_mask
from distill.losses.memory import MemoryContrast, noise_contrast
from distill.losses.momentum import Momentum


def memory(*, negatives: int = 64, momentum: float = 0.5) -> MemoryContrast:
    torch.manual_seed(0)
    return MemoryContrast(IMAGES, 5, negatives=negatives, momentum=momentum).double()


def test_noise_contrast_equals_loops() -> None:
    g = torch.Generator().manual_seed(0)
    positives, others = torch.randn(4, generator=g, dtype=torch.float64), torch.randn(4, 9, generator=g, dtype=torch.float64)
    valid = torch.rand(4, 9, generator=g) < 0.6
    h = lambda r: r / (r + 30)  # noqa: E731

    expected = 0.0
    for i in range(4):
        noise = [-math.log(1 - h(math.exp(others[i, k]))) for k in range(9) if valid[i, k]]
        expected += (-math.log(h(math.exp(positives[i]))) + 30 * sum(noise) / len(noise)) / 4

    assert noise_contrast(positives, others, valid, draws=30).item() == pytest.approx(expected, rel=1e-9)


def test_noise_contrast_is_smallest_where_the_ratio_is_that_of_the_likelihoods() -> None:
    """Right targets and m draws of noise over two symbols: the best r is p / q for each (Gutmann & Hyvaerinen, theorem 1)."""
    p, q, m = torch.tensor([0.8, 0.2], dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64), 6

    def cost(log_r: torch.Tensor) -> torch.Tensor:
        return (p * F.softplus(math.log(m) - log_r)).sum() + m * (q * F.softplus(log_r - math.log(m))).sum()

    best = (p / q).log().requires_grad_()
    cost(best).backward()
    # The same through our function: eight right targets of the first symbol and two of the second, even noise.
    positives = best.detach().repeat_interleave(torch.tensor([8, 2]))
    ours = noise_contrast(positives, best.detach().repeat(10, 1), torch.ones(10, 2), draws=m)

    assert best.grad.abs().max() < 1e-12
    assert ours.item() == pytest.approx(cost(best).item(), rel=1e-12)


def test_memory_keeps_the_teachers_rows_and_blends_them_when_an_image_comes_again() -> None:
    state, batch = memory(momentum=0.25), full_batch()
    again = dataclasses.replace(batch, teacher=rows(seed=9))

    state(batch)
    state(again)

    expected = F.normalize(0.25 * batch.teacher + 0.75 * again.teacher, dim=1)
    torch.testing.assert_close(state.memory[batch.rows], expected)
    assert (state.labels >= 0).nonzero().squeeze(1).tolist() == sorted(batch.rows.tolist())
    assert state.labels[batch.rows].tolist() == CLASSES.tolist()


def test_memory_contrast_equals_its_formula_over_all_rows_of_other_classes() -> None:
    """Very many draws are every row in equal parts: the mean over draws differs by a few standard errors, 1 / sqrt(20000 / 6) of the spread."""
    state, batch = memory(negatives=20_000), full_batch()

    found = state(batch).item()

    logits = 5.0 * batch.student @ batch.teacher.T
    valid = CLASSES[:, None] != CLASSES[None]
    # At the first batch the normaliser is the mean over draws that are noise; each row is drawn equally often.
    normaliser = logits[valid].logsumexp(0) - math.log(int(valid.sum()))
    expected = noise_contrast(logits.diagonal() - normaliser, logits - normaliser, valid, draws=20_000)
    assert found == pytest.approx(expected.item(), rel=0.05)
    assert state.log_normaliser.item() == pytest.approx(normaliser.item(), abs=0.05)


def test_rows_of_the_same_class_or_never_seen_are_no_noise() -> None:
    """Only the right targets remain: the cost is softplus(log m - log r) with a normaliser of one."""
    state = memory(negatives=64)
    batch = full_batch(shares=F.one_hot(torch.zeros(6, dtype=torch.int64), 4).double())

    found = state(batch)

    positives = 5.0 * (batch.student * batch.teacher).sum(dim=1)
    assert found.item() == pytest.approx(F.softplus(math.log(64) - positives).mean().item(), rel=1e-12)
    assert int(state.batches) == 0


def test_normaliser_is_fixed_at_the_first_batch_with_noise() -> None:
    state = memory()
    state(full_batch())
    first = state.log_normaliser.clone()

    state(full_batch(student=rows(seed=30)))

    assert torch.equal(state.log_normaliser, first)


def test_memory_draws_anew_each_batch_without_touching_the_global_generator() -> None:
    state, batch = memory(negatives=8), full_batch()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)

    values = {round(state(batch).item(), 12) for _ in range(5)}

    assert torch.equal(torch.rand(2), expected)
    assert len(values) > 1


def test_loaded_memory_goes_on_as_the_saved_one() -> None:
    state, other = memory(), memory()
    for seed in range(3):
        state(full_batch(teacher=rows(seed=seed)))

    other.load_state_dict(copy.deepcopy(state.state_dict()))

    assert torch.equal(state(full_batch()), other(full_batch()))
    assert all(torch.equal(a, b) for a, b in zip(state.state_dict().values(), other.state_dict().values(), strict=True))


# The moving average


def encoder() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.LazyLinear(5)).train()


def test_average_follows_its_recursion_with_a_warm_up() -> None:
    module = encoder()
    module(torch.rand(2, 3, 4, 4))
    average = Momentum(module, 0.5)
    expected = module[4].weight.detach().clone()

    for n in range(12):
        with torch.no_grad():
            module[4].weight.add_(1.0)
        average.update(module)
        keep = min(0.5, (1 + n) / (10 + n))
        expected = keep * expected + (1 - keep) * module[4].weight.detach()

    torch.testing.assert_close(average.encoder[4].weight, expected)
    assert int(average.updates) == 12


def test_average_also_follows_running_statistics_and_counts() -> None:
    module = encoder()
    module(torch.rand(2, 3, 4, 4))
    average = Momentum(module, 0.0)

    module(torch.rand(2, 3, 4, 4))
    average.update(module)

    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(average.encoder.state_dict()[name], tensor, rtol=0, atol=1e-7 if tensor.is_floating_point() else 0)


def test_average_stays_in_eval_mode_without_gradient_or_draws() -> None:
    module = encoder()
    module(torch.rand(2, 3, 4, 4))
    average = Momentum(module, 0.9).train()
    images = torch.rand(2, 3, 4, 4)

    first, second = average(images), average(images)

    assert not average.encoder.training
    assert module.training
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert all(parameter.requires_grad for parameter in module.parameters())


# Masked views


@pytest.mark.parametrize("ratio", [0.25, 0.75])
def test_every_image_loses_the_same_number_of_patches(ratio: float) -> None:
    mask = patch_mask(50, ratio, seed=0, epoch=0)

    assert mask.shape == (50, GRID, GRID)
    assert mask.sum(dim=(1, 2)).unique().tolist() == [round(64 * ratio)]
    # Each patch is hidden in a share of the images that lies within four standard errors of the ratio.
    assert (mask.double().mean(dim=0) - ratio).abs().max() < 4 * math.sqrt(ratio * (1 - ratio) / 50)


def test_masks_are_drawn_by_seed_and_epoch_alone() -> None:
    first = patch_mask(9, 0.75, seed=0, epoch=3)

    assert torch.equal(first, patch_mask(9, 0.75, seed=0, epoch=3))
    assert not torch.equal(first, patch_mask(9, 0.75, seed=0, epoch=4))
    assert not torch.equal(first, patch_mask(9, 0.75, seed=1, epoch=3))


def test_hidden_patches_take_the_fill_and_the_others_stay() -> None:
    images, fill = torch.rand(2, 3, 16, 16), torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    mask = torch.zeros(2, GRID, GRID, dtype=torch.bool)
    mask[0, 1, 7] = True

    hidden = hide(images, mask, fill)

    torch.testing.assert_close(hidden[0, :, 2:4, 14:16], fill[0].expand(3, 2, 2))
    same = hidden == images
    assert same[1].all()
    assert int((~same[0]).sum()) == 12


def test_student_cannot_see_hidden_pixels_and_does_see_the_others() -> None:
    images, noise, fill = torch.rand(3, 3, 16, 16), torch.rand(3, 3, 16, 16), torch.zeros(1, 3, 1, 1)
    mask = patch_mask(3, 0.75, seed=0, epoch=0)
    covered = (hide(torch.ones(3, 1, 16, 16), mask, torch.zeros(1, 1, 1, 1)) == 0).float()

    assert covered.mean() == 0.75
    assert torch.equal(hide(images + noise * covered, mask, fill), hide(images, mask, fill))
    assert not torch.equal(hide(images + noise * (1 - covered), mask, fill), hide(images, mask, fill))


def test_masks_fit_sides_that_eight_does_not_divide() -> None:
    hidden = hide(torch.ones(1, 3, 13, 10), torch.ones(1, GRID, GRID, dtype=torch.bool), torch.zeros(1, 3, 1, 1))

    assert hidden.shape == (1, 3, 13, 10)
    assert (hidden == 0).all()


def test_running_statistics_do_not_see_masked_views_and_learn_again_afterwards() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=None), nn.BatchNorm2d(3, track_running_stats=False)).train()
    module(torch.rand(4, 3, 2, 2))
    before = copy.deepcopy(module.state_dict())

    with contextlib.suppress(KeyError), frozen_statistics(module):
        module(100 * torch.rand(4, 3, 2, 2))
        raise KeyError

    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert [layer.momentum for layer in module] == [0.1, None, 0.1]
    module(torch.rand(4, 3, 2, 2))
    assert not torch.equal(module[0].running_mean, before["0.running_mean"])
