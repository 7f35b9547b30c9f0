"""Models with two towers, in every form in which they may come: the right embedding of a text, the model's own scale and bias, and what is refused."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from distill.models.checkpoint import load_encoder
from distill.models.open_clip_models import open_clip_model
from distill.models.student import attach_projection, build_backbone
from distill.models.teacher import load_teacher
from distill.models.two_tower import fill_text_tower, read_two_tower

CLASSES = ("cat", "dog", "ship")
TEMPLATES = ("a photo of a {}.", "{}")


class Words(nn.Module):
    """A text tower that counts letters: exact values by hand."""

    def forward(self, texts: list[str]) -> Tensor:
        return torch.tensor([[float(text.count(letter)) + 0.5 for letter in "acdgo"] for text in texts])


class Pair(nn.Module):
    """Both towers in one module, texts as strings."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.words = Words()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.logit_bias = nn.Parameter(torch.tensor(-7.0))

    def encode_image(self, images: Tensor) -> Tensor:
        return self.linear(images.mean(dim=(2, 3)))

    def encode_text(self, texts: list[str]) -> Tensor:
        return self.words(texts)


def by_hand(encode) -> Tensor:
    """Class weights by the definition: unit texts, mean over templates, unit again; one text at a time."""
    columns = []
    for name in CLASSES:
        rows = [nn.functional.normalize(encode(template.replace("{}", name)), dim=-1) for template in TEMPLATES]
        columns.append(nn.functional.normalize(torch.stack(rows).mean(dim=0), dim=-1))
    return torch.stack(columns, dim=1)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_a_folder_of_open_clip_brings_its_own_texts(teacher_folder):
    encoder, teacher = load_encoder(f"open_clip:{teacher_folder}", image_size=16), load_teacher(str(teacher_folder))

    torch.testing.assert_close(encoder.text_tower.class_weights(CLASSES, TEMPLATES), teacher.class_weights(CLASSES, TEMPLATES))
    assert encoder.text_tower.logit_scale == teacher.logit_scale


def test_randomly_initialised_towers_and_new_projections_have_no_text_space(teacher_folder):
    assert load_encoder("timm:test_byobnet", image_size=16).text_tower is None

    projected = attach_projection(build_backbone(f"open_clip:{teacher_folder}"), 8, image_size=16)

    assert projected.text_tower is None


def test_a_state_dict_fills_the_text_tower_where_it_holds_it(teacher_folder):
    source = open_clip_model(str(teacher_folder), "student")
    encoder = build_backbone(f"open_clip:{teacher_folder}")
    state = {f"module.{name}": tensor + 0.01 for name, tensor in source.state_dict().items() if tensor.is_floating_point()}
    images_alone = {name: tensor for name, tensor in state.items() if ".visual." in name}
    before = encoder.text_tower.class_weights(CLASSES, TEMPLATES)

    assert fill_text_tower(encoder.text_tower, images_alone, random=True) is None
    assert fill_text_tower(encoder.text_tower, images_alone, random=False) is encoder.text_tower
    filled = fill_text_tower(encoder.text_tower, state, random=True)

    changed = filled.class_weights(CLASSES, TEMPLATES)
    assert not torch.allclose(changed, before)
    assert filled.logit_scale == pytest.approx(float((source.logit_scale.detach() + 0.01).exp()), rel=1e-5)


def write_hub_model(folder: Path, kind: str) -> nn.Module:
    """Write a small CLIP or SigLIP of transformers with a tokenizer of five words."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: place for place, word in enumerate(["<pad>", "<unk>", "<eos>", "a", "photo", "of", "cat", "dog", "ship", "."])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 2)])
    text = {"vocab_size": 10, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"max_position_embeddings": 12, "eos_token_id": 2, "pad_token_id": 0, "bos_token_id": 3}
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    torch.manual_seed(3)
    if kind == "clip":
        model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=6))
    else:
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
        model.logit_scale.data.fill_(math.log(11.0))
        model.logit_bias.data.fill_(-9.5)
    model.eval().save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>", model_max_length=12
    ).save_pretrained(folder)
    return model


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_hub_model_is_scored_with_its_own_tokenizer_scale_and_bias(kind, tmp_path):
    import transformers

    model = write_hub_model(tmp_path, kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)

    encoder = load_encoder(f"hf:{tmp_path}", image_size=16)

    def encode(text: str) -> Tensor:
        tokens = tokenizer([text], padding="max_length", max_length=12, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            return model.get_text_features(**tokens).pooler_output[0]

    torch.testing.assert_close(encoder.text_tower.class_weights(CLASSES, TEMPLATES), by_hand(encode), atol=1e-5, rtol=1e-4)
    scale, bias = (11.0, -9.5) if kind == "siglip" else (float(model.logit_scale.detach().exp()), 0.0)
    assert encoder.text_tower.logit_scale == pytest.approx(scale, rel=1e-5)
    assert encoder.text_tower.logit_bias == bias


def test_a_hub_folder_without_a_tokenizer_says_what_it_lacks(tmp_path):
    from distill.errors import DistillError

    write_hub_model(tmp_path, "clip")
    for file in tmp_path.glob("tokenizer*"):
        file.unlink()
    tower = load_encoder(f"hf:{tmp_path}", image_size=16).text_tower

    with pytest.raises(DistillError, match="must have a tokenizer"):
        tower.class_weights(CLASSES, TEMPLATES)


def test_an_object_that_takes_strings_is_read_with_its_scale_and_bias(images):
    pair = Pair().eval()

    two = read_two_tower(pair, "my.py:model")

    torch.testing.assert_close(two.images(images), pair.encode_image(images))
    expected = by_hand(lambda text: pair.words([text])[0])
    torch.testing.assert_close(two.text.class_weights(CLASSES, TEMPLATES), expected)
    assert two.text.logit_scale == pytest.approx(20.0)
    assert two.text.logit_bias == -7.0
    assert set(two.images.state_dict()) == {f"model.{name}" for name in pair.state_dict()}


def test_its_own_prompts_go_before_those_of_the_command_line():
    pair = Pair().eval()
    pair.templates = ("gogo {}",)

    weights = read_two_tower(pair, "x").text.class_weights(CLASSES, TEMPLATES)

    torch.testing.assert_close(weights[:, 0], nn.functional.normalize(pair.words(["gogo cat"])[0], dim=0))


def tokenize(texts: list[str]) -> Tensor:
    return torch.tensor([[ord(letter) for letter in text[:6].ljust(6)] for text in texts])


class Tokens(Pair):
    def encode_text(self, tokens: Tensor) -> Tensor:
        return tokens[:, :5].float() if tokens.dtype == torch.int64 else None


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_model_transform_and_tokenizer_come_in_any_order(order):
    from torchvision import transforms

    rest = {1: transforms.Compose([transforms.Resize(8), transforms.ToTensor()]), 2: tokenize}

    two = read_two_tower((Tokens(), *(rest[place] for place in order)), "x")

    assert two.transform is rest[1]
    assert two.text.encode(["abcdefg"]).tolist() == [[97.0, 98.0, 99.0, 100.0, 101.0]]


def test_a_dict_and_a_pair_of_callables_give_both_towers(images):
    words, linear = Words(), nn.Linear(3, 5)
    see = lambda pixels: linear(pixels.mean(dim=(2, 3)))  # noqa: E731

    mapped = read_two_tower({"image": see, "text": words, "logit_scale": 30.0, "logit_bias": -1.0}, "x")
    paired = read_two_tower((see, words), "x")

    for two in (mapped, paired):
        torch.testing.assert_close(two.images(images), see(images))
        torch.testing.assert_close(two.text.embed(["cat"])[0], nn.functional.normalize(words(["cat"])[0], dim=0))
    assert (mapped.text.logit_scale, mapped.text.logit_bias) == (30.0, -1.0)
    assert paired.text.logit_scale == 100.0


def test_a_module_with_its_transform_is_no_pair_of_towers():
    from torchvision import transforms

    assert read_two_tower((nn.Linear(3, 5), transforms.ToTensor()), "x") is None
    assert read_two_tower((nn.Linear(3, 5), nn.Sequential(transforms.CenterCrop(8))), "x") is None
    assert read_two_tower(nn.Linear(3, 5), "x") is None


def test_a_text_tower_without_a_tokenizer_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"must take texts, got no tokenizer; return \(model, transform, tokenizer\)"):
        read_two_tower(Tokens(), "my.py:model")


def test_a_dict_with_a_slip_is_refused():
    with pytest.raises(ValueError, match="unknown key 'tokeniser'"):
        read_two_tower({"image": nn.Identity(), "text": Words(), "tokeniser": tokenize}, "x")


def test_a_file_returns_a_bare_open_clip_model_with_its_own_normalisation(teacher_folder, tmp_path, images):
    file = tmp_path / "mine.py"
    file.write_text(f"import open_clip\ndef model():\n    return open_clip.create_model('local-dir:{teacher_folder}')\n")
    named = load_encoder(f"open_clip:{teacher_folder}", image_size=16)

    # this model's vocabulary is CLIP's, so that its tokenizer need not be given
    encoder = load_encoder(f"{file}:model", image_size=16)

    torch.testing.assert_close(encoder(images), named(images))
    torch.testing.assert_close(encoder.text_tower.class_weights(CLASSES, TEMPLATES), named.text_tower.class_weights(CLASSES, TEMPLATES))


def test_a_copy_of_an_encoder_does_not_copy_its_text_tower(teacher_folder):
    encoder = load_encoder(f"open_clip:{teacher_folder}", image_size=16)

    assert copy.deepcopy(encoder).text_tower is encoder.text_tower


def test_a_teacher_from_a_file_or_the_hub_names_classes_by_its_own_texts(tmp_path):
    write_hub_model(tmp_path, "siglip")

    teacher = load_teacher(f"hf:{tmp_path}", image_size=16)

    assert teacher.has_text
    assert teacher.class_weights(CLASSES, TEMPLATES).shape == (16, 3)
    assert teacher.logit_scale == pytest.approx(11.0, rel=1e-5)


def test_a_teacher_without_texts_embeds_images_and_says_what_it_lacks_for_classes(tmp_path):
    from distill.errors import DistillError

    file = tmp_path / "bare.py"
    file.write_text("import torch\ndef model():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 4))\n")

    teacher = load_teacher(f"{file}:model", image_size=16)

    assert teacher.embed_images(torch.rand(2, 3, 16, 16)).shape == (2, 4)
    assert not teacher.has_classes
    with pytest.raises(DistillError, match="give --class-weights"):
        teacher.class_weights(CLASSES, TEMPLATES)
