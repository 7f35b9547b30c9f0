"""Pipelines as others save them: samplers for consistency models, LoRA files, half-precision variants, parts that are left out, and the presets."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.generate.draw import PipelineRunner
from distill.generate.pipelines import Pipeline, load_pipeline, make_scheduler, variant_of
from distill.generate.requests import plan
from distill.generate.settings import NAMED, GeneratorConfig
from distill.text.contexts import plain_prompts

HUB_IDS = {"popp_sdxl": "stable_diffusion_xl", "popp_sd15": "stable_diffusion", "farhat": "stable_diffusion"}
"""Preset -> the small pipeline that stands for its generator."""


def draw(pipeline: Pipeline, config: GeneratorConfig) -> np.ndarray:
    requests = plan(plain_prompts(["cat", "dog"], ["a photo of a {}"]), per_class=1, seed=0, key=config.key)
    drawings = PipelineRunner(pipeline, config, ["cat", "dog"]).generate(requests)
    assert [drawing.flaw for drawing in drawings] == [None, None]
    return np.stack([drawing.pixels for drawing in drawings])


def lora_layers(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of a LoRA on the attention of a pipeline's UNet, drawn at random."""
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    torch.manual_seed(5)
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False))
    return get_peft_model_state_dict(unet)


def write_lora(pipeline_folder: Path, out: Path) -> Path:
    """Write the LoRA as diffusers does: `pytorch_lora_weights.safetensors`."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    kind = StableDiffusionXLPipeline if "xl" in pipeline_folder.name else StableDiffusionPipeline
    kind.save_lora_weights(out, unet_lora_layers=lora_layers(pipeline_folder))
    return out


def put_on_hub(cache: Path, hub_id: str, folder: Path) -> Path:
    """Lay a folder out as huggingface_hub keeps what it has downloaded."""
    place = cache / f"models--{hub_id.replace('/', '--')}"
    commit = "0" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    shutil.copytree(folder, place / "snapshots" / commit)
    return place / "snapshots" / commit


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of huggingface_hub of our own."""
    import diffusers.utils.hub_utils
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    for module in (constants, diffusers.utils.hub_utils.constants if hasattr(diffusers.utils.hub_utils, "constants") else constants):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(cache), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


@pytest.fixture
def copy_of(tmp_path: Path) -> Any:
    """Copy a pipeline, so that a test may take parts out of it."""

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / folder.name))

    return copy


@pytest.mark.parametrize("preset", HUB_IDS)
def test_a_preset_of_a_paper_draws_from_its_hub_ids(preset: str, hub: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = request.getfixturevalue(HUB_IDS[preset])
    settings = NAMED[preset]
    put_on_hub(hub, settings["model"], folder)
    if "lora" in settings:
        put_on_hub(hub, settings["lora"], write_lora(folder, tmp_path / "lora"))
    config = GeneratorConfig.named(preset, **({} if "steps" in settings else {"steps": 2}))

    pipeline = load_pipeline(config)
    pixels = draw(pipeline, config)

    assert pixels.shape == (2, 16, 16, 3)
    assert (pixels[0] != pixels[1]).any()
    assert pipeline.facts["scheduler"] == ("LCMScheduler" if "lora" in settings else "DDIMScheduler")


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl"])
def test_a_lora_changes_the_weights_it_names_by_its_product(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = request.getfixturevalue(name)
    layers = lora_layers(folder)

    plain = load_pipeline(GeneratorConfig(model=str(folder), steps=1)).call.unet.state_dict()
    fused = load_pipeline(
        GeneratorConfig(model=str(folder), steps=1, lora=str(write_lora(folder, tmp_path / "lora")))
    ).call.unet.state_dict()

    changed = {key.removesuffix(".lora_A.weight") for key in layers if key.endswith(".lora_A.weight")}
    assert changed
    for key in changed:
        expected = plain[f"{key}.weight"] + layers[f"{key}.lora_B.weight"] @ layers[f"{key}.lora_A.weight"]
        torch.testing.assert_close(fused[f"{key}.weight"], expected)
    assert all(torch.equal(fused[key], plain[key]) for key in plain if key.removesuffix(".weight") not in changed)


def test_a_lora_in_kohyas_format_changes_the_same_weights(stable_diffusion: Path, tmp_path: Path) -> None:
    """LCM LoRAs of the hub are written so: `lora_unet_..._to_q.lora_down.weight` with an `alpha` beside."""
    from safetensors.torch import save_file

    layers = lora_layers(stable_diffusion)
    kohya: dict[str, torch.Tensor] = {}
    for key, value in layers.items():
        name, _, side = key.removesuffix(".weight").rpartition(".lora_")
        stem = "lora_unet_" + name.replace(".", "_")
        kohya[f"{stem}.lora_{'down' if side == 'A' else 'up'}.weight"] = value.contiguous()
        kohya[f"{stem}.alpha"] = torch.tensor(2.0)
    save_file(kohya, tmp_path / "lcm.safetensors")

    ours = GeneratorConfig(model=str(stable_diffusion), steps=1, lora=str(write_lora(stable_diffusion, tmp_path / "lora")))
    theirs = GeneratorConfig(model=str(stable_diffusion), steps=1, lora=str(tmp_path / "lcm.safetensors"))

    first, second = (load_pipeline(config).call.unet.state_dict() for config in (ours, theirs))
    for key, value in first.items():
        torch.testing.assert_close(second[key], value)


def test_a_folder_of_several_loras_asks_for_one(stable_diffusion: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")

    with pytest.raises(ValueError, match=r"`lora` must be one file, got \['a.safetensors', 'b.safetensors'\]"):
        load_pipeline(GeneratorConfig(model=str(stable_diffusion), steps=1, lora=str(tmp_path)))


@pytest.mark.parametrize("name", ["LCM", "TCD", "lcmscheduler"])
@pytest.mark.parametrize("current", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_consistency_schedulers_take_the_noise_of_the_pipeline(name: str, current: str) -> None:
    import diffusers

    before = getattr(diffusers, current)(beta_start=0.002, beta_end=0.013, beta_schedule="scaled_linear", prediction_type="v_prediction")

    after = make_scheduler(name, before)

    assert type(after).__name__ == ("TCDScheduler" if name == "TCD" else "LCMScheduler")
    torch.testing.assert_close(after.alphas_cumprod, before.alphas_cumprod)
    assert after.config.prediction_type == "v_prediction"


def test_a_pipeline_saved_with_lcm_goes_back_to_ddim() -> None:
    from diffusers import LCMScheduler

    assert type(make_scheduler("DDIM", LCMScheduler(beta_end=0.013))).__name__ == "DDIMScheduler"


def test_a_flow_matching_pipeline_refuses_lcm() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    with pytest.raises(ValueError, match=r"`scheduler` must be one this pipeline can use, got 'LCM'"):
        make_scheduler("LCM", FlowMatchEulerDiscreteScheduler())


def test_a_folder_of_half_precision_weights_alone_loads_without_a_word(stable_diffusion: Path, copy_of: Any) -> None:
    folder = copy_of(stable_diffusion)
    for path in list(folder.rglob("*.safetensors")):
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))

    assert variant_of(folder) == "fp16"
    assert variant_of(stable_diffusion) is None
    config = GeneratorConfig(model=str(folder), steps=2)
    whole = GeneratorConfig(model=str(stable_diffusion), steps=2)
    requests_differ_in_name_only = draw(load_pipeline(whole), whole), draw(load_pipeline(config), whole)
    np.testing.assert_array_equal(*requests_differ_in_name_only)


def test_a_folder_with_one_component_in_half_precision_loads(stable_diffusion: Path, copy_of: Any) -> None:
    folder = copy_of(stable_diffusion)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))

    config = GeneratorConfig(model=str(folder), steps=2)

    assert draw(load_pipeline(config), config).shape == (2, 16, 16, 3)


def test_half_precision_weights_in_the_hubs_cache_load(hub: Path, stable_diffusion: Path) -> None:
    snapshot = put_on_hub(hub, "someone/half", stable_diffusion)
    for path in list(snapshot.rglob("*.safetensors")):
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))

    assert load_pipeline(GeneratorConfig(model="someone/half", steps=1)).facts["pipeline"] == "StableDiffusionPipeline"


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "pickled weights"])
def test_an_absent_safety_checker_is_said_and_done_without(
    stable_diffusion: Path, copy_of: Any, caplog: pytest.LogCaptureFixture, left: str
) -> None:
    folder = copy_of(stable_diffusion)
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "requires_safety_checker": True}
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))
    if left != "nothing":
        (folder / "safety_checker").mkdir()
    if left == "pickled weights":
        (folder / "safety_checker" / "pytorch_model.bin").write_bytes(b"no weights")
    config = GeneratorConfig(model=str(folder), steps=2)

    with caplog.at_level(logging.WARNING):
        pixels = draw(load_pipeline(config), config)

    assert pixels.shape == (2, 16, 16, 3)
    assert "without its safety checker: no picture is blacked out" in caplog.text


def test_an_absent_text_encoder_is_still_refused(stable_diffusion: Path, copy_of: Any) -> None:
    folder = copy_of(stable_diffusion)
    shutil.rmtree(folder / "text_encoder")

    with pytest.raises(FileNotFoundError, match="must hold text_encoder/, got none"):
        load_pipeline(GeneratorConfig(model=str(folder)))
