"""An encoder as the kind of model that captum explains: one cosine an image, and, where a method asks for a layer, one feature map NCHW."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probes.attribution.methods.spatial_layers import SpatialLayer, first_tensor

if TYPE_CHECKING:
    from probes.probe_input import Encode


class CosineModel(nn.Module):
    """f(x) = scale * cos(z(x), direction), with a module `spot` through which the feature map of a layer passes as NCHW.

    Captum's layer methods average over places and add up channels where a convolution has them. Tokens and NHWC maps are therefore
    rearranged before `spot` and put back behind it, so that `spot` can be explained whatever the network is.

    Args:
        encode: the encoder; hooks are put on it, so it must be a copy where `layer` is given or the method hooks modules.
        layer: layer of `encode` to pass through `spot`, or None.
    """

    def __init__(self, encode: Encode, layer: SpatialLayer | None = None) -> None:
        super().__init__()
        self.encode = encode
        self.scale = 1.0
        self.direction: Tensor | None = None
        if layer is not None:
            self.spot = nn.AvgPool2d(1)  # changes nothing, and captum's LRP has a rule for it
            self.layer = layer
            self._pass_through_spot()

    def forward(self, images: Tensor, directions: Tensor | None = None) -> Tensor:
        """Compute the scaled cosine of each image's embedding with its direction, (B,).

        Args:
            images: (B, 3, H, W) in [0, 1].
            directions: (B, D), or None for `self.direction` (1, D) of all images, or where that is None too, for the first axis.
        """
        unit = F.normalize(self.encode(images).float(), dim=-1)
        chosen = self.direction if directions is None else directions
        return self.scale * (unit[:, 0] if chosen is None else (unit * chosen).sum(dim=-1))

    def _pass_through_spot(self) -> None:
        module = dict(self.encode.named_modules())[self.layer.name]  # type: ignore[attr-defined]

        def replace_output(_module: nn.Module, args: Any, output: Any) -> Any:
            return with_first_tensor(output, self._through(first_tensor(output)))

        def replace_input(_module: nn.Module, args: Any, named: Any) -> Any:
            return with_first_tensor((args, named), self._through(first_tensor((args, named))))

        if self.layer.side == "output":
            module.register_forward_hook(replace_output)
        else:
            module.register_forward_pre_hook(replace_input, with_kwargs=True)

    def _through(self, features: Tensor | None) -> Tensor:
        if features is None:
            raise ValueError(f"`{self.layer.name}` must hand on a tensor, got none; use integrated_gradients.")
        shape = self.layer.shape
        grid = self.spot(shape.to_nchw(features))
        if shape.layout == "nchw":
            return grid
        if shape.layout == "nhwc":
            return grid.permute(0, 2, 3, 1)
        return torch.cat([features[:, : shape.prefix], grid.flatten(2).transpose(1, 2)], dim=1)


def private_copy(encode: nn.Module) -> nn.Module:
    """Copy an encoder for methods that hook its modules or change its weights, with every in-place activation made an ordinary one.

    Captum's hooks cannot follow a value that is overwritten, and an error inside captum may leave hooks behind: they die with the copy.
    """
    twin = copy.deepcopy(encode)
    for module in twin.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    return twin


class _Flatten(nn.Module):
    """`nn.Flatten` with a child, so that LRP does not take it for a layer that needs a rule: a gradient passes it unchanged."""

    def __init__(self, flatten: nn.Flatten) -> None:
        super().__init__()
        self.start, self.end, self.child = flatten.start_dim, flatten.end_dim, nn.Dropout(0.0).eval()

    def forward(self, values: Tensor) -> Tensor:
        return self.child(values.flatten(self.start, self.end))


def replace_identities(model: nn.Module) -> None:
    """Replace each `nn.Identity` and `nn.Flatten`, which change no value, by modules that captum's LRP lets pass."""
    for module in model.modules():
        for name, child in list(module.named_children()):
            if type(child) is nn.Identity:
                setattr(module, name, nn.Dropout(0.0).eval())
            elif type(child) is nn.Flatten:
                setattr(module, name, _Flatten(child))


def with_first_tensor(value: Any, tensor: Tensor) -> Any:
    """Return what a module takes or gives with its first tensor (see `first_tensor`) replaced.

    Args:
        value: a tensor, or tuples, lists and mappings that hold one.
        tensor: what takes its place.
    """
    if isinstance(value, Tensor):
        return tensor
    if isinstance(value, (tuple, list)):
        at = next(place for place, part in enumerate(value) if first_tensor(part) is not None)
        parts = [with_first_tensor(part, tensor) if place == at else part for place, part in enumerate(value)]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    changed = copy.copy(value)
    key = next(key for key in value if first_tensor(value[key]) is not None)
    changed[key] = with_first_tensor(value[key], tensor)
    return changed
