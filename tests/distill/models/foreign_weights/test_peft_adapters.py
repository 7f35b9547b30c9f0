"""Adapters that PEFT wrote are merged into their base model, or refused in one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from distill.errors import DistillError
from distill.models.checkpoint import load_encoder, load_encoder_with_report

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=16, patch_size=8)
    ViTModel(config).save_pretrained(tmp_path / "base")
    ViTImageProcessor(size={"height": 16, "width": 16}, do_normalize=False).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def adapted(base: Path, folder: Path, **options: Any) -> nn.Module:
    """Train nothing, but give an adapter numbers of its own, and write it as PEFT does."""
    from transformers import ViTModel

    torch.manual_seed(3)
    config = peft.LoraConfig(target_modules=["q_proj", "v_proj"], r=2, init_lora_weights=False, **options)
    model = peft.get_peft_model(ViTModel.from_pretrained(base), config)
    model.save_pretrained(folder)
    return model.eval()


def test_an_adapter_is_merged_into_its_base_model(base: Path, images: Tensor, tmp_path: Path) -> None:
    model = adapted(base, tmp_path / "adapter")
    with torch.inference_mode():
        expected = model(pixel_values=images).pooler_output
        plain = load_encoder(f"hf:{base}", image_size=16)(images)

    for student, weights in ((f"hf:{base}", tmp_path / "adapter"), (f"hf:{tmp_path / 'adapter'}", None)):
        encoder, report = load_encoder_with_report(student, weights=weights, image_size=16)
        with torch.inference_mode():
            torch.testing.assert_close(encoder(images), expected, rtol=1e-5, atol=1e-5)
        assert not any("lora" in name for name in encoder.state_dict())
        assert any("is merged (4 tensors)" in note for note in report.notes)
    assert (plain - expected).abs().max() > 1e-3


def test_a_single_file_of_an_adapter_means_its_folder(base: Path, images: Tensor, tmp_path: Path) -> None:
    model = adapted(base, tmp_path / "adapter")

    encoder = load_encoder(f"hf:{base}", weights=tmp_path / "adapter" / "adapter_model.safetensors", image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model(pixel_values=images).pooler_output, rtol=1e-5, atol=1e-5)


def test_an_adapter_without_base_weights_is_refused(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter")

    with pytest.raises(ValueError, match=r"must bring the weights that the adapter .* was trained on, got timm:test_vit"):
        load_encoder("timm:test_vit", weights=tmp_path / "adapter", image_size=16)


def test_an_adapter_of_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    adapted(base, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({name.replace("layers.0", "layers.7").replace("layer.0", "layer.7"): tensor for name, tensor in tensors.items()}, path)

    with pytest.raises(DistillError, match=r"must be a PEFT adapter for ViTModel, got tensors that differ from the model's: `"):
        load_encoder(f"hf:{base}", weights=tmp_path / "adapter", image_size=16)


def test_an_adapter_that_names_no_base_or_a_missing_one_is_one_line(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    adapted(base, tmp_path / "adapter")
    config = tmp_path / "adapter" / "adapter_config.json"
    about = json.loads(config.read_text())
    for name, message in ((None, "must name its base model, got None"), ("nobody/nothing", "hub model `nobody/nothing` cannot be reached")):
        config.write_text(json.dumps(about | {"base_model_name_or_path": name}))
        with pytest.raises(DistillError, match=message):
            load_encoder(f"hf:{tmp_path / 'adapter'}", image_size=16)


def test_without_peft_one_sentence_says_so(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapted(base, tmp_path / "adapter")
    monkeypatch.setitem(sys.modules, "peft", None)

    with pytest.raises(DistillError, match=r"needs peft, got none installed; run `pip install peft`, or merge it"):
        load_encoder(f"hf:{base}", weights=tmp_path / "adapter", image_size=16)


def test_the_state_dict_of_a_model_with_an_adapter_inside_is_refused_with_the_remedy(base: Path, tmp_path: Path) -> None:
    model = adapted(base, tmp_path / "adapter")
    torch.save(model.state_dict(), tmp_path / "w.pt")

    with pytest.raises(ValueError, match=r"merge the PEFT adapter first \(`merge_and_unload\(\)`\)"):
        load_encoder(f"hf:{base}", weights=tmp_path / "w.pt", image_size=16)
