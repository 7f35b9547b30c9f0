"""Train one student on several processes: each embeds its shard of a batch, and all compute the loss of the whole batch.

Losses, their memories and the negatives see every row, as in one process; only the work of the encoder is sharded. Gradients reach the encoder
through the local rows and are summed over processes by torch's DistributedDataParallel, which accelerate sets up.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch import distributed as processes
from torch.autograd.function import FunctionCtx

from distill.distributed.sharding import shard_of
from distill.errors import DistillError

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _AllGather(torch.autograd.Function):
    """All rows in order of ranks; the gradient is that of the local rows, times the world size, since DistributedDataParallel averages it."""

    @staticmethod
    def forward(context: FunctionCtx, local: Tensor, total: int, rank: int, world: int) -> Tensor:  # type: ignore[override]
        sizes = [len(shard_of(total, other, world)) for other in range(world)]
        padded = local.new_zeros(max(sizes), *local.shape[1:])
        padded[: len(local)] = local
        parts = [torch.empty_like(padded) for _ in sizes]
        processes.all_gather(parts, padded)
        context.rows, context.world = shard_of(total, rank, world), world
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(context: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0][context.rows.start : context.rows.stop] * context.world, None, None, None


def gather(local: Tensor, total: int, rank: int, world: int) -> Tensor:
    """Gather the rows that each process has computed, with gradient.

    Args:
        local: rows of this process, `shard_of(total, rank, world)`, shape (n, ...).
        total: rows of all processes N.
        rank: of this process.
        world: number of processes.

    Returns:
        Shape (N, ...), the same in every process.
    """
    return _AllGather.apply(local, total, rank, world)  # type: ignore[no-any-return, no-untyped-call]


class _AllReduceSum(torch.autograd.Function):
    """Sum over processes; every process's loss depends on the sum, so gradients are summed too."""

    @staticmethod
    def forward(context: FunctionCtx, part: Tensor) -> Tensor:  # type: ignore[override]
        whole = part.clone()
        processes.all_reduce(whole)
        return whole

    @staticmethod
    def backward(context: FunctionCtx, *gradients: Tensor) -> Tensor:
        whole = gradients[0].contiguous().clone()
        processes.all_reduce(whole)
        return whole


class SyncBatchNorm(nn.BatchNorm2d):
    """torch's `SyncBatchNorm` for any device and inputs of any rank: mean and variance are those of the rows of all processes.

    torch's own needs a GPU. In eval mode it is a plain batch norm.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # stands for the 1d and 3d layers too
        return

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (n, C, ...) by mean and variance over the rows of all processes and all places."""
        if not self.training:
            return super().forward(input)
        axes, shape = [0, *range(2, input.ndim)], [1, -1, *[1] * (input.ndim - 2)]
        wide = input.float()
        count = wide.new_tensor(wide.numel() / wide.shape[1])
        processes.all_reduce(count)
        mean = _AllReduceSum.apply(wide.sum(axes)) / count  # type: ignore[no-untyped-call]
        centred = wide - mean.view(shape)
        variance = _AllReduceSum.apply(centred.square().sum(axes)) / count  # type: ignore[no-untyped-call]
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
                share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * count / (count - 1), share)
        scaled = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            scaled = scaled * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(input.dtype)


def convert_sync_batchnorm(encoder: nn.Module) -> None:
    """Convert an encoder's batch norms to `SyncBatchNorm` in place; weights and their names stay.

    Args:
        encoder: of a student.

    Raises:
        DistillError: for batch norms of another class than torch's own.
    """
    for name, layer in encoder.named_modules():
        if not isinstance(layer, (*BATCH_NORMS, nn.SyncBatchNorm)):
            continue
        if type(layer) not in BATCH_NORMS:
            raise DistillError(
                f"batch norms of a student must be torch's own under a launcher, got {type(layer).__name__} at `{name}`; "
                "train it in one process, or take a student without it."
            )
        layer.__class__ = SyncBatchNorm
