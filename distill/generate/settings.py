"""Settings of a generator, and the codec of its images."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from distill.errors import DistillError

NAMED: dict[str, dict[str, object]] = {
    "pocket": {"model": "pocket", "steps": 10, "guidance": 3.0, "height": 32, "width": 32},
    "popp_sdxl": {
        "model": "stabilityai/stable-diffusion-xl-base-1.0",
        "lora": "latent-consistency/lcm-lora-sdxl",
        "scheduler": "LCM",
        "steps": 6,
        "guidance": 0.5,
    },
    "popp_sd15": {
        "model": "Lykon/dreamshaper-7",
        "lora": "latent-consistency/lcm-lora-sdv1-5",
        "scheduler": "LCM",
        "steps": 6,
        "guidance": 0.5,
    },
    "farhat": {"model": "CompVis/stable-diffusion-v1-4"},
}
"""Short names: the embedded pipeline, the two of Popp et al. (2024) (SDXL or DreamShaper, LCM, 6 steps, guidance 0.5), and the one of
Farhat & Chen (2024). Any hub id or folder works as well."""


class GeneratorConfig(BaseModel):
    """A diffusion pipeline and the arguments of its call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, description="pocket, a local folder or a hub id")
    revision: str | None = Field(None, description="branch, tag or commit on the hub")
    variant: str | None = Field(None, description="of the weight files, such as fp16")
    lora: str | None = Field(None, description="local safetensors file or folder, or hub id")
    lora_weight: float = 1.0
    scheduler: str | None = Field(None, description="a diffusers scheduler; None: the pipeline's own")
    steps: int | None = Field(None, ge=1, le=1000)
    guidance: float | None = Field(None, ge=0, le=100)
    negative_prompt: str | None = None
    height: int | None = Field(None, ge=8)
    width: int | None = Field(None, ge=8)
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field("auto", description="auto: bf16 or fp16 on a GPU, fp32 on a processor")

    @classmethod
    def named(cls, spec: str, **changes: object) -> Self:
        """Make the settings of a short name, folder or hub id; `changes` that are None change nothing."""
        overrides = {name: value for name, value in changes.items() if value is not None}
        return cls.model_validate({**NAMED.get(spec, {"model": spec}), **overrides})

    @property
    def name(self) -> str:
        """What the manifest calls it: the hub id, or the last part of a folder's path."""
        local = self.model.startswith((".", "/", "~")) or self.model.count("/") > 1 or "\\" in self.model
        return self.model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] if local else self.model

    @property
    def key(self) -> str:
        """Eight hexadecimal digits of everything but the folder a model lies in."""
        state = {**self.model_dump(), "model": self.name}
        return hashlib.blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=4).hexdigest()


class Codec(BaseModel):
    """How pictures are written; real and synthetic images that differ here can be told apart without looking at a pixel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["png", "jpeg", "webp"] = "png"
    quality: int | None = Field(None, ge=1, le=100, description="of jpeg and webp; 95 where it is not said")
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = Field("4:2:0", description="of jpeg's colours")

    @model_validator(mode="after")
    def _png_has_no_quality(self) -> Self:
        if self.name == "png" and self.quality is not None:
            raise ValueError("`quality` must be left out for png, which loses nothing")
        return self

    @classmethod
    def parse(cls, text: str) -> Codec:
        """Read `png`, `jpeg`, `jpeg:90`, `jpeg:90:4:4:4` or `webp:80`.

        Raises:
            ValueError: for anything else.
        """
        name, _, rest = text.lower().partition(":")
        name = {"jpg": "jpeg"}.get(name, name)
        quality, _, subsampling = rest.partition(":")
        if name not in ("png", "jpeg", "webp") or (quality and not quality.isdigit()):
            near = difflib.get_close_matches(name, ["png", "jpeg", "webp"], n=1)
            raise ValueError(
                f"`codec` must be png, jpeg[:QUALITY] or webp[:QUALITY], got {text!r}; did you mean {near[0] if near else 'png'}?"
            )
        values: dict[str, object] = {"name": name}
        if quality:
            values["quality"] = int(quality)
        if subsampling:
            values["subsampling"] = subsampling
        try:
            return cls.model_validate(values)
        except ValueError as error:
            raise ValueError(
                f"`codec` must be png, jpeg[:1..100[:4:4:4|4:2:2|4:2:0]] or webp[:1..100], got {text!r}; correct the numbers."
            ) from error

    @property
    def suffix(self) -> str:
        """Ending of the files."""
        return {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}[self.name]

    def __str__(self) -> str:
        """Say it as `parse` reads it."""
        if self.name == "png":
            return "png"
        return f"{self.name}:{self.quality or 95}" + (f":{self.subsampling}" if self.name == "jpeg" else "")


def require_same_settings(before: Mapping[str, object], after: Mapping[str, object], out: Path) -> None:
    """Refuse to resume a folder with other settings than it was begun with.

    Args:
        before: settings that the folder was begun with.
        after: settings of this call.
        out: the folder, for the message.

    Raises:
        DistillError: naming the first setting that differs, and both values where they are short.
    """
    for name, old, new in _differences(before, after):
        both = f"{old!r}{new!r}"
        begun = f"`{name}` must be {old!r}, with which {out} was begun, got {new!r}"
        long = f"`{name}` must be that with which {out} was begun, got another"
        raise DistillError(f"{begun if len(both) < 200 else long}; choose a new folder or the old settings.")


def _differences(before: Mapping[str, object], after: Mapping[str, object], where: str = "") -> Iterator[tuple[str, object, object]]:
    """Yield (name, before, after) of the settings that differ; nested ones have dotted names."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{where}{key}.")
        elif old != new:
            yield f"{where}{key}", old, new
