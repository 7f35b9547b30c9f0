"""Fixtures: tiny diffusers pipelines with random weights, saved as real ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def _text_encoder(kind: Any, width: int = 16, layers: int = 1) -> Any:
    from transformers import CLIPTextConfig

    from distill.packs.pocket import pipeline_folder

    size = len(_tokenizer(pipeline_folder()))
    ends = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    sizes = {"hidden_size": width, "intermediate_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2, "projection_dim": width}
    return kind(CLIPTextConfig(vocab_size=size, max_position_embeddings=16, **sizes, **ends))


def _tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder / "tokenizer")


def _vae() -> Any:
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(block_out_channels=(4, 8), norm_num_groups=2, latent_channels=4, sample_size=16, **blocks)


@pytest.fixture(scope="session")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a StableDiffusionPipeline of 16 x 16 pixels."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    from distill.packs.pocket import pipeline_folder

    torch.manual_seed(1)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    parts = {"text_encoder": _text_encoder(CLIPTextModel), "tokenizer": _tokenizer(pipeline_folder()), "vae": _vae()}
    none = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    folder = tmp_path_factory.mktemp("pipelines") / "stable-diffusion"
    StableDiffusionPipeline(unet=unet, scheduler=DDIMScheduler(), **parts, **none).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def stable_diffusion_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a StableDiffusionXLPipeline of 16 x 16 pixels, with two text encoders."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    from distill.packs.pocket import pipeline_folder

    torch.manual_seed(2)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=32,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )
    tokenizer = _tokenizer(pipeline_folder())
    texts = {"text_encoder": _text_encoder(CLIPTextModel), "text_encoder_2": _text_encoder(CLIPTextModelWithProjection)}
    folder = tmp_path_factory.mktemp("pipelines") / "stable-diffusion-xl"
    scheduler = EulerDiscreteScheduler()
    pipeline = StableDiffusionXLPipeline(
        unet=unet, scheduler=scheduler, vae=_vae(), tokenizer=tokenizer, tokenizer_2=tokenizer, **texts, add_watermarker=False
    )
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def dit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a DiTPipeline that knows cat, dog and ship, numbered 3, 1 and 2."""
    import torch
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    torch.manual_seed(3)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        norm_num_groups=2,
    )
    # adaLN-zero begins with every class and time ignored; here they shall matter
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    folder = tmp_path_factory.mktemp("pipelines") / "dit"
    pipeline = DiTPipeline(transformer, _vae(), DDIMScheduler())
    pipeline.register_to_config(id2label={3: "cat", 1: "dog", 2: "ship"})  # its constructor forgets to
    pipeline.save_pretrained(folder)
    return folder
