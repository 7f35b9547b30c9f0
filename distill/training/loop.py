"""The training loop that teachers and students share: seeded order, schedule, precision, checkpoints, exact resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, nn

from distill.distributed.gather import convert_sync_batchnorm, gather
from distill.distributed.rendezvous import SCHEME
from distill.distributed.sharding import rank_and_world_size, shard_of
from distill.errors import DistillError
from distill.models.checkpoint import read_tensors, save_tensors
from distill.system.allocator import keep_freed_memory

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.progress import Progress


COLLECTIVE_TIMEOUT = timedelta(days=2)
"""How long a collective operation waits for the other processes: the first one may embed a whole training set meanwhile."""


class TrainingConfig(BaseModel):
    """Length, speed and precision of a training, the same for all students of a comparison."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(12, ge=1)
    batch_size: int = Field(256, ge=2)
    accumulation: int = Field(1, ge=1, description="batches summed into one step; negatives stay within one batch")
    optimizer: Literal["adamw", "sgd"] = "adamw"
    betas: tuple[float, float] = Field((0.9, 0.999), description="of AdamW; the first is the momentum of SGD")
    epsilon: float = Field(1e-8, gt=0, description="of AdamW")
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0, description="on matrices and kernels only")
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: float = Field(0.25, ge=0, lt=1, description="share of the steps spent warming up")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 where the processor has it")
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = Field((), description="where metrics go beside metrics.jsonl")

    @field_validator("betas")
    @classmethod
    def _shares(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError(f"must be in [0, 1), got {value}")
        return value


def make_accelerator(precision: str) -> Accelerator:
    """Make the accelerator, for this process or for all that a launcher has started; `auto` takes bf16 where the processor has it.

    Raises:
        DistillError: when the processes of a launcher do not find each other.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

    if precision == "auto":
        has_bf16 = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else torch.ops.mkldnn._is_mkldnn_bf16_supported()
        precision = "bf16" if has_bf16 else "fp32"
    keep_freed_memory()
    # accelerate keeps one global state a process and refuses another precision later on.
    AcceleratorState._reset_state()
    # Running statistics are equal everywhere already; the others wait while the first process embeds a training set with the teacher.
    group = InitProcessGroupKwargs(init_method=f"{SCHEME}://", timeout=COLLECTIVE_TIMEOUT)
    handlers = [DistributedDataParallelKwargs(broadcast_buffers=False), group]
    on_cpu = rank_and_world_size()[1] > 1 and not torch.accelerator.is_available()  # accelerate does not look by itself
    return Accelerator(cpu=on_cpu, mixed_precision="bf16" if precision == "bf16" else "no", kwargs_handlers=handlers)


def learning_rate(step: int, total: int, config: TrainingConfig) -> float:
    """Compute the learning rate of a step: linear warm-up, then cosine to zero, or flat.

    `one_cycle` starts at 1/25 of the peak and warms up along a cosine.

    Args:
        step: from 0.
        total: number of steps of the training.
        config: peak, schedule and warm-up.

    Source: Smith & Topin (2018), as in torch's OneCycleLR.
    """
    warmup_steps = max(1, int(config.warmup * total)) if config.warmup else 0
    peak = config.learning_rate
    if step < warmup_steps:
        share = step / warmup_steps
        return (
            peak * (1 / 25 + 24 / 25 * (1 - math.cos(math.pi * share)) / 2)
            if config.schedule == "one_cycle"
            else peak * (step + 1) / warmup_steps
        )
    if config.schedule == "constant":
        return peak
    return peak * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, total - warmup_steps))) / 2


def image_order(seed: int, epoch: int, n: int) -> Tensor:
    """Draw the order of images in an epoch, the same for every student of a seed.

    Args:
        seed: of the student.
        epoch: from 0.
        n: number of images.

    Returns:
        A permutation, int64, shape (n,).
    """
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def _optimizer(groups: list[dict[str, Any]], config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.betas[0])
    # The fused step goes through the memory of weight, gradient and moments side by side and takes no other layouts.
    fused = all(_is_dense(parameter) for group in groups for parameter in group["params"])
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.epsilon, fused=fused)


def _is_dense(parameter: Tensor) -> bool:
    laid_out = parameter.is_contiguous() or (parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last))
    return parameter.is_floating_point() and laid_out


def _with_layout_of(learning: Sequence[Tensor], index: int, tensor: Tensor, name: str) -> Tensor:
    """Copy a moment into the memory layout of its parameter, which the fused step needs.

    Raises:
        DistillError: when it is the moment of another parameter.
    """
    if not 0 <= index < len(learning) or learning[index].shape != tensor.shape:
        shapes = f"shape {tuple(tensor.shape)}" + (f" for {tuple(learning[index].shape)}" if 0 <= index < len(learning) else "")
        raise DistillError(f"the saved state must be of this student, got `{name}` of {shapes}; start the student anew without --resume.")
    return torch.empty_like(learning[index]).copy_(tensor)


class Loop:
    """Train one module; killed anywhere and resumed, it ends in the same bits.

    Args:
        module: everything that learns.
        config: length, speed, precision.
        n: number of images.
        seed: seed of the order and of the module's own randomness.
        accelerator: from `make_accelerator`.
        state: file for resuming, rewritten after each epoch.
        encoder: the part of `module` that embeds images, whose work is sharded over processes; without one there may be one process only.

    Raises:
        DistillError: under a launcher, for a module whose work is not shared.
        ValueError: for fewer images than a step takes.
    """

    def __init__(
        self,
        module: nn.Module,
        config: TrainingConfig,
        *,
        n: int,
        seed: int,
        accelerator: Accelerator,
        state: Path,
        encoder: nn.Module | None = None,
    ) -> None:
        self.config = config
        self.n = n
        self.seed = seed
        self.accelerator = accelerator
        self.state = state
        self.batch_size = min(config.batch_size, n)
        self.steps = (n // self.batch_size) // config.accumulation
        if self.steps == 0:
            raise ValueError(
                f"`accumulation` x `batch_size` must be at most the {n} images, got {config.accumulation} x {self.batch_size}; lower one of them."
            )
        self.raw = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        decayed = [p for p in module.parameters() if p.ndim > 1 and p.requires_grad]
        plain = [p for p in module.parameters() if p.ndim <= 1 and p.requires_grad]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        optimizer = _optimizer(groups, config)
        if self.world == 1:
            self.module, self.optimizer = accelerator.prepare(module, optimizer)
            self.embed: nn.Module = self.module
        elif encoder is None or self.world > self.batch_size:
            raise DistillError(
                f"this training must run in {'one process' if encoder is None else f'at most {self.batch_size} processes'}, got {self.world}; "
                "start it without a launcher."
            )
        else:
            convert_sync_batchnorm(encoder)
            self.module = module.to(accelerator.device)
            self.embed, self.optimizer = accelerator.prepare(encoder, optimizer)
        self.epoch = 0

    def share(self, rows: Tensor) -> Tensor:
        """Return the shard of a batch that this process embeds."""
        shard = shard_of(len(rows), self.rank, self.world)
        return rows[shard.start : shard.stop]

    def gather(self, local: Tensor, total: int) -> Tensor:
        """Gather the embeddings of a batch over processes, with gradient.

        Args:
            local: rows of this process, shape (n, D).
            total: rows of the batch.
        """
        return local if self.world == 1 else gather(local, total, self.rank, self.world)

    def resume(self) -> bool:
        """Load the saved state where there is one; return whether there was."""
        if not self.state.is_file():
            return False
        tensors, description = read_tensors(self.state)
        self.raw.load_state_dict({name.removeprefix("module/"): t for name, t in tensors.items() if name.startswith("module/")})
        state = self.optimizer.state_dict()
        state["state"] = {}
        learning = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, index, key = name.split("/")
                state["state"].setdefault(int(index), {})[key] = (
                    tensor if key == "step" else _with_layout_of(learning, int(index), tensor, name)
                )
        self.optimizer.load_state_dict(state)
        self.epoch = int(description["epoch"])
        return True

    def run(
        self,
        step: Callable[[Tensor, int], tuple[Tensor, dict[str, Tensor]]],
        after_epoch: Callable[[int, dict[str, float]], None],
        *,
        after_step: Callable[[], None] = lambda: None,
        progress: Progress | None = None,
        label: str = "training",
    ) -> None:
        """Run the epochs that are left.

        Args:
            step: (row indices, epoch) -> (loss to minimise, terms for the log).
            after_epoch: is given the epoch that ended and its mean terms; called before the state is saved, so that
                whatever it writes is written again, equal, after a kill in between.
            after_step: called after each optimiser step, such as to clamp a parameter.
            progress: rich progress to show, or None.
            label: what the progress says.

        Raises:
            DistillError: when the loss or a weight is not finite; the last saved state stays.
        """
        task = progress.add_task(label, total=self.config.epochs * self.steps, completed=self.epoch * self.steps) if progress else None
        while self.epoch < self.config.epochs:
            # Dropout and its kin draw from the global generator: an epoch's draws must not depend on earlier ones.
            torch.manual_seed(self.seed * 1_000_003 + 500_000 + self.epoch)
            order = image_order(self.seed, self.epoch, self.n)
            self.module.train()
            sums: dict[str, float] = {}
            start = time.perf_counter()
            for number in range(self.steps):
                for name, value in self._step(step, order, number).items():
                    sums[name] = sums.get(name, 0.0) + value
                after_step()
                if progress is not None and task is not None:
                    progress.advance(task)
            seconds = time.perf_counter() - start
            self._refuse_divergence()
            means = {name: value / self.steps for name, value in sums.items()}
            means["images_per_second"] = self.steps * self.config.accumulation * self.batch_size / seconds
            means["step"] = (self.epoch + 1) * self.steps
            after_epoch(self.epoch, means)
            self.epoch += 1
            self._save()
        if progress is not None and task is not None:
            progress.remove_task(task)

    def _refuse_divergence(self) -> None:
        """Keep weights that a last bad gradient has spoilt out of every checkpoint: the loss would show it only at the next step."""
        for name, tensor in self.raw.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise DistillError(
                    f"the weights must stay finite, got NaN or infinity in `{name}` after epoch {self.epoch}; "
                    "lower `learning_rate`, or set `precision` to fp32."
                )

    def _step(self, step: Callable[[Tensor, int], tuple[Tensor, dict[str, Tensor]]], order: Tensor, number: int) -> dict[str, float]:
        total = self.config.epochs * self.steps
        rate = learning_rate(self.epoch * self.steps + number, total, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sums: dict[str, float] = {}
        for part in range(self.config.accumulation):
            first = (number * self.config.accumulation + part) * self.batch_size
            loss, terms = step(order[first : first + self.batch_size], self.epoch)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise DistillError(
                    f"the loss must stay finite, got {value} in epoch {self.epoch}, step {number}; lower `learning_rate` or the temperature's inverse."
                )
            self.accelerator.backward(loss / self.config.accumulation)
            for name, term in {"loss": value, **{n: float(t) for n, t in terms.items()}}.items():
                sums[name] = sums.get(name, 0.0) + term / self.config.accumulation
        self.accelerator.clip_grad_norm_(self.module.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return sums

    def _save(self) -> None:
        if self.rank:
            return
        tensors: dict[str, Tensor] = {f"module/{name}": tensor for name, tensor in self.raw.state_dict().items()}
        state: dict[int, dict[str, Any]] = self.optimizer.state_dict()["state"]
        for index, entries in state.items():
            tensors |= {f"optimizer/{index}/{key}": torch.as_tensor(value) for key, value in entries.items()}
        save_tensors(self.state, tensors, {"epoch": self.epoch})
