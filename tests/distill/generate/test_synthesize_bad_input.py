"""Generators and prompts that cannot be used are refused in one sentence, before anything is drawn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from distill.errors import DistillError
from distill.generate.draw import PipelineRunner
from distill.generate.pipelines import load_pipeline
from distill.generate.requests import plan
from distill.generate.settings import Codec, GeneratorConfig
from distill.generate.synthesize import SynthesisConfig, synthesize
from distill.text.contexts import plain_prompts


@pytest.fixture
def copy(stable_diffusion: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stable_diffusion, tmp_path / "pipeline"))


def refused(model: object, kind: type[Exception], message: str, **changes: object) -> None:
    with pytest.raises(kind, match=message):
        load_pipeline(GeneratorConfig.named(str(model), **changes))


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, FileNotFoundError, r"`generator` must be a diffusers folder with model_index.json, got .*; give a saved pipeline")


def test_a_pipeline_without_weights_is_refused_by_component(copy: Path) -> None:
    (copy / "unet" / "diffusion_pytorch_model.safetensors").unlink()

    refused(copy, FileNotFoundError, r"must hold safetensors weights in unet/, got no weights; download or copy them again")


def test_pickled_weights_are_refused(copy: Path) -> None:
    (copy / "vae" / "diffusion_pytorch_model.safetensors").rename(copy / "vae" / "diffusion_pytorch_model.bin")

    refused(copy, FileNotFoundError, r"weights in vae/, got only diffusion_pytorch_model.bin, which may run code when it is read")


def test_a_missing_component_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "scheduler")

    refused(copy, FileNotFoundError, r"must hold scheduler/, got none; copy the whole pipeline")


def test_a_broken_index_is_refused(copy: Path) -> None:
    (copy / "model_index.json").write_text("{")

    refused(copy, ValueError, r"model_index.json must be JSON, got an error")


def test_a_truncated_weight_file_is_refused(copy: Path) -> None:
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])

    refused(copy, DistillError, r"`generator` .*pipeline must be loadable, got .*; download or save it again")


def test_an_unknown_scheduler_is_refused_with_the_nearest_names(stable_diffusion: Path) -> None:
    refused(
        stable_diffusion,
        ValueError,
        r"`scheduler` must be one this pipeline can use, got 'EulerDiscret'; choose from EulerDiscrete",
        scheduler="EulerDiscret",
    )


def test_a_hub_id_that_is_not_here_is_refused_without_asking_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object) -> None:
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    refused(
        "nobody/no-such-pipeline", DistillError, r"must be on this machine, got none in the cache .*; add --allow-download or give a folder"
    )


def test_a_path_that_is_not_there_is_refused() -> None:
    refused("./nowhere/model", FileNotFoundError, r"must be pocket, a folder that exists or a hub id such as OWNER/NAME")


def test_a_lora_that_does_not_fit_is_refused(stable_diffusion: Path, dit: Path, tmp_path: Path) -> None:
    refused(stable_diffusion, DistillError, r"`lora` .* must fit this pipeline and be on this machine", lora=str(tmp_path / "none"))
    refused(dit, ValueError, r"`lora` must be left out for a DiTPipeline", lora="x/y")


def test_a_prompt_longer_than_the_context_is_refused_before_drawing(stable_diffusion: Path, tmp_path: Path) -> None:
    config = SynthesisConfig(class_names=["cat"], generator=GeneratorConfig.named(str(stable_diffusion)), per_class=1)
    prompts = plain_prompts(["cat"], ["a photo of a large red {} on a far too long way home, at the top left"])

    with pytest.raises(ValueError, match=r"a prompt must have at most 16 tokens for this generator, got \d+ in 'a photo.* \(1 such\)"):
        synthesize(config, prompts, tmp_path / "set")
    assert not list((tmp_path / "set" / "journal").glob("*.jsonl"))


def test_options_a_pipeline_does_not_take_are_refused(dit: Path) -> None:
    pipeline = load_pipeline(GeneratorConfig.named(str(dit)))

    with pytest.raises(ValueError, match=r"`height` must be left out for a DiTPipeline, got 64; it takes none"):
        PipelineRunner(pipeline, GeneratorConfig.named(str(dit), height=64), ["cat"])
    with pytest.raises(ValueError, match=r"`negative_prompt` must be left out for a DiTPipeline"):
        PipelineRunner(pipeline, GeneratorConfig.named(str(dit), negative_prompt="blurry"), ["cat"])


def test_pictures_that_are_not_finite_stop_the_set_with_a_remedy(copy: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(copy)
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    pipeline.save_pretrained(copy)
    config = SynthesisConfig(class_names=["cat", "dog"], generator=GeneratorConfig.named(str(copy), steps=1), per_class=1)

    with pytest.raises(DistillError, match=r"must draw pictures, got 2 of 2 that are not: not finite"):
        synthesize(config, plain_prompts(["cat", "dog"], ["a {}"]), tmp_path / "set")


def test_the_network_is_never_asked_for_a_local_folder(stable_diffusion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    config = GeneratorConfig.named(str(stable_diffusion), steps=1)

    drawing = PipelineRunner(load_pipeline(config), config, ["cat"]).generate(
        plan(plain_prompts(["cat"], ["a {}"]), per_class=1, seed=0, key="")
    )[0]

    assert drawing.flaw is None


@pytest.mark.parametrize("text", ["gif", "jpeg:200", "jpeg:high", "png:90", "jpeg:90:4:1:1"])
def test_an_unknown_codec_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="`codec` must be png, jpeg"):
        Codec.parse(text)


def test_codecs_are_said_as_they_are_read() -> None:
    for text in ("png", "jpeg:90:4:2:0", "jpeg:75:4:4:4", "webp:80"):
        assert str(Codec.parse(text)) == text


def test_a_broken_state_file_is_refused(stable_diffusion: Path, tmp_path: Path) -> None:
    config = SynthesisConfig(class_names=["cat"], generator=GeneratorConfig.named(str(stable_diffusion), steps=1), per_class=1)
    prompts = plain_prompts(["cat"], ["a {}"])
    synthesize(config, prompts, tmp_path / "set")
    (tmp_path / "set" / "synthesis.json").write_text(json.dumps({})[:1])

    with pytest.raises(DistillError, match=r"synthesis.json must be readable"):
        synthesize(config, prompts, tmp_path / "set", resume=True)


def test_doubled_class_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"told apart by their names, got 'cat' and 'Cat'"):
        SynthesisConfig(class_names=["cat", "Cat"], generator=GeneratorConfig.named("pocket"), per_class=1)
