"""Every attribution method of `captum.attr` that explains one number of an image, by its name there, through captum's public interface."""

from __future__ import annotations

import difflib
import functools
import inspect
import random
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from probes.attribution.methods.differentiable import AttributionTarget, UnavailableMethodError
from probes.attribution.methods.preserved_state import undisturbed

if TYPE_CHECKING:
    from torch import Tensor

    from probes.attribution.methods.captum_model import CosineModel

PREFIX = "captum:"
TUNNEL = "NoiseTunnel:"
"""`captum:NoiseTunnel:Saliency` is captum's NoiseTunnel around Saliency."""
GRID = 8
"""Cells a side that the methods of perturbation cover as a whole: 64 features an image, whatever its size."""
EXACT_GRID = 2
"""Cells a side for exact Shapley values, which need a pass for every order of the cells."""
PASSES = 512
"""Forward passes that a sampling method may take an image."""
NOISE_SAMPLES = 8
NOISE = 0.1
"""Standard deviation of NoiseTunnel's noise; pixels are in [0, 1]."""
BRIGHTNESS = (-0.2, -0.1, 0.0, 0.1, 0.2)
"""Shifts of the baseline colour for methods that ask for a distribution of baselines."""

_CONSTRUCTOR = {"forward_func", "model", "layer"}
_ATTRIBUTE = {"inputs", "baselines", "sliding_window_shapes"}
_MASKS = {"feature_mask", "layer_mask", "sliding_window_shapes"}


@dataclass(frozen=True)
class CaptumMethod:
    """A method of captum, and what its signatures say that it needs.

    Args:
        kind: the class of `captum.attr`.
        tunnel: whether NoiseTunnel is put around it.
    """

    kind: Any
    tunnel: bool

    @property
    def constructor(self) -> frozenset[str]:
        """Names of what the constructor takes."""
        return frozenset(_parameters(self.kind.__init__))

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """What `attribute` takes."""
        return _parameters(self.kind.attribute)

    @property
    def has_distribution(self) -> bool:
        """Whether it asks for several baselines."""
        return "baselines" in _required(self.kind.attribute)

    @property
    def is_single(self) -> bool:
        """Whether each image is explained by itself: a method that draws samples would give it another map in another batch."""
        return self.tunnel or self.has_distribution or "n_samples" in self.parameters

    @property
    def covers(self) -> bool:
        """Whether it covers cells, so that all channels of a cell have the same value."""
        return not _MASKS.isdisjoint(self.parameters)


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    kept = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: p for name, p in inspect.signature(function).parameters.items() if name != "self" and p.kind in kept}


def _required(function: Any) -> set[str]:
    return {name for name, parameter in _parameters(function).items() if parameter.default is inspect.Parameter.empty}


@functools.cache
def captum_kinds() -> dict[str, Any]:
    """Find the classes of `captum.attr` that explain one number of one image, by name.

    Left out by what their signatures ask for: methods of language models, of single neurons, bases, and what has no target to explain
    (LayerActivation). Left out by class: permutation of features among the images of a batch, which gives an image another map in
    another batch.
    """
    from captum import attr

    kinds = {}
    for name in attr.__all__:
        kind = getattr(attr, name)
        attribute = getattr(kind, "attribute", None)
        if not (inspect.isclass(kind) and issubclass(kind, attr.Attribution) and callable(attribute)):
            continue
        fits = _required(kind.__init__) <= _CONSTRUCTOR and _required(attribute) <= _ATTRIBUTE and "target" in _parameters(attribute)
        if fits and not issubclass(kind, (attr.FeaturePermutation, attr.NeuronAttribution)):
            kinds[name] = kind
    return kinds


def captum_names() -> list[str]:
    """List the names of captum's methods, `captum:NAME` and `captum:NoiseTunnel:NAME`, in alphabetical order."""
    kinds = sorted(captum_kinds())
    return [PREFIX + name for name in kinds] + [PREFIX + TUNNEL + name for name in kinds]


def near_captum_names(name: str) -> list[str]:
    """List the names of captum's methods that are nearest to a name, with or without the prefix, at most three.

    Args:
        name: the unknown name.
    """
    plain = {full.removeprefix(PREFIX).casefold(): full for full in captum_names()}
    bare = name.removeprefix(PREFIX).replace("(", ":").rstrip(")").casefold()
    return [plain[close] for close in difflib.get_close_matches(bare, plain, n=3)]


def captum_method(name: str) -> CaptumMethod:
    """Look up a method of captum.

    Args:
        name: `captum:NAME` or `captum:NoiseTunnel:NAME`.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    bare = name.removeprefix(PREFIX)
    kind = captum_kinds().get(bare.removeprefix(TUNNEL))
    if kind is None:
        near = near_captum_names(name) or [PREFIX + known for known in sorted(captum_kinds())]
        raise ValueError(
            f"`method` must be {PREFIX}NAME or {PREFIX}{TUNNEL}NAME with a method of captum.attr, got {name!r}; choose {' or '.join(near)}."
        )
    return CaptumMethod(kind, bare.startswith(TUNNEL))


def captum_attribution(encoder: AttributionTarget, name: str, images: Tensor, directions: Tensor) -> Tensor:
    """Attribute with a method of captum.

    Args:
        encoder: the encoder and its settings: baseline, steps, window.
        name: `captum:NAME` or `captum:NoiseTunnel:NAME`.
        images: (B, 3, H, W).
        directions: (S, B, D).

    Returns:
        (S, B, H, W). Gradients are summed over colours; values of covered cells are given to each of their pixels; maps of a layer are
        summed over channels and enlarged.

    Raises:
        UnavailableMethodError: when this encoder lacks what the method needs, with captum's reason.
    """
    import torch

    method = captum_method(name)
    _check_encoder(encoder, method)
    maps = torch.zeros((len(directions), len(images), *images.shape[-2:]))
    together = 1 if method.is_single else max(1, encoder.points // 4)
    with undisturbed(encoder.encode), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum tells of the hooks that it sets and removes
        try:
            model = _model(encoder, method)
            for number, direction in enumerate(directions):
                for start in range(0, len(images), together):
                    part = slice(start, start + together)
                    _seed()
                    maps[number, part] = _maps(encoder, method, model, images[part].clone(), direction[part])
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # each of captum's methods raises kinds of its own
            raise UnavailableMethodError(name, _reason(error)) from error
    return maps


def _check_encoder(encoder: AttributionTarget, method: CaptumMethod) -> None:
    """Raise for what can be known before captum is asked."""
    from captum import attr
    from torch import nn

    name = PREFIX + (TUNNEL if method.tunnel else "") + method.kind.__name__
    if "layer" in method.constructor and "grad_cam" in encoder.unavailable:
        raise UnavailableMethodError(name, encoder.unavailable["grad_cam"])
    needs_module = not method.constructor.isdisjoint({"model", "layer"}) or issubclass(method.kind, attr.GradientAttribution)
    if needs_module and "integrated_gradients" in encoder.unavailable:
        raise UnavailableMethodError(name, encoder.unavailable["integrated_gradients"])
    changes_relu = issubclass(method.kind, (attr.GuidedBackprop, attr.Deconvolution, attr.GuidedGradCam))
    if changes_relu and not any(isinstance(module, nn.ReLU) for module in encoder.encode.modules()):  # type: ignore[attr-defined]
        raise UnavailableMethodError(
            name, "captum changes the gradients of torch.nn.ReLU modules, and the encoder has none; use captum:InputXGradient."
        )


def _reason(error: Exception) -> str:
    """Turn an error of captum into one sentence with a remedy."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"captum says: {text[:300].rstrip('. ')}; use integrated_gradients or occlusion, which need no hooks."


def _model(encoder: AttributionTarget, method: CaptumMethod) -> CosineModel:
    from captum import attr

    from probes.attribution.methods.captum_model import CosineModel, private_copy, replace_identities

    if method.constructor.isdisjoint({"model", "layer"}):
        return CosineModel(encoder.encode)
    twin = private_copy(encoder.encode)  # type: ignore[arg-type]
    if issubclass(method.kind, attr.LRP):
        replace_identities(twin)
    return CosineModel(twin, encoder.needed_layer if "layer" in method.constructor else None).eval()


def _seed() -> None:
    import torch

    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 -- captum draws from the global state, which `undisturbed` puts back


def _maps(encoder: AttributionTarget, method: CaptumMethod, model: CosineModel, images: Tensor, directions: Tensor) -> Tensor:
    """Attribute some images, (b, H, W)."""
    from captum import attr
    from torch.nn import functional as F

    explainer = method.kind(model, model.spot) if "layer" in method.constructor else method.kind(model)
    arguments = _arguments(encoder, method, images)
    if method.is_single:
        model.direction = directions  # captum repeats further arguments in an order that differs from method to method
    else:
        arguments["additional_forward_args"] = directions
    if issubclass(method.kind, attr.GradientAttribution):
        images.requires_grad_()  # else nothing does in an encoder whose weights are frozen
    if issubclass(method.kind, attr.Lime):
        model.scale = _scale(encoder, images, directions)
    if method.tunnel:
        arguments |= {"nt_type": "smoothgrad", "nt_samples": NOISE_SAMPLES, "stdevs": NOISE}
        arguments |= {"nt_samples_batch_size": 1 if method.covers else None, "draw_baseline_from_distrib": method.has_distribution}
        attributions = attr.NoiseTunnel(explainer).attribute(images, **arguments)
    else:
        attributions = explainer.attribute(images, **arguments)
    values = attributions.detach().float() / model.scale
    values = values.mean(dim=1, keepdim=True) if method.covers else values.sum(dim=1, keepdim=True)
    if values.shape[-2:] != images.shape[-2:]:
        values = F.interpolate(values, size=images.shape[-2:], mode="bilinear", align_corners=False)
    return values[:, 0]


def _scale(encoder: AttributionTarget, images: Tensor, directions: Tensor) -> float:
    """Return what makes image and baseline differ by one: Lime's sparse regression has a fixed penalty, made for probabilities."""
    import torch

    with torch.no_grad():
        difference = float(
            (encoder.scalar(images, directions) - encoder.scalar(encoder.baseline.expand_as(images), directions)).abs().mean()
        )
    return 1 / difference if difference > 0 else 1.0


def _arguments(encoder: AttributionTarget, method: CaptumMethod, images: Tensor) -> dict[str, Any]:
    """Choose the arguments that the method takes."""
    from captum import attr

    height, width = images.shape[-2:]
    tall, wide = min(encoder.window, height), min(encoder.window, width)
    cells = EXACT_GRID if issubclass(method.kind, attr.ShapleyValues) else GRID
    parameters = method.parameters
    choices: dict[str, Any] = {
        "baselines": _baselines(encoder, images) if method.has_distribution else encoder.baseline.expand_as(images).contiguous(),
        "feature_mask": cell_mask(height, width, cells),
        "layer_mask": None if encoder.layer is None else cell_mask(*encoder.layer.shape.grid, cells),
        "sliding_window_shapes": (images.shape[1], tall, wide),
        "strides": (images.shape[1], max(1, tall // 2), max(1, wide // 2)),
        "n_steps": encoder.steps,
        "internal_batch_size": max(encoder.points, len(images)),
        "n_samples": _samples(method, cells) if "feature_mask" in parameters else encoder.steps,
        "perturbations_per_eval": max(1, encoder.batch // len(images)),
        "abs": False,
    }
    return {name: value for name, value in choices.items() if name in parameters}


def _samples(method: CaptumMethod, cells: int) -> int:
    """Return the samples of a method that covers cells: orders of all cells for Shapley sampling, else sets of cells, two a cell at least."""
    from captum import attr

    passes = PASSES // NOISE_SAMPLES if method.tunnel else PASSES
    return max(1, passes // cells**2) if issubclass(method.kind, attr.ShapleyValueSampling) else max(passes, 2 * cells**2)


def _baselines(encoder: AttributionTarget, images: Tensor) -> Tensor:
    """Return plain images of the baseline colour made darker and brighter, (5, 3, H, W)."""
    import torch

    shifts = torch.tensor(BRIGHTNESS).view(-1, 1, 1, 1)
    return (encoder.baseline + shifts).clamp(0, 1).expand(-1, -1, *images.shape[-2:]).contiguous()


def cell_mask(height: int, width: int, cells: int) -> Tensor:
    """Number the cells of a grid of at most `cells` x `cells` nearly equal cells, (1, 1, height, width) int64 from 0 on.

    Args:
        height: pixels.
        width: pixels.
        cells: most cells a side.
    """
    import torch

    down, across = (torch.arange(length) * min(cells, length) // length for length in (height, width))
    return (down[:, None] * min(cells, width) + across)[None, None]
