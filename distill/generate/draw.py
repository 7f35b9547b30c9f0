"""Run a diffusers pipeline on batches of requests, each image with noise of its own seed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from distill.errors import DistillError
from distill.generate.pipelines import Pipeline
from distill.generate.requests import Request
from distill.generate.settings import GeneratorConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneratedImage:
    """One image, RGB uint8 (H, W, 3), and what is wrong with it, or None."""

    pixels: np.ndarray
    flaw: str | None = None


class PipelineRunner:
    """Generate the images of requests with one pipeline, reproducibly.

    The noise of each image is drawn on the processor from a generator with the image's own seed. It is therefore the same on every device and in
    every batch. A batch that does not fit into a GPU's memory is halved from then on.

    Args:
        pipeline: loaded.
        config: how it is run.
        class_names: C names in label order, for class-conditional pipelines.
    """

    def __init__(self, pipeline: Pipeline, config: GeneratorConfig, class_names: Sequence[str]) -> None:
        self.pipeline = pipeline
        self.class_ids = pipeline.class_ids(class_names) if pipeline.by_class else []
        self.largest: int | None = None
        options: dict[str, object] = {
            "num_inference_steps": config.steps,
            "guidance_scale": config.guidance,
            "height": config.height,
            "width": config.width,
        }
        self.options = {name: value for name, value in options.items() if value is not None}
        if extra := sorted(set(self.options) - pipeline.accepts):
            option = {"num_inference_steps": "steps", "guidance_scale": "guidance"}.get(extra[0], extra[0])
            raise ValueError(
                f"`{option}` must be left out for a {pipeline.facts['pipeline']}, got {self.options[extra[0]]}; it takes none."
            )
        self.negative = config.negative_prompt
        if self.negative is not None and "negative_prompt" not in pipeline.accepts:
            raise ValueError(f"`negative_prompt` must be left out for a {pipeline.facts['pipeline']}, got one; it takes none.")

    def generate(self, requests: Sequence[Request]) -> list[GeneratedImage]:
        """Generate one image for each request, in order.

        Raises:
            DistillError: when one picture alone does not fit into memory.
        """
        images: list[GeneratedImage] = []
        devices = [self.pipeline.device] if self.pipeline.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            while len(images) < len(requests):
                part = requests[len(images) :][: self.largest]
                try:
                    images += self._run(part)
                except torch.OutOfMemoryError as error:
                    if len(part) == 1:
                        raise DistillError(
                            "one picture must fit into the GPU's memory, got none that does; use bf16, a smaller size or another generator."
                        ) from error
                    torch.cuda.empty_cache()
                    self.largest = (len(part) + 1) // 2
                    logger.warning("a batch did not fit into memory: going on with %d at a time", self.largest)
        return images

    def _run(self, requests: Sequence[Request]) -> list[GeneratedImage]:
        if len(requests) == 1:
            torch.manual_seed(requests[0].seed)
            return self._call(requests)
        before = _random_state(self.pipeline.device)
        images = self._call(requests)
        if all(torch.equal(a, b) for a, b in zip(before, _random_state(self.pipeline.device), strict=True)):
            return images
        # Some schedulers draw noise of their own without being handed the pictures' generators (a DiT with DDPM, for one).
        logger.warning("this pipeline draws noise besides the pictures' own: going on with one at a time, so that each is reproducible")
        self.largest = 1
        return [image for request in requests for image in self._run([request])]

    @torch.inference_mode()
    def _call(self, requests: Sequence[Request]) -> list[GeneratedImage]:
        options: dict[str, object] = dict(self.options)
        if "generator" in self.pipeline.accepts:
            options["generator"] = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
        if self.pipeline.by_class:
            options["class_labels"] = [self.class_ids[request.label] for request in requests]
        else:
            options["prompt"] = [request.prompt.text for request in requests]
            if self.negative is not None:
                options["negative_prompt"] = [self.negative] * len(requests)
        output = self.pipeline.call(**options, output_type="np")
        images = np.asarray(output.images, dtype=np.float32)
        censored = getattr(output, "nsfw_content_detected", None) or [False] * len(requests)
        return [_finish(image, bool(flag)) for image, flag in zip(images, censored, strict=True)]


def _finish(image: np.ndarray, censored: bool) -> GeneratedImage:
    flaw = "blacked out by the pipeline's safety checker" if censored else None
    if not np.isfinite(image).all():
        flaw = "not finite: NaN or infinity in the decoded picture"
    pixels = np.rint(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    if flaw is None and np.ptp(pixels) == 0:
        flaw = f"one colour everywhere, {pixels[0, 0].tolist()}: half precision overflows in some decoders; try bf16 or fp32"
    return GeneratedImage(pixels, flaw)


def _random_state(device: torch.device) -> list[torch.Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states
