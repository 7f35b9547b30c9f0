"""Load a diffusers pipeline from a folder or the hub: safetensors only, no remote code, no network unless it is allowed."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from distill.errors import DistillError
from distill.generate.settings import GeneratorConfig
from distill.models.encoder import weights_hash
from distill.system.untrusted_text import read_json

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, SchedulerMixin

logger = logging.getLogger(__name__)

OPTIONAL = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that a pipeline draws without."""

_NO_WEIGHTS = ("scheduler", "tokenizer", "feature_extractor", "image_processor", "processor")


@dataclass(frozen=True)
class Pipeline:
    """A loaded pipeline.

    Args:
        call: the diffusers pipeline itself.
        accepts: names of the arguments its call takes.
        device: where it runs.
        facts: what the manifest says of it: class, weights' hash, scheduler, precision, versions.
    """

    call: DiffusionPipeline
    accepts: frozenset[str]
    device: torch.device
    facts: dict[str, object]

    @property
    def by_class(self) -> bool:
        """Whether it is conditioned on class labels instead of words."""
        return "prompt" not in self.accepts

    def class_ids(self, class_names: Sequence[str]) -> list[int]:
        """Number the classes as a class-conditional pipeline does.

        Raises:
            ValueError: for a class it has not learned, with the nearest names.
        """
        known: dict[str, int] = dict(getattr(self.call, "labels", None) or {})
        if not known:
            return list(range(len(class_names)))
        if unknown := [name for name in class_names if name not in known]:
            near = difflib.get_close_matches(unknown[0], list(known), n=3, cutoff=0.3) or list(known)[:5]
            raise ValueError(f"`classes` must be ones the generator knows, got {unknown[0]!r}; choose from {', '.join(near)}.")
        return [known[name] for name in class_names]

    def check_prompts(self, texts: Sequence[str]) -> None:
        """Refuse prompts that a tokenizer would cut: the picture would lack what its caption says.

        Raises:
            ValueError: naming the longest and how many there are.
        """
        for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
            tokenizer = getattr(self.call, name, None)
            limit = int(getattr(tokenizer, "model_max_length", 0) or 0)
            if tokenizer is None or not 0 < limit < 10_000:
                continue
            distinct = sorted(set(texts))
            with _quiet():
                lengths = [len(row) for row in tokenizer(distinct, truncation=False).input_ids]
            if (longest := max(lengths)) > limit:
                count = sum(length > limit for length in lengths)
                raise ValueError(
                    f"a prompt must have at most {limit} tokens for this generator, got {longest} in "
                    f"{distinct[lengths.index(longest)]!r} ({count} such); shorten the template or its contexts."
                )


def load_pipeline(config: GeneratorConfig, *, allow_download: bool = False) -> Pipeline:
    """Load a text-to-image or class-conditional pipeline and put it on this process's device.

    Args:
        config: which and how.
        allow_download: whether the hub may be asked for what is not on this machine.

    Raises:
        FileNotFoundError: for a folder that is not there or lacks weights, naming the component.
        ValueError: for a pipeline of another kind, or an unknown scheduler, with the nearest names.
        DistillError: for a hub id that is not on this machine, broken files, or a LoRA that does not fit.
    """
    source = _source(config.model)
    if not Path(source).is_dir() and not allow_download:
        cached = _cached(source, config.revision)
        source = str(cached) if cached is not None and (cached / "model_index.json").is_file() else source
    absent = check_folder(Path(source)) if Path(source).is_dir() else ()
    device = _device()
    dtype = _dtype(config.precision, device)
    pipeline = _from_pretrained(source, config, dtype, allow_download=allow_download, absent=absent)
    accepts = frozenset(inspect.signature(pipeline.__call__).parameters)
    if not accepts & {"prompt", "class_labels"}:
        raise ValueError(
            f"`generator` must draw from words or class labels, got a {type(pipeline).__name__}; choose a text-to-image pipeline."
        )
    if config.scheduler is not None:
        pipeline.scheduler = make_scheduler(config.scheduler, pipeline.scheduler)
    if config.lora is not None:
        _add_lora(pipeline, config, allow_download=allow_download)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    return Pipeline(pipeline, accepts, device, _facts(pipeline, dtype))


def check_folder(folder: Path) -> tuple[str, ...]:
    """Refuse a folder that is no pipeline, or lacks the weights of a component that it cannot do without.

    Returns:
        Names of the components in `OPTIONAL` that the folder lists and does not hold.

    Raises:
        FileNotFoundError: naming the file that is missing and the remedy.
        ValueError: for an index that is not JSON.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise FileNotFoundError(f"`generator` must be a diffusers folder with model_index.json, got {folder}; give a saved pipeline.")
    try:
        parts = read_json(index, "`generator`")
        if not isinstance(parts, dict):
            raise TypeError(f"a {type(parts).__name__}")  # noqa: TRY301 - as for any other content
    except (ValueError, TypeError) as error:
        raise ValueError(f"{index} must be JSON of a pipeline, got an error: {error}; save the pipeline again.") from error
    absent = [name for name in OPTIONAL if _is_listed(parts.get(name)) and not _has_part(folder / name, name)]
    for name, kind in parts.items():
        if not _is_listed(kind) or name.startswith("_") or name in absent:
            continue
        if not (folder / name).is_dir():
            raise FileNotFoundError(f"`generator` folder {folder} must hold {name}/, got none; copy the whole pipeline.")
        if name.startswith(_NO_WEIGHTS) or any((folder / name).glob("*.safetensors")):
            continue
        pickled = [path.name for pattern in ("*.bin", "*.pt", "*.ckpt") for path in (folder / name).glob(pattern)]
        content = f"only {pickled[0]}, which may run code when it is read" if pickled else "no weights"
        raise FileNotFoundError(
            f"`generator` folder {folder} must hold safetensors weights in {name}/, got {content}; "
            + ("save it with safe_serialization=True." if pickled else "download or copy them again.")
        )
    return tuple(absent)


def _is_listed(kind: object) -> bool:
    return isinstance(kind, list) and None not in kind


def _has_part(folder: Path, name: str) -> bool:
    return folder.is_dir() and (name.startswith(_NO_WEIGHTS) or any(folder.glob("*.safetensors")))


def variant_of(folder: Path) -> str | None:
    """Tell the variant of a pipeline's weights, such as `fp16`, where a component has weights of no other kind; else None."""
    for part in sorted(folder.iterdir()):
        names = [path.name for path in part.glob("*.safetensors")] if part.is_dir() else []
        variants = [re.fullmatch(r".+?\.([a-z]+\d*)(?:-\d{5}-of-\d{5})?\.safetensors", name) for name in names]
        if names and all(variants):
            return next(match[1] for match in variants if match)
    return None


def make_scheduler(name: str, current: SchedulerMixin) -> SchedulerMixin:
    """Make another scheduler with the settings of the present one.

    Args:
        name: of a diffusers class, in any case, with or without `Scheduler`.
        current: the pipeline's scheduler.

    Raises:
        ValueError: for a name that is unknown, or a scheduler this pipeline cannot use, with the nearest names.
    """
    known = {kind.__name__: kind for kind in _schedulers_for(current)}
    short = {full.removesuffix("Scheduler").lower(): full for full in known}
    requested = name.lower().removesuffix("scheduler")
    if requested not in short:
        near = difflib.get_close_matches(requested, list(short), n=3, cutoff=0.4) or sorted(short)
        choices = ", ".join(short[word].removesuffix("Scheduler") for word in near)
        raise ValueError(f"`scheduler` must be one this pipeline can use, got {name!r}; choose from {choices}.")
    return known[short[requested]].from_config(current.config)


def _schedulers_for(current: SchedulerMixin) -> list[type[SchedulerMixin]]:
    """List the schedulers that can take a pipeline's settings: those it names, and the consistency samplers where it is of the family of DDPM.

    diffusers lists no scheduler beside LCM and TCD, although both are made from the settings of that family, as their documentation does.
    """
    import diffusers

    consistency = (diffusers.LCMScheduler, diffusers.TCDScheduler)
    kinds = [*current.compatibles, type(current)]
    family = diffusers.DDPMScheduler in kinds and current.config.get("prediction_type", "epsilon") in ("epsilon", "v_prediction", "sample")
    if family or isinstance(current, consistency):
        kinds += [*diffusers.DDPMScheduler().compatibles, *consistency]
    return [kind for kind in dict.fromkeys(kinds) if hasattr(diffusers, kind.__name__)]


def _source(model: str) -> str:
    if model == "pocket":
        from distill.packs import pocket

        return str(pocket.pipeline_folder())
    path = Path(model).expanduser()
    if path.exists():
        return str(path)
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise FileNotFoundError(f"`generator` must be pocket, a folder that exists or a hub id such as OWNER/NAME, got {model}; check it.")
    return model


def _cached(hub_id: str, revision: str | None = None) -> Path | None:
    """Find the folder in which huggingface_hub keeps a hub id on this machine; None where it keeps none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError, OSError):  # not there, or no hub id: said when it is loaded
        return None


def _lora_file(lora: str) -> Path | None:
    """Find the weights of a LoRA on this machine: a file, the file in a folder, or what the hub's cache keeps; None where there are none.

    Raises:
        ValueError: for a folder with several files and none of the usual name.
    """
    path = Path(lora).expanduser()
    folder = path if path.exists() else _cached(lora)
    if folder is None or folder.is_file():
        return folder
    files = sorted(folder.glob("*.safetensors"))
    usual = [file for file in files if file.name == "pytorch_lora_weights.safetensors"]
    if len(files) > 1 and not usual:
        raise ValueError(f"`lora` must be one file, got {[file.name for file in files][:5]} in {folder}; give one of them.")
    return next(iter(usual or files), None)


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]


def _from_pretrained(
    source: str, config: GeneratorConfig, dtype: torch.dtype, *, allow_download: bool, absent: Sequence[str] = ()
) -> DiffusionPipeline:
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline
    from diffusers.utils import deprecation_utils

    # `torch_dtype` was renamed; the function that translates it is the sign of the new name.
    dtype_name = "dtype" if hasattr(deprecation_utils, "_resolve_dtype") else "torch_dtype"
    options: dict[str, object] = {
        dtype_name: dtype,
        "use_safetensors": True,
        "local_files_only": not allow_download,
        "revision": config.revision,
        "variant": config.variant or (variant_of(Path(source)) if Path(source).is_dir() else None),
    }
    if absent:
        options |= dict.fromkeys(absent)
        if "safety_checker" in absent:
            options["requires_safety_checker"] = False
            logger.warning("`generator` %s is without its safety checker: no picture is blacked out.", source)
    try:
        with _quiet():
            try:
                return AutoPipelineForText2Image.from_pretrained(source, **options)
            except ValueError as error:
                if "AutoPipeline can't find" not in str(error):
                    raise
                return DiffusionPipeline.from_pretrained(source, **options)  # class-conditional ones and those it does not list
    except Exception as error:  # diffusers, transformers, safetensors and the hub raise many kinds
        line = " ".join(str(error).split())[:300]
        if not Path(source).is_dir() and not allow_download:
            raise DistillError(
                f"`generator` {source} must be on this machine, got none in the cache of huggingface_hub ({type(error).__name__}); "
                "add --allow-download or give a folder."
            ) from error
        raise DistillError(
            f"`generator` {source} must be loadable, got {type(error).__name__}: {line}; download or save it again."
        ) from error


def _add_lora(pipeline: DiffusionPipeline, config: GeneratorConfig, *, allow_download: bool) -> None:
    if not hasattr(pipeline, "load_lora_weights"):
        raise ValueError(f"`lora` must be left out for a {type(pipeline).__name__}, got {config.lora!r}; it takes none.")
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise DistillError("`lora` must have the package peft, got none; pip install 'synthgap[lora]'.") from error
    file = _lora_file(str(config.lora))
    options: dict[str, object] = {} if file is None else {"weight_name": file.name}
    where = str(config.lora) if file is None else str(file.parent)
    try:
        with _quiet():
            pipeline.load_lora_weights(where, local_files_only=not allow_download, use_safetensors=True, **options)
            pipeline.fuse_lora(lora_scale=config.lora_weight)
            pipeline.unload_lora_weights()
    except Exception as error:  # as above
        line = " ".join(str(error).split())[:300]
        raise DistillError(
            f"`lora` {config.lora} must fit this pipeline and be on this machine, got {type(error).__name__}: {line}; "
            "check the file, or add --allow-download."
        ) from error


def _facts(pipeline: DiffusionPipeline, dtype: torch.dtype) -> dict[str, object]:
    import diffusers

    modules = {name: part for name, part in sorted(pipeline.components.items()) if isinstance(part, nn.Module)}
    return {
        "pipeline": type(pipeline).__name__,
        "scheduler": type(pipeline.scheduler).__name__,
        "weights": {name: weights_hash(module) for name, module in modules.items()},
        "precision": str(dtype).removeprefix("torch."),
        "diffusers": diffusers.__version__,
        "torch": torch.__version__,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' loading bars and notices off the terminal; errors are raised anyway."""
    import diffusers
    import transformers

    before = diffusers.utils.logging.get_verbosity(), transformers.utils.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    diffusers.utils.logging.set_verbosity(logging.CRITICAL)
    transformers.utils.logging.set_verbosity(logging.CRITICAL)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        diffusers.utils.logging.set_verbosity(before[0])
        transformers.utils.logging.set_verbosity(before[1])
        diffusers.utils.logging.enable_progress_bar()
        if bars:
            transformers.utils.logging.enable_progress_bar()
