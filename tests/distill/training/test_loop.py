"""The loop: schedules against torch's, order, accumulation, decay, divergence, and resuming to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.errors import DistillError
from distill.models.checkpoint import read_tensors, save_tensors
from distill.training.loop import Loop, TrainingConfig, image_order, learning_rate, make_accelerator

N = 24


class Killed(Exception):
    """Stands for a SIGKILL: nothing of ours catches it."""


def network() -> nn.Module:
    torch.manual_seed(3)
    # Channels-last kernels, running statistics and draws of dropout: all must come back.
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(24, 4)
    )


def data() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(N, 3, 6, 6, generator=g), torch.randn(N, 4, generator=g)


def make_loop(state: Path, module: nn.Module | None = None, **changes: object) -> Loop:
    settings = {"epochs": 3, "batch_size": 6, "learning_rate": 0.05, "precision": "fp32", **changes}
    config = TrainingConfig(**settings)
    return Loop(module or network(), config, n=N, seed=1, accelerator=make_accelerator(config.precision), state=state)


def fit(loop: Loop) -> Callable[[Tensor, int], tuple[Tensor, dict[str, Tensor]]]:
    images, targets = data()

    def step(indices: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = F.mse_loss(loop.module(images[indices]), targets[indices])
        return loss, {"mse": loss.detach()}

    return step


def nothing(epoch: int, means: dict[str, float]) -> None:
    pass


def rates(total: int, **changes: object) -> list[float]:
    config = TrainingConfig(learning_rate=0.1, **changes)
    return [learning_rate(step, total, config) for step in range(total)]


def torchs(scheduler: Callable[[torch.optim.Optimizer], object], total: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    plan = scheduler(optimizer)
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        plan.step()
    return found


def test_one_cycle_is_torchs_up_to_one_step() -> None:
    """Torch's peak lies one step earlier and its end at 4e-6 of the peak; a step moves the rate by at most pi / 2 / 100 of it."""
    theirs = torchs(lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=400, pct_start=0.25), 400)

    ours = rates(400, schedule="one_cycle", warmup=0.25)

    assert ours[0] == pytest.approx(0.1 / 25)
    assert ours[0] == pytest.approx(theirs[0])
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 0.1 * torch.pi / 2 / 100
    assert ours.index(max(ours)) == 100
    assert max(ours) == 0.1


def test_cosine_without_warmup_is_torchs() -> None:
    theirs = torchs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=50), 50)

    assert rates(50, schedule="cosine", warmup=0.0) == pytest.approx(theirs, rel=1e-6, abs=1e-12)


def test_constant_warms_up_in_equal_steps_and_stays() -> None:
    assert rates(8, schedule="constant", warmup=0.5) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
@pytest.mark.parametrize("total", [1, 2, 3, 17])
def test_rate_is_positive_and_at_most_the_peak_even_in_short_trainings(schedule: str, total: int) -> None:
    for warmup in (0.0, 0.25, 0.99):
        assert all(0 < rate <= 0.1 + 1e-12 for rate in rates(total, schedule=schedule, warmup=warmup))


def test_order_is_a_permutation_of_seed_and_epoch_alone() -> None:
    orders = {(seed, epoch): image_order(seed, epoch, 50) for seed in range(3) for epoch in range(3)}

    assert all(sorted(order.tolist()) == list(range(50)) for order in orders.values())
    assert len({tuple(order.tolist()) for order in orders.values()}) == 9
    assert torch.equal(orders[1, 2], image_order(1, 2, 50))


def test_each_epoch_shows_every_image_once_in_that_order(tmp_path: Path) -> None:
    seen: list[list[int]] = [[], []]
    loop = make_loop(tmp_path / "s", epochs=2)

    def step(indices: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        seen[epoch] += indices.tolist()
        return loop.module(data()[0][indices]).mean(), {}

    loop.run(step, nothing)

    assert seen == [image_order(1, epoch, N).tolist() for epoch in range(2)]


def test_accumulated_batches_equal_one_larger_batch(tmp_path: Path) -> None:
    """A mean over a batch, in a network whose images do not see each other: only the order of additions differs."""
    results = []
    for part, changes in (("many", {"batch_size": 4, "accumulation": 3}), ("one", {"batch_size": 12, "accumulation": 1})):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
        loop = make_loop(tmp_path / part, module, epochs=1, clip_norm=1e6, learning_rate=0.01, **changes)
        means: list[dict[str, float]] = []
        loop.run(fit(loop), lambda epoch, row, means=means: means.append(row))
        results.append((module[1].weight.detach().clone(), means[0]["mse"], means[0]["step"]))

    # Adam divides by the gradient's own size, so roundings of gradients near zero are enlarged.
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-5)
    assert results[0][1:] == pytest.approx(results[1][1:], rel=1e-6)


def test_only_matrices_and_kernels_decay(tmp_path: Path) -> None:
    module = network()
    loop = make_loop(tmp_path / "s", module, weight_decay=0.3)

    decay = {id(p): group["weight_decay"] for group in loop.optimizer.param_groups for p in group["params"]}

    found = {name: decay[id(p)] for name, p in module.named_parameters()}
    assert found == {"0.weight": 0.3, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0, "6.weight": 0.3, "6.bias": 0.0}


def test_frozen_parameters_are_not_trained(tmp_path: Path) -> None:
    module = network()
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    loop = make_loop(tmp_path / "s", module, epochs=1)

    loop.run(fit(loop), nothing)

    assert torch.equal(module[0].weight, before)


def test_gradient_norm_is_clipped_before_the_step(tmp_path: Path) -> None:
    loop = make_loop(tmp_path / "s", epochs=1, clip_norm=0.5)
    norms: list[float] = []
    real = loop.optimizer.step

    def watched() -> None:
        norms.append(torch.stack([p.grad.norm() for p in loop.raw.parameters()]).norm().item())
        real()

    loop.optimizer.step = watched  # type: ignore[method-assign]
    step = fit(loop)

    loop.run(lambda indices, epoch: (1000 * step(indices, epoch)[0], {}), nothing)

    assert norms == pytest.approx([0.5] * 4, rel=1e-4)


def test_more_accumulation_than_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`accumulation` x `batch_size` must be at most the 24 images, got 5 x 6"):
        make_loop(tmp_path / "s", accumulation=5)


def test_loss_that_is_not_finite_is_refused_and_the_last_state_stays(tmp_path: Path) -> None:
    loop = make_loop(tmp_path / "s")
    step = fit(loop)

    with pytest.raises(DistillError, match=r"the loss must stay finite, got nan in epoch 1, step 0"):
        loop.run(lambda indices, epoch: (step(indices, epoch)[0] * (1 if epoch == 0 else float("nan")), {}), nothing)

    tensors, description = read_tensors(tmp_path / "s")
    assert description["epoch"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_weights_that_the_last_step_spoilt_are_never_saved(tmp_path: Path) -> None:
    """A finite loss with an infinite gradient: only the next loss would show it, and after the last step there is none."""
    loop = make_loop(tmp_path / "s", epochs=1, batch_size=N)
    step = fit(loop)
    ended: list[int] = []

    def bad(indices: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = step(indices, epoch)[0]
        return loss + (loss - loss.detach()).sqrt(), {}  # the root of zero: value 0, slope infinite

    with pytest.raises(DistillError, match="the weights must stay finite"):
        loop.run(bad, lambda epoch, means: ended.append(epoch))

    assert ended == []
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("place", "count"),
    [("step", 0), ("step", 5), ("step", 8), ("after_step", 6), ("before_save", 0), ("before_save", 1), ("after_save", 0)],
)
def test_interrupted_and_resumed_ends_in_the_same_bits(place: str, count: int, tmp_path: Path) -> None:
    def run(state: Path, *, killed_in: str = "", after: int = 0, resume: bool = False) -> dict[str, Tensor]:
        loop = make_loop(state)
        assert loop.resume() == (resume and state.is_file())
        torch.manual_seed(99)  # whatever the process did before
        calls = {"step": 0, "after_step": 0, "before_save": 0, "after_save": 0}

        def at(name: str) -> None:
            if name == killed_in and calls[name] == after:
                raise Killed
            calls[name] += 1

        inner = fit(loop)

        def step(indices: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
            at("step")
            if calls["step"] % 4 == 1 and epoch > 0:
                at("after_save")
            return inner(indices, epoch)

        loop.run(step, lambda epoch, means: at("before_save"), after_step=lambda: at("after_step"))
        return {name: tensor.clone() for name, tensor in loop.raw.state_dict().items()}

    whole = run(tmp_path / "whole")

    with pytest.raises(Killed):
        run(tmp_path / "broken", killed_in=place, after=count)
    resumed = run(tmp_path / "broken", resume=True)

    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    first, second = (read_tensors(tmp_path / name)[0] for name in ("whole", "broken"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_state_of_another_student_is_refused_and_not_read_over_its_end(tmp_path: Path) -> None:
    loop = make_loop(tmp_path / "state")
    loop.run(fit(loop), nothing)
    tensors, description = read_tensors(tmp_path / "state")
    moment = next(name for name in tensors if name.endswith("/exp_avg"))
    for name, tensor in ((moment, tensors[moment].flatten()[:1]), ("optimizer/99/exp_avg", tensors[moment])):
        save_tensors(tmp_path / "spoilt", tensors | {name: tensor}, description)
        with pytest.raises(DistillError, match=f"must be of this student, got `{name}`"):
            make_loop(tmp_path / "spoilt").resume()


def test_weights_that_are_a_part_of_a_larger_tensor_are_trained_as_any_others(tmp_path: Path) -> None:
    found = []
    for part in (True, False):
        torch.manual_seed(3)
        module = network()
        for layer in module.modules():
            if part and isinstance(layer, nn.Linear):
                layer.weight = nn.Parameter(torch.cat([layer.weight.data, torch.ones_like(layer.weight)], dim=1)[:, : layer.in_features])
                assert not layer.weight.is_contiguous()
        loop = make_loop(tmp_path / f"state-{part}", module)
        loop.run(fit(loop), nothing)
        found.append(next(layer.weight.detach() for layer in loop.raw.modules() if isinstance(layer, nn.Linear)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


def test_finished_training_resumes_to_nothing(tmp_path: Path) -> None:
    loop = make_loop(tmp_path / "s")
    loop.run(fit(loop), nothing)

    again = make_loop(tmp_path / "s")
    again.resume()
    again.run(lambda indices, epoch: pytest.fail("no epoch is left"), nothing)

    assert all(torch.equal(a, b) for a, b in zip(loop.raw.state_dict().values(), again.raw.state_dict().values(), strict=True))


def test_bf16_trains_and_keeps_float32_weights(tmp_path: Path) -> None:
    loop = make_loop(tmp_path / "s", precision="bf16", epochs=1)
    rows: list[dict[str, float]] = []

    loop.run(fit(loop), lambda epoch, means: rows.append(means))

    assert rows[0]["mse"] > 0
    assert {p.dtype for p in loop.raw.parameters()} == {torch.float32}
