"""Weights files of anybody's making as plain tensors: safetensors, torch files, shards; nothing is unpickled."""

from __future__ import annotations

import argparse
import pathlib
import re
import types
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from distill.errors import DistillError
from distill.system.untrusted_text import read_json

USUAL_KEYS = ("state_dict", "model_state_dict", "model")
"""Entries under which training scripts save the state dict of their model."""

WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
"""Parts of names that DataParallel, torch.compile, FSDP, activation checkpointing and Lightning's Fabric put in, at any place."""

OPTIMISERS = re.compile(r"(\w+_)?optim(izer|izers|izer_states?)?(_\w+)?")
"""Entries of a training checkpoint whose tensors belong to the optimiser, not to a model."""

AVERAGES = re.compile(r"(^|[^a-z])(ema|swa|avg|average|averaged|shadow)($|[^a-z])", re.I)
"""Entries that hold another copy of the weights: an average over the training."""

FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
)
"""What transformers, timm and open_clip call the weights in a folder, in the order in which they look."""

SIGNS = (
    (b"version https://git-lfs", "a Git LFS pointer instead of the file", "run `git lfs pull` or download the file itself"),
    (b"<!doctype html", "a web page", "download the file itself"),
    (b"<html", "a web page", "download the file itself"),
    (b"\x89hdf", "an HDF5 file of Keras", "convert it to a state dict of the torch model first"),
    (b"gguf", "a GGUF file", "use the float weights it was made from"),
    (b"\x1f\x8b", "a compressed archive", "unpack it first"),
    (b"\x93numpy", "a NumPy array", "save model.state_dict() with safetensors"),
)
"""First bytes (in lower case) of files that are often taken for weights -> what they are, and what to do."""


@dataclass(frozen=True)
class WeightsFile:
    """The tensors of a weights file, and what else was in it.

    Args:
        tensors: name -> tensor. Tensors of entries beside the state dict carry the entry's name in front.
        key: entry that the state dict lay under; empty where the file is a plain state dict.
        unused: reason -> names of tensors in the file that are not in `tensors`.
        harmless: names of tensors of the optimiser, and of numbers and integers beside the state dict.
    """

    tensors: dict[str, Tensor]
    key: str = ""
    unused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    harmless: tuple[str, ...] = ()


def plain_name(name: str) -> str:
    """Return a name without the parts that wrappers put in: `module.visual._orig_mod.conv` is `visual.conv`."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a safetensors file, whatever its ending.

    Raises:
        DistillError: when it is not a whole safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own kind, and what torch says of an odd type or shape
        raise broken_safetensors(path, error) from error


def broken_safetensors(path: Path, error: Exception) -> DistillError:
    """Return the error to raise for a safetensors file that cannot be read."""
    line = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return DistillError(f"{path} must be a whole safetensors file, got {line}; copy or make it again.")


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read a state dict of plain tensors, as `read_weights_file` does, without the record of the rest of the file."""
    return read_weights_file(path).tensors


def read_weights_file(path: Path | str) -> WeightsFile:
    """Read a state dict of plain tensors, and say what else the file holds.

    Args:
        path: safetensors or torch file of any ending, the index of a sharded one, or a folder that holds one of them. `FILE#KEY` reads the entry KEY,
            such as `state_dict_ema` of timm, or the tensors whose names begin with KEY, such as `student.`.

    A state dict below one of `USUAL_KEYS`, or below the only entry that is one, is taken out. Other entries with tensors keep their name in front
    (`projection.weight`), so that whoever fills a model has to use or refuse them.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when the file holds no such key.
        DistillError: when it holds anything but plain tensors, which would need unpickling, or no state dict.
    """
    path, key = _split_key(path)
    if path.is_dir():
        path = _file_in_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"the weights must be a file that exists, got {path}; check the path.")
    if path.name.endswith(".index.json"):
        content: Any = _read_shards(path)
    else:
        content = _read_content(path)
    file = _chosen(content, key, path) if key else _state_of(content, path)
    for name, tensor in file.tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = "quantised" if tensor.is_quantized else "without data" if tensor.is_meta else str(tensor.layout)
            raise DistillError(
                f"{path} must hold plain dense tensors, got `{name}`, which is {kind}; save model.state_dict() of the plain model."
            )
    return file


def _split_key(path: Path | str) -> tuple[Path, str]:
    """Take `FILE#KEY` apart, unless there is a file of that very name."""
    file, _, key = str(path).rpartition("#")
    return (Path(file), key) if file and not Path(path).exists() else (Path(path), "")


def _file_in_folder(folder: Path) -> Path:
    known = [name for name in FOLDER_FILES if (folder / name).is_file()]
    files = [folder / name for name in known[:1]] or sorted(
        path for ending in ("*.safetensors", "*.bin", "*.pt", "*.pth") for path in folder.glob(ending)
    )
    if len(files) != 1:
        names = ", ".join(path.name for path in files[:5]) or "no weights"
        raise FileNotFoundError(f"the weights must be one file, got the folder {folder} with {names}; name the file.")
    return files[0]


def _read_content(path: Path) -> Any:
    """Read what a file holds by its first bytes, not by its ending: a dict of tensors, or what a torch file holds."""
    with path.open("rb") as file:
        head = file.read(64)
    is_torch = head.startswith((b"PK", b"\x80"))
    if head[8:9] == b"{" or (path.suffix == ".safetensors" and not is_torch and not _foreign_kind(path, head)):
        return read_safetensors(path)[0]
    if kind := _foreign_kind(path, head):
        raise DistillError(f"{path} must hold plain tensors, got {kind[0]}; {kind[1]}.")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless_types()):
            warnings.simplefilter("ignore", UserWarning)  # of unusual pickle protocols and TorchScript: what matters is refused below
            with path.open("rb") as file:  # a path that ends in .safetensors would be read as that, whatever it holds
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a restricted unpickler that is fed arbitrary bytes may raise anything
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        convert = ""
        if named:
            convert = f"; where {path.name} was made, `torch.load({path.name!r}, weights_only=False)` opens it, if you trust it"
        raise DistillError(
            f"{path} must hold plain tensors, got something that needs unpickling or is broken ({named[1] if named else type(error).__name__}); "
            f"save model.state_dict() with safetensors{convert}."
        ) from error


def _foreign_kind(path: Path, head: bytes) -> tuple[str, str] | None:
    """Tell files that are no weights by their first bytes or by what their archive holds: what it is, and what to do."""
    for start, kind, remedy in SIGNS:
        if head.lower().startswith(start):
            return kind, remedy
    if path.suffix == ".onnx":
        return "an ONNX model", "give the state dict of the torch model it was made from"
    if not head.startswith(b"PK"):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # a broken archive may say anything; torch says what is wrong with it
        return None
    if any("/code/" in name or name.endswith("/constants.pkl") for name in names):
        return "a TorchScript archive", "return torch.jit.load(FILE) from path/to/file.py:function and leave --weights out"
    if any(name.endswith("archive_format") or name.endswith("serialized_exported_program.json") for name in names):
        return "a program of torch.export", "return torch.export.load(FILE).module() from path/to/file.py:function and leave --weights out"
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays", "save model.state_dict() with safetensors"
    return None


def _harmless_types() -> list[Any]:
    """List types that training scripts put beside the weights and that hold values and run nothing when they are built.

    `argparse.Namespace` holds the options of timm's scripts, NumPy's scalars their scores, paths their folders. NumPy 1 and 2 name one function differently.
    """
    scalar = np.float64(0).__reduce__()[0]  # the function that rebuilds a scalar lies in a private module of NumPy

    dtypes = {type(np.dtype(code)) for code in "?bBhHiIlLqQefdg"}
    paths = [
        (pathlib.PurePosixPath, f"pathlib.{name}") for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")
    ]
    local = [(pathlib.PurePosixPath, f"pathlib._local.{name}") for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")]
    numbers = [(scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), np.dtype, *dtypes]
    return [argparse.Namespace, types.SimpleNamespace, *numbers, *paths, *local]


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Read all shards that an index of transformers names, each tensor from the file that the index says.

    Raises:
        DistillError: for an index or shards that do not go together.
    """
    about = read_json(index, "the index of the weights")
    places = about.get("weight_map") if isinstance(about, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise DistillError(f"{index} must hold a weight_map from names to files, got none; download the folder again.")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        if Path(shard).name != shard:
            raise DistillError(f"{index} must name files of its own folder, got {shard[:200]!r}; download the folder again.")
        if not (index.parent / shard).is_file():
            raise DistillError(f"{index} must lie beside all of its shards, got no {shard}; download the folder again.")
        content = _read_content(index.parent / shard)
        if not _is_state(content):
            raise DistillError(
                f"{index.parent / shard} must hold a state dict of tensors, got {type(content).__name__}; download it again."
            )
        named = {name for name, place in places.items() if place == shard}
        if differing := sorted(named ^ content.keys()):
            raise DistillError(
                f"{index.parent / shard} must hold the tensors that its index names, got a difference in `{differing[0]}` and "
                f"{len(differing) - 1} more; download the folder again."
            )
        tensors.update(content)
    return tensors


def _is_state(data: object) -> bool:
    return isinstance(data, dict) and bool(data) and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in data.items())


def _plain(data: Any) -> Any:
    """Take numbers and texts out of a state dict that a script has put them into."""
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        return data
    values = list(data.values())
    if not all(isinstance(value, (Tensor, int, float, str, type(None))) for value in values):
        return data
    return {name: value for name, value in data.items() if isinstance(value, Tensor)} if any(map(_is_array, values)) else data


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and value.is_floating_point()


def _state_of(data: Any, path: Path, key: str = "") -> WeightsFile:
    """Find the state dict in what a training script has saved, and what else there is."""
    beside: dict[str, Any] = {}
    keys = [key] if key else []
    while isinstance(data, dict) and not _is_state(data := _plain(data)):
        usual = next((name for name in USUAL_KEYS if isinstance(data.get(name), dict) and data[name]), None)
        states = [name for name, value in data.items() if _is_state(_plain(value))]
        if usual is None and len(states) != 1:
            break
        usual = states[0] if usual is None else usual
        beside |= {str(name): value for name, value in data.items() if name != usual}
        keys.append(str(usual))
        data = data[usual]
    if not _is_state(data):
        entries = ", ".join(sorted(map(str, data))[:5]) if isinstance(data, dict) else ""
        got = f"a dict of {entries}" if entries else type(data).__name__
        choose = (
            "; choose one as FILE#KEY or" if isinstance(data, dict) and any(_is_state(_plain(value)) for value in data.values()) else ";"
        )
        raise DistillError(f"{path} must hold a state dict of tensors, got {got}{choose} save model.state_dict().")
    file = _with_beside(data, ".".join(keys), beside)
    if twice := [name for name in data if file.tensors[name] is not data[name]]:
        raise DistillError(f"{path} must hold `{twice[0]}` once, got it in `{file.key}` and beside; choose one as FILE#{file.key}.")
    return file


def _with_beside(state: dict[str, Tensor], key: str, entries: Mapping[str, Any]) -> WeightsFile:
    """Add to a state dict the tensors beside it that may belong to the model; the others are averages or training state."""
    averages: list[str] = []
    harmless: list[str] = []
    joined: dict[str, Tensor] = {}
    for entry, value in entries.items():
        for name, tensor in _tensors_in(value, entry):
            if not _is_array(tensor) or OPTIMISERS.fullmatch(entry.lower()):
                harmless.append(name)
            elif AVERAGES.search(entry):
                averages.append(name)
            else:
                joined[name] = tensor
    unused = {"another copy of the weights, which FILE#KEY reads": tuple(averages)} if averages else {}
    return WeightsFile({**state, **joined}, key, unused, tuple(harmless))


def _tensors_in(value: Any, name: str, depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, (dict, list, tuple)) and depth < 8:
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for part, content in parts:
            yield from _tensors_in(content, f"{name}.{part}", depth + 1)


def _chosen(content: Any, key: str, path: Path) -> WeightsFile:
    """Read the entry, or the tensors with names below it, that `FILE#KEY` asks for."""
    if isinstance(content, dict) and key in content and not isinstance(content[key], Tensor):
        return _state_of(content[key], path, key)
    entries: list[str] = sorted(map(str, content))[:5] if isinstance(content, dict) else [type(content).__name__]
    entry, _, below = key.partition(".")
    try:
        if isinstance(content, dict) and entry in content and below and not isinstance(content[entry], Tensor):
            file = _state_of(content[entry], path, entry)
        else:
            file, below = _state_of(content, path), key
    except DistillError:
        file = WeightsFile({})
    start = f"{plain_name(below.rstrip('.'))}."
    tensors = {plain_name(name).removeprefix(start): tensor for name, tensor in file.tensors.items() if plain_name(name).startswith(start)}
    if not tensors:
        raise ValueError(f"the key after # must be one of {path}, got {key!r} where there are {', '.join(entries)}; choose one of these.")
    rest = tuple(name for name in file.tensors if not plain_name(name).startswith(start))
    return WeightsFile(tensors, key, {f"outside of #{key}": rest} if rest else {})
