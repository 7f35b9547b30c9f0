"""Models that transformers wrote: nothing of a checkpoint is dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from distill.errors import DistillError
from distill.models.checkpoint import load_encoder, load_encoder_with_report

pytestmark = pytest.mark.filterwarnings("ignore")

SMALL: dict[str, Any] = {
    "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "image_size": 16, "patch_size": 8,
}  # fmt: skip


def written(model: Any, folder: Path, **options: Any) -> Path:
    """Write a model as its users do, with a processor that leaves colours alone."""
    from transformers import ViTImageProcessor

    model.save_pretrained(folder, **options)
    ViTImageProcessor(size={"height": 16, "width": 16}, do_normalize=False).save_pretrained(folder)
    return folder


def clip_vision(embed_dim: int = 8) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**SMALL, projection_dim=embed_dim)).eval()


def vit_classifier() -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    return ViTForImageClassification(ViTConfig(**SMALL, num_labels=5)).eval()


@pytest.mark.parametrize("embed_dim", [8, 5])
def test_the_projection_of_a_clip_vision_model_is_used(embed_dim: int, images: Tensor, tmp_path: Path) -> None:
    model = clip_vision(embed_dim)

    encoder, report = load_encoder_with_report(f"hf:{written(model, tmp_path / 'm')}", image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model(pixel_values=images).image_embeds, rtol=1e-5, atol=1e-5)
        assert embed_dim != 8 or (encoder(images) - model.vision_model(pixel_values=images).pooler_output).abs().max() > 0.1
    assert report.unused == {}


def test_a_clip_vision_projection_beside_the_model_is_used(images: Tensor, tmp_path: Path) -> None:
    """The base folder has no projection, the weights have."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    folder = written(CLIPVisionModel(CLIPVisionConfig(**SMALL)), tmp_path / "base")
    model = clip_vision()
    torch.save(model.state_dict(), tmp_path / "w.pt")

    encoder, report = load_encoder_with_report(f"hf:{folder}", weights=tmp_path / "w.pt", image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model(pixel_values=images).image_embeds, rtol=1e-5, atol=1e-5)
    assert "visual_projection.weight" in report.projection


def test_the_head_of_a_classifier_is_said_not_to_be_used(images: Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = vit_classifier()

    encoder, report = load_encoder_with_report(f"hf:{written(model, tmp_path / 'm')}", image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model.vit(images).last_hidden_state[:, 0], rtol=1e-5, atol=1e-5)
    assert report.unused == {"head of ViTForImageClassification": ("classifier.bias", "classifier.weight")}
    assert "not used (head of ViTForImageClassification): `classifier.bias`, `classifier.weight`" in caplog.text


@pytest.mark.parametrize("name", ["proj.weight", "vit.adapter.weight", "projection.0.weight"])
def test_tensors_that_no_class_of_transformers_has_are_refused(name: str, tmp_path: Path) -> None:
    folder = written(vit_classifier(), tmp_path / "m")
    save_file(load_file(folder / "model.safetensors") | {name: torch.ones(8, 8)}, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(DistillError, match=r"got others, which would be dropped: `.*; build all of it in path/to/file.py:function"):
        load_encoder(f"hf:{folder}", image_size=16)


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_a_folder_with_a_variant_alone_is_read_and_runs_in_float32(
    variant: str, images: Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = clip_vision().to(torch.float16 if variant == "fp16" else torch.bfloat16)

    encoder = load_encoder(f"hf:{written(model, tmp_path / 'm', variant=variant)}", image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model.float()(pixel_values=images).image_embeds, rtol=1e-5, atol=1e-5)
    assert "to float32 is converted, the model runs in float32" in caplog.text


def test_a_model_in_shards_is_read(images: Tensor, tmp_path: Path) -> None:
    model = clip_vision()
    folder = written(model, tmp_path / "m", max_shard_size="3KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1

    encoder = load_encoder(f"hf:{folder}", image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model(pixel_values=images).image_embeds, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("as_saved", [True, False])
def test_weights_under_the_names_of_older_versions_fill_the_model(as_saved: bool, images: Tensor, tmp_path: Path) -> None:
    """What transformers 5 saves has the names of version 4, which its modules no longer have."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    base = written(ViTModel(ViTConfig(**SMALL)), tmp_path / "base")
    torch.manual_seed(1)
    model = ViTModel(ViTConfig(**SMALL)).eval()
    path = written(model, tmp_path / "student") / "model.safetensors"
    if not as_saved:
        torch.save(model.state_dict(), tmp_path / "w.pt")
        path = tmp_path / "w.pt"

    encoder = load_encoder(f"hf:{base}", weights=path, image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model(pixel_values=images).pooler_output, rtol=1e-5, atol=1e-5)


def test_a_pooler_in_the_weights_is_used_where_the_folder_has_none(images: Tensor, tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    folder = written(vit_classifier(), tmp_path / "classifier")
    torch.manual_seed(1)
    model = ViTModel(ViTConfig(**SMALL)).eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")

    encoder = load_encoder(f"hf:{folder}", weights=tmp_path / "w.pt", image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model(pixel_values=images).pooler_output, rtol=1e-5, atol=1e-5)


def test_position_ids_of_older_files_are_harmless(images: Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = clip_vision()
    folder = written(model, tmp_path / "m")
    older = model.state_dict() | {"vision_model.embeddings.position_ids": torch.arange(5)[None]}
    torch.save(older, tmp_path / "w.pt")

    encoder, report = load_encoder_with_report(f"hf:{folder}", weights=tmp_path / "w.pt", image_size=16)

    with torch.inference_mode():
        torch.testing.assert_close(encoder(images), model(pixel_values=images).image_embeds, rtol=1e-5, atol=1e-5)
    assert report.harmless == ("vision_model.embeddings.position_ids",)
    assert caplog.text == ""


@pytest.mark.parametrize("setting", [{"rescale_factor": 1 / 127.5}, {"do_rescale": False}, {"do_flip_channel_order": True}])
def test_a_processor_that_scales_or_swaps_colours_is_refused(setting: dict[str, Any], tmp_path: Path) -> None:
    folder = written(clip_vision(), tmp_path / "m")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | setting))

    with pytest.raises(DistillError, match=rf"must take RGB images in \[0, 1\], got a processor with {next(iter(setting))} set otherwise"):
        load_encoder(f"hf:{folder}", image_size=16)


def test_a_whole_clip_gives_its_image_features(images: Tensor, tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 50}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=SMALL, projection_dim=6)).eval()

    encoder = load_encoder(f"hf:{written(model, tmp_path / 'm')}", image_size=16)

    with torch.inference_mode():
        features = model.visual_projection(model.vision_model(pixel_values=images).pooler_output)
        torch.testing.assert_close(encoder(images), features, rtol=1e-5, atol=1e-5)
