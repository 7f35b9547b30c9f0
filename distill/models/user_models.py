"""Models that somebody's own code builds: a function of a Python file, or an installed plugin."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from distill.models.encoder import Encoder
from distill.models.open_clip_models import image_tower
from distill.models.two_tower import TwoTower, read_two_tower
from distill.models.weights_report import WeightsReport


def load_function(path: str, function: str) -> Callable[..., Any]:
    """Run somebody's Python file and return one of its functions.

    Args:
        path: Python file; it is run.
        function: name of the function.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that cannot be imported or has no such function.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"`student` must name a Python file that exists, got {path}; give path/to/file.py:function.")
    spec = importlib.util.spec_from_file_location(f"_synthgap_user_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"`student` must name a Python file, got {path}; give path/to/file.py:function.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may leave by itself
        raise ValueError(f"{path} must import without an error, got {type(error).__name__}: {error}; run it by itself first.") from error
    factory = getattr(module, function, None)
    if not callable(factory):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise ValueError(f"`student` {path} must have a function {function}, got {names}; check the name after the colon.")
    return factory


def from_file(path: str, function: str) -> Encoder:
    """Call a function of somebody's Python file and wrap what it returns as an encoder.

    Args:
        path: Python file; it is run.
        function: name of a function without arguments that returns what `encoder_of` takes.

    Returns:
        The encoder, in its own precision.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file or function that fails, or returns anything else.
    """
    factory = load_function(path, function)
    try:
        built = factory()
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{path}:{function} must build a model without arguments, got {type(error).__name__}: {error}; mend the function."
        ) from error
    return encoder_of(built, f"{path}:{function}")


def encoder_of(built: Any, where: str) -> Encoder:
    """Wrap what somebody's function returned as an encoder.

    `torch.compile` and DataParallel are taken off, since probes look into the network and run on one CPU; TorchScript and exported modules are wrapped.

    Args:
        built: a module, a module and its transform, both towers of a model (see `read_two_tower`), or an `Encoder` already.
        where: what errors call it.

    Raises:
        ValueError: for anything else, or a model without data.
    """
    if isinstance(built, Encoder):
        built.backbone, notes = _unwrapped(built.backbone)
        built.weights_report = WeightsReport(notes=tuple(notes))
        return built
    if (two := read_two_tower(built, where)) is not None:
        return _two_tower_encoder(two)
    model, transform = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{where} must return a torch.nn.Module, got {type(model).__name__}; return the module or (module, transform).")
    model, notes = _unwrapped(model)
    tensors = [*model.named_parameters(), *model.named_buffers()]
    if empty := [name for name, tensor in tensors if tensor.is_meta]:
        raise ValueError(
            f"{where} must return a model with data, got `{empty[0]}` on the meta device; load its weights inside the function."
        )
    if any(tensor.device.type != "cpu" for _, tensor in tensors):
        model = model.cpu()
        notes.append("moved to the CPU")
    encoder = Encoder(model if transform is None else Transformed(model, transform))
    encoder.weights_report = WeightsReport(notes=tuple(notes))
    return encoder


def _two_tower_encoder(two: TwoTower) -> Encoder:
    """Wrap the image side; a bare open_clip model is given its own size and normalisation, which it does not apply itself."""
    if two.transform is not None:
        encoder = Encoder(Transformed(two.images, two.transform))
    elif isinstance(getattr(two.whole, "visual", None), nn.Module) and hasattr(two.whole.visual, "image_size"):  # type: ignore[union-attr]
        encoder = image_tower(two.whole)  # type: ignore[arg-type]
    else:
        encoder = Encoder(two.images)
    encoder.text_tower = two.text
    encoder.weights_report = WeightsReport()
    return encoder


def _unwrapped(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """Take wrappers off a model that hide its layers or change its names; return it with what was taken off."""
    notes: list[str] = []
    while (inner := _inside(model)) is not model:
        notes += [] if isinstance(inner, Scripted) else [f"{type(model).__name__} is taken off"]
        model = inner
    for part in [part for part in model.modules() if not isinstance(part, torch.jit.ScriptModule)]:
        if getattr(part, "_compiled_call_impl", None) is not None:
            part._compiled_call_impl = None
            notes.append("torch.compile is taken off")
        for name, child in part.named_children():
            if (inner := _inside(child)) is not child and not isinstance(child, nn.DataParallel):
                part._modules[name] = inner
                notes += [] if isinstance(inner, Scripted) else [f"{type(child).__name__} is taken off `{name}`"]
    if _refuses_modes(model):
        # An exported program is in the mode it was exported in, and refuses to be put into any.
        model.train = lambda mode=True: model  # type: ignore[method-assign]
        model.eval = lambda: model  # type: ignore[method-assign]
    return model, list(dict.fromkeys(notes))


def _inside(model: nn.Module) -> nn.Module:
    """Return what a wrapper holds, a TorchScript module behind one that can be watched, or the model itself."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return model.module
    if isinstance(model, torch.jit.ScriptModule):
        return Scripted(model)
    original = model._modules.get("_orig_mod")  # torch.compile
    return model if original is None else original


def _refuses_modes(model: nn.Module) -> bool:
    try:
        model.train(model.training)
    except NotImplementedError:
        return True
    return False


class Scripted(nn.Module):
    """A TorchScript module as one layer: hooks work on the whole of it, and not on its parts, which TorchScript does not allow.

    Parameters and buffers keep their names and are those of the script, so that weights can be filled and converted.
    """

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.__dict__["script"] = script  # not registered as a part, so that nobody puts hooks on what is inside
        self.__dict__["forward"] = script.forward  # as a traced module's, so that nobody takes it for a layer without state
        self._take_tensors()

    def _take_tensors(self) -> None:
        script = self.__dict__["script"]
        self._parameters.update(dict(script.named_parameters()))
        self._buffers.update(dict(script.named_buffers()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Scripted:
        """Convert the tensors of the script itself, as `float` and `to` ask."""
        self.__dict__["script"]._apply(fn, recurse)
        self._take_tensors()
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["script"], name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Scripted:
        return Scripted(copy.deepcopy(self.__dict__["script"], memo))

    def train(self, mode: bool = True) -> Scripted:
        """Put the script into training or eval mode."""
        self.__dict__["script"].train(mode)
        self.training = mode
        return self


class Transformed(nn.Module):
    """A module behind its own per-image transform (PIL image -> tensor, as torchvision's and open_clip's are)."""

    def __init__(self, model: nn.Module, transform: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.transform = transform

    def forward(self, images: Tensor) -> Tensor:
        """Embed images in [0, 1], shape (N, 3, H, W), as eight-bit pictures through the transform: raw (N, D)."""
        from torchvision.transforms.functional import to_pil_image

        eight_bit = (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
        return self.model(torch.stack([self.transform(to_pil_image(image)) for image in eight_bit]).to(images.device))
