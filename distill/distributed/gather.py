"""One student trained by several processes: each embeds its share of a batch, and all compute the loss of the whole batch.

Losses, their memories and the negatives see every row, as in one process; what is divided is the work of the encoder. Gradients reach it through
a process's own rows and are summed over processes by torch's DistributedDataParallel, which accelerate sets up.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as processes

from distill.distributed.sharding import shard_of
from distill.errors import DistillError

REPLACED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _Gather(torch.autograd.Function):
    """Rows of all processes, in order; the gradient is that of the own rows, times the number of processes, since it is averaged later."""

    @staticmethod
    def forward(context: Any, own: Tensor, total: int, rank: int, world: int) -> Tensor:  # type: ignore[override]
        sizes = [len(shard_of(total, place, world)) for place in range(world)]
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        processes.all_gather(parts, padded)
        context.rows, context.world = shard_of(total, rank, world), world
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0][context.rows.start : context.rows.stop] * context.world, None, None, None


def gather(own: Tensor, total: int, rank: int, world: int) -> Tensor:
    """Join the rows that each process has computed.

    Args:
        own: rows of this process, `shard_of(total, rank, world)`, shape (n, ...).
        total: rows of all processes N.
        rank: number of this process.
        world: number of processes.

    Returns:
        Shape (N, ...), the same in every process.
    """
    return _Gather.apply(own, total, rank, world)  # type: ignore[no-any-return, no-untyped-call]


class _Sum(torch.autograd.Function):
    """Sum over processes; every process's loss depends on the sum, so gradients are summed too."""

    @staticmethod
    def forward(context: Any, part: Tensor) -> Tensor:  # type: ignore[override]
        whole = part.clone()
        processes.all_reduce(whole)
        return whole

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].contiguous().clone()
        processes.all_reduce(whole)
        return whole


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the rows of all processes, on any device, for inputs of any rank; torch's `SyncBatchNorm` needs a GPU.

    In eval mode it is a plain batch norm.
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
        mean = _Sum.apply(wide.sum(axes)) / count  # type: ignore[no-untyped-call]
        centred = wide - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(axes)) / count  # type: ignore[no-untyped-call]
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


def share_batch_norms(encoder: nn.Module) -> None:
    """Make an encoder's batch norms look at the rows of all processes, in place; weights and their names stay.

    Raises:
        DistillError: for layers that look at the whole batch in a way of their own.
    """
    for name, layer in encoder.named_modules():
        if not isinstance(layer, (*REPLACED, nn.SyncBatchNorm)):
            continue
        if type(layer) not in REPLACED:
            raise DistillError(
                f"batch norms of a student must be torch's own under a launcher, got {type(layer).__name__} at `{name}`; "
                "train it in one process, or take a student without it."
            )
        layer.__class__ = SharedBatchNorm
