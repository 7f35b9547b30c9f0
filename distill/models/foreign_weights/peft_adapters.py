"""Adapters that PEFT wrote: folders with a few matrices for a base model, merged into it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.models.encoder import Encoder
from distill.models.weights_report import name_tensors
from distill.system.hub_access import first_line
from distill.system.untrusted_text import read_json

CONFIG = "adapter_config.json"


def adapter_folder(name: str | Path) -> Path | None:
    """Return the folder of a PEFT adapter, or None for what is none: one file of it is enough to name it."""
    path = Path(name)
    folder = path.parent if path.is_file() and path.name.startswith("adapter_") else path
    return folder if (folder / CONFIG).is_file() and not (folder / "config.json").is_file() else None


def base_of(folder: Path) -> str:
    """Return the folder or hub id of the model that an adapter was trained on.

    Raises:
        DistillError: when the adapter does not say.
    """
    about = read_json(folder / CONFIG, "the adapter's config")
    base = about.get("base_model_name_or_path") if isinstance(about, dict) else None
    if not isinstance(base, str) or not base:
        raise DistillError(f"{folder / CONFIG} must name its base model, got {base!r}; give it as `hf:BASE` and the folder with --weights.")
    return base


def merge_adapter(encoder: Encoder, folder: Path) -> Encoder:
    """Merge an adapter into the model of an encoder, in place.

    Args:
        encoder: encoder with the weights of the base model.
        folder: what `save_pretrained` of PEFT wrote.

    Returns:
        The same encoder.

    Raises:
        DistillError: when PEFT is not installed, or the adapter is not one for this model or cannot be merged.
    """
    try:
        import peft
    except ImportError as error:
        raise DistillError(
            f"{folder} is a PEFT adapter, which needs peft, got none installed; run `pip install peft`, or merge it (`merge_and_unload()`) and save the model."
        ) from error
    wrapper: Any = encoder.backbone
    model = getattr(wrapper, "model", wrapper)
    model.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of names that do not fit: they are refused below
            adapted = peft.PeftModel.from_pretrained(model, str(folder))
            file_names = set(peft.utils.load_peft_weights(str(folder), device="cpu"))
            model_names = set(peft.get_peft_model_state_dict(adapted))
            if file_names == model_names:
                merged = adapted.merge_and_unload()
    except Exception as error:  # PEFT raises many kinds
        raise DistillError(
            f"{folder} must be a PEFT adapter for {type(model).__name__}, got {type(error).__name__}: {first_line(error)[:300]}; "
            "name its base model, or merge it (`merge_and_unload()`) and save the model."
        ) from error
    if file_names != model_names:
        raise DistillError(
            f"{folder} must be a PEFT adapter for {type(model).__name__}, got tensors that differ from the model's: {name_tensors(file_names ^ model_names)}; "
            "name its base model."
        )
    if wrapper is model:
        encoder.backbone = merged
    else:
        wrapper.model = merged
    report = encoder.weights_report
    encoder.weights_report = replace(report, notes=(*report.notes, f"the adapter of {folder} is merged ({len(file_names)} tensors)"))
    return encoder
