"""Find the last feature map of any network that still has places in it, without being report_progress where it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn

Layout = Literal["nchw", "nhwc", "tokens"]
Side = Literal["output", "input"]

MOST_PREFIX_TOKENS = 64
"""Class and register tokens in front of the patches; the published models have at most 17."""
_WORST_ASPECT = 0.7
"""A grid more than twice as long as the image is no grid (natural log of the ratio of aspects)."""


@dataclass(frozen=True)
class Shape:
    """How a tensor holds places: NCHW, NHWC, or tokens (N, prefix + h * w, C)."""

    layout: Layout
    grid: tuple[int, int]
    channels: int
    prefix: int = 0

    def to_nchw(self, features: Tensor) -> Tensor:
        """Rearrange features of this layout to (N, C, h, w)."""
        if self.layout == "nchw":
            return features
        if self.layout == "nhwc":
            return features.permute(0, 3, 1, 2)
        return features[:, self.prefix :].transpose(1, 2).unflatten(2, self.grid)


@dataclass(frozen=True)
class SpatialLayer:
    """A feature map of a network and the module at which it is recorded.

    Args:
        name: dotted name of the module.
        module: the module.
        side: whether the map is what the module gives or what it takes.
        shape: layout and grid of the map.
    """

    name: str
    module: nn.Module
    side: Side
    shape: Shape

    @contextmanager
    def caught(self) -> Iterator[list[Tensor]]:
        """Collect the feature maps of forward passes made inside the block, as they are (see `Shape.to_nchw`); the hook is removed."""
        outputs: list[Tensor] = []

        def keep_output(module: nn.Module, args: Any, output: Any) -> None:
            outputs.append(first_tensor(output))  # type: ignore[arg-type]

        def keep_input(module: nn.Module, args: Any, named: Any) -> None:
            outputs.append(first_tensor((args, named)))  # type: ignore[arg-type]

        hook = (
            self.module.register_forward_hook(keep_output)
            if self.side == "output"
            else self.module.register_forward_pre_hook(keep_input, with_kwargs=True)
        )
        try:
            yield outputs
        finally:
            hook.remove()


@dataclass
class Call:
    """The input and output of one module in a forward pass."""

    order: int
    input: Tensor | None
    output: Tensor | None


@dataclass
class Trace:
    """Inputs and outputs of every module of a network for a few images, and the tensors that the embedding depends on.

    Args:
        calls: dotted name -> its last call.
        children: dotted name -> names of its direct children.
        image_size: (H, W) of the images.
        depends: `id` of a tensor -> its gradient, of some direction in embedding space.
        numbers: activations of one image, all modules together: a measure of the memory that gradients take.
        differentiable: whether the embedding depends on the pixels by gradients at all.
    """

    calls: dict[str, Call]
    children: dict[str, list[str]]
    image_size: tuple[int, int]
    depends: dict[int, Tensor] = field(default_factory=dict)
    numbers: int = 0
    differentiable: bool = False

    def shape(self, tensor: Tensor | None) -> Shape | None:
        """Read the layout of a tensor, or None where it holds no places. Tensors of three channels are images and not features."""
        if tensor is None or not tensor.is_floating_point() or tensor.ndim not in (3, 4):
            return None
        shape = self._grid(tensor) if tensor.ndim == 4 else self._tokens(tensor)
        return shape if shape is not None and shape.channels > 3 and math.prod(shape.grid) > 1 else None

    def _grid(self, tensor: Tensor) -> Shape | None:
        _, a, b, c = tensor.shape
        height, width = self.image_size

        def misfit(h: int, w: int) -> float:
            aspect = math.log(h / w)
            return min(abs(aspect - math.log(height / width)), abs(aspect))  # an encoder may make its images square

        if 0 in (a, b, c) or min(misfit(b, c), misfit(a, b)) > _WORST_ASPECT:
            return None
        return Shape("nchw", (b, c), a) if misfit(b, c) <= misfit(a, b) else Shape("nhwc", (a, b), c)

    def _tokens(self, tensor: Tensor) -> Shape | None:
        """Split tokens into prefix and patches by the grid of the convolution that made the patches, else by the largest square."""
        _, tokens, channels = tensor.shape
        grids = [self._grid(call.output) for call in self._in_order() if call.output is not None and call.output.ndim == 4]
        for shape in reversed(grids):
            if shape is not None and shape.layout == "nchw" and 0 <= tokens - math.prod(shape.grid) <= MOST_PREFIX_TOKENS:
                return Shape("tokens", shape.grid, channels, tokens - math.prod(shape.grid))
        side = math.isqrt(tokens)
        return Shape("tokens", (side, side), channels, tokens - side**2) if tokens - side**2 <= MOST_PREFIX_TOKENS else None

    def _in_order(self) -> list[Call]:
        return sorted(self.calls.values(), key=lambda call: call.order)

    def usable(self, tensor: Tensor | None, at_least: int) -> Shape | None:
        """Return the shape of a feature map of at least so many cells a side, on more than one cell of which the embedding depends."""
        shape = self.shape(tensor)
        if shape is None or min(shape.grid) < at_least or id(tensor) not in self.depends:
            return None
        strength = shape.to_nchw(self.depends[id(tensor)]).abs().amax(dim=(0, 1))  # (h, w)
        return shape if int((strength > 0).sum()) > 1 else None


def first_tensor(value: Any) -> Tensor | None:
    """Find the first tensor in what a module takes or gives: a tensor, or tuples, lists and mappings of such."""
    from torch import Tensor

    if isinstance(value, Tensor):
        return value
    parts = value.values() if hasattr(value, "values") else value if isinstance(value, (tuple, list)) else ()
    return next((tensor for part in parts if (tensor := first_tensor(part)) is not None), None)


def trace(module: nn.Module, images: Tensor) -> Trace:
    """Run a few images through a network and record the input and output of every module.

    Args:
        module: in eval mode, images (B, 3, H, W) -> (B, D); gradients must be allowed.
        images: (B, 3, H, W) float in [0, 1]; two are enough.
    """
    import torch

    names = dict(module.named_modules())
    traced = Trace({}, {name: [] for name in names}, (int(images.shape[-2]), int(images.shape[-1])))
    for name in names:
        if name:
            traced.children[name.rpartition(".")[0]].append(name)
    keep: list[Any] = []

    def watch(name: str) -> Any:
        def hook(_module: nn.Module, args: Any, named: Any, output: Any) -> None:
            traced.calls[name] = Call(len(keep), first_tensor((args, named)), first_tensor(output))
            keep.append(None)

        return hook

    hooks = [child.register_forward_hook(watch(name), with_kwargs=True) for name, child in names.items()]
    try:
        pixels = images.detach().clone().requires_grad_()
        embedding = module(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    traced.numbers = sum(call.output.numel() for call in traced.calls.values() if call.output is not None) // len(images)
    if not embedding.requires_grad:
        return traced
    direction = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(0)).to(embedding)
    tensors = {id(tensor): tensor for call in traced.calls.values() for tensor in (call.input, call.output) if tensor is not None}
    wanted = [tensor for tensor in tensors.values() if tensor.requires_grad]
    *gradients, pixel_gradient = torch.autograd.grad((embedding * direction).sum(), [*wanted, pixels], allow_unused=True)
    traced.depends = {id(tensor): gradient for tensor, gradient in zip(wanted, gradients, strict=True) if gradient is not None}
    traced.differentiable = pixel_gradient is not None and bool(torch.isfinite(pixel_gradient).all()) and bool(pixel_gradient.any())
    return traced


def last_spatial_layer(module: nn.Module, traced: Trace, *, at_least: int = 4) -> SpatialLayer | None:
    """Find the last feature map with places: NCHW, NHWC (Swin) or tokens behind class and register tokens (ViT).

    From the end of the network towards its start, and from the outside in. A map on whose places the embedding no longer depends
    (the patches after the last block of a ViT that is read from its class token) or that is too coarse is not taken; then what went
    into the module that made it is looked at. Inside such a module only a child is entered that gives the very same tensor, so that
    queries, keys and other side paths are never mistaken for the stream.

    Args:
        module: the network that was traced.
        traced: its trace.
        at_least: cells a side.

    Returns:
        The layer, or None where there is none.
    """
    return _Search(module, traced, at_least).at("") if "" in traced.calls else None


class _Search:
    """The walk from the end of a network to its last usable map."""

    def __init__(self, module: nn.Module, traced: Trace, at_least: int) -> None:
        self.modules, self.traced, self.at_least = dict(module.named_modules()), traced, at_least
        self.been: set[str] = set()

    def at(self, name: str) -> SpatialLayer | None:
        """Search what a module gives, then its children, then what it takes, then what made that."""
        if name in self.been:
            return None
        self.been.add(name)
        call = self.traced.calls[name]
        usable = self.traced.usable
        if (shape := usable(call.output, self.at_least)) and not (self._is_linear(name) and usable(call.input, self.at_least)):
            return SpatialLayer(name, self.modules[name], "output", shape)
        spatial = self.traced.shape(call.output) is not None
        for child in self._executed(name):
            if (not spatial or self.traced.calls[child].output is call.output) and (layer := self.at(child)):
                return layer
        maker = self._maker(call)
        if shape := usable(call.input, self.at_least):
            return SpatialLayer(*((name, self.modules[name], "input") if maker is None else (maker, self.modules[maker], "output")), shape)
        return self.at(maker) if spatial and maker is not None else None

    def _executed(self, name: str) -> list[str]:
        """List the children that took part, last first; a container that is not itself called (ModuleList) is looked through."""
        executed = [
            inner for child in self.traced.children[name] for inner in ([child] if child in self.traced.calls else self._executed(child))
        ]
        return sorted(executed, key=lambda child: -self.traced.calls[child].order)

    def _maker(self, call: Call) -> str | None:
        """Name the outermost module that gave the very tensor which this call took."""
        makers = [
            (other.order, name) for name, other in self.traced.calls.items() if other.output is call.input and other.order < call.order
        ]
        return max(makers)[1] if makers and call.input is not None else None

    def _is_linear(self, name: str) -> bool:
        """A linear map of tokens, such as keys and values of a pooling, adds nothing to the tokens it takes."""
        from torch import nn

        return isinstance(self.modules[name], nn.Linear)
