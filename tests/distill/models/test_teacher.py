"""The frozen teacher: open_clip's own numbers, refusals, and a folder that plain open_clip loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import functional as F

from distill.data.split import load_split
from distill.errors import DistillError
from distill.models.checkpoint import read_tensors
from distill.models.encoder import weights_hash
from distill.models.open_clip_models import open_clip_model
from distill.models.teacher import load_teacher, read_class_weights
from distill.text.prompts import fill
from distill.training.teach import TeachConfig, grouped_contrastive, teach

NAMES = ("cat", "dog", "container_ship")
TEMPLATES = ("a photo of a {}.", "{}", "an image of a {}.")
IMAGES = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def copied(teacher_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(teacher_folder, tmp_path / "copied"))


def test_plain_open_clip_loads_the_folder_and_embeds_alike(teacher_folder: Path) -> None:
    teacher = load_teacher(f"local-dir:{teacher_folder}")
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{teacher_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{teacher_folder}")
    model.eval()
    eight_bit = (IMAGES * 255).round().to(torch.uint8)

    from torchvision.transforms.functional import to_pil_image

    with torch.inference_mode():
        theirs = model.encode_image(torch.stack([transform(to_pil_image(image)) for image in eight_bit]), normalize=True)
        text = model.encode_text(tokenizer(["a cat", "a dog"]), normalize=True)

    # The same network on the same pixels; only the memory layout of the images differs.
    torch.testing.assert_close(teacher.embed_images(eight_bit / 255), theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(teacher.embed_text(["a cat", "a dog"]), text, rtol=0, atol=1e-5)
    assert teacher.embed_dim == theirs.shape[1] == 8
    assert teacher.logit_scale == pytest.approx(model.logit_scale.exp().item())


def test_class_weights_are_open_clips_zero_shot_classifier(teacher_folder: Path) -> None:
    teacher = load_teacher(str(teacher_folder))
    model = open_clip.create_model(f"local-dir:{teacher_folder}").eval()
    theirs = open_clip.build_zero_shot_classifier(
        model,
        open_clip.get_tokenizer(f"local-dir:{teacher_folder}"),
        [name.replace("_", " ") for name in NAMES],
        [lambda name, t=template: t.format(name) for template in TEMPLATES],
    )

    ours = teacher.class_weights(NAMES, TEMPLATES)

    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.norm(dim=0), torch.ones(3))
    assert ours.shape == (8, 3)


def test_text_embeddings_do_not_depend_on_order_repeats_or_batches(teacher_folder: Path) -> None:
    teacher = load_teacher(str(teacher_folder))
    texts = ["b", "a", "b", "c"]

    rows = teacher.embed_text(texts, batch_size=2)

    assert torch.equal(rows[0], rows[2])
    torch.testing.assert_close(rows, torch.cat([teacher.embed_text([text]) for text in texts]), rtol=0, atol=1e-5)


def test_teacher_is_frozen_and_in_eval_mode(teacher_folder: Path) -> None:
    teacher = load_teacher(str(teacher_folder))

    rows = teacher.embed_images(IMAGES)

    assert not any(parameter.requires_grad for parameter in teacher.encoder.parameters())
    assert not any(module.training for module in teacher.encoder.modules())
    assert weights_hash(teacher.encoder) == teacher.hash
    with torch.inference_mode():
        torch.testing.assert_close(rows, F.normalize(teacher.encoder(IMAGES), dim=-1), rtol=0, atol=1e-6)
    assert not rows.requires_grad


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("open_clip:ViT-B-33", ValueError, "did you mean .*ViT-B-32"),
        ("open_clip:ViT-B-32/laion3b", ValueError, r"must have the tag 'laion3b', got none of that name; choose from .*laion2b"),
        ("open_clip:ViT-B-32", ValueError, "must name pretrained weights, got a model without a tag; choose from openai"),
        ("local-dir:nowhere", FileNotFoundError, "must be a folder that exists, got nowhere"),
        ("nowhere", ValueError, "must be an open_clip model or a folder"),
    ],
)
def test_unknown_teachers_are_refused_with_the_nearest_names(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_teacher(spec)


def test_folder_without_config_or_weights_is_refused(copied: Path) -> None:
    (copied / "open_clip_model.safetensors").rename(copied / "other.safetensors")
    with pytest.raises(FileNotFoundError, match=r"must hold open_clip_model.safetensors, got none"):
        load_teacher(str(copied))

    (copied / "open_clip_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"must be a folder with open_clip_config.json"):
        load_teacher(f"local-dir:{copied}")


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"model_cfg": {"embed_dim": 8}}'])
def test_broken_config_is_one_line(content: str, copied: Path) -> None:
    (copied / "open_clip_config.json").write_text(content)

    with pytest.raises(DistillError, match=r"`teacher` .* must be loadable, got .*; give a local folder or mend its files"):
        load_teacher(str(copied))


def test_broken_or_foreign_weights_are_one_line(copied: Path) -> None:
    path = copied / "open_clip_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DistillError, match="must be loadable"):
        load_teacher(str(copied))


def test_weights_that_are_not_finite_are_refused(copied: Path) -> None:
    from safetensors.torch import save_file

    path = copied / "open_clip_model.safetensors"
    tensors = read_tensors(path)[0]
    tensors["text.token_embedding.weight"][0, 0] = float("inf")
    save_file(tensors, path)

    with pytest.raises(ValueError, match=r"must be finite, got NaN or infinity in `text.token_embedding.weight`"):
        load_teacher(str(copied))


def test_teacher_without_text_tower_takes_class_weights(teacher_folder: Path, tmp_path: Path) -> None:
    full = load_teacher(str(teacher_folder))
    given = 3.0 * full.class_weights(NAMES, TEMPLATES).numpy()
    np.save(tmp_path / "w.npy", given)

    teacher = load_teacher(f"local-dir:{teacher_folder}", class_weights=tmp_path / "w.npy", image_size=16)

    torch.testing.assert_close(teacher.class_weights(NAMES, TEMPLATES), torch.from_numpy(given / 3))
    torch.testing.assert_close(teacher.embed_images(IMAGES), full.embed_images(IMAGES))
    with pytest.raises(ValueError, match="one column for each of 2 classes, got 3"):
        teacher.class_weights(NAMES[:2], TEMPLATES)
    with pytest.raises(DistillError, match="must have a text tower for text targets"):
        teacher.embed_text(["a cat"])


def test_class_weights_of_another_dimension_are_refused(teacher_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.ones((7, 3)))

    with pytest.raises(ValueError, match=r"`class_weights` must have 8 rows .* got 7"):
        load_teacher(str(teacher_folder), class_weights=tmp_path / "w.npy", image_size=16)


@pytest.mark.parametrize(
    "array", [np.ones(3), np.ones((2, 3, 4)), np.array([["a", "b"]]), np.full((2, 2), np.nan), np.array([[{}]], dtype=object)]
)
def test_class_weights_of_another_kind_are_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", array, allow_pickle=True)

    with pytest.raises(ValueError, match=r"`class_weights` must be .*(save it with numpy.save|embed the prompts again)"):
        read_class_weights(tmp_path / "w.npy")


def test_class_weights_that_are_no_array_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.npy").write_text("1,2,3")

    with pytest.raises(ValueError, match=r"must be a .npy array of numbers"):
        read_class_weights(tmp_path / "w.npy")
    with pytest.raises(FileNotFoundError, match=r"must be a .npy file that exists"):
        read_class_weights(tmp_path / "gone.npy")


def test_class_names_fill_templates_with_spaces_for_underscores() -> None:
    assert fill(TEMPLATES, "container_ship") == ["a photo of a container ship.", "container ship", "an image of a container ship."]
    for templates, message in (([], "at least one template"), (["no place"], "must each hold one"), (["{} {}"], "must each hold one")):
        with pytest.raises(ValueError, match=message):
            fill(templates, "x")


def test_grouped_contrast_equals_loops_over_positives() -> None:
    """UniCL by loops: each image finds its text among the texts, each text its images among the images, all positives alike."""
    g = torch.Generator().manual_seed(1)
    images, text = (F.normalize(torch.randn(n, 4, generator=g, dtype=torch.float64), dim=-1) for n in (5, 2))
    group = torch.tensor([0, 1, 1, 0, 1])
    cosines = 7.0 * (images @ text.T).numpy()

    forth = -np.mean([np.log(np.exp(cosines[i, group[i]]) / np.exp(cosines[i]).sum()) for i in range(5)])
    back = []
    for j in range(2):
        members = [i for i in range(5) if group[i] == j]
        back.append(-np.mean([np.log(np.exp(cosines[i, j]) / np.exp(cosines[:, j]).sum()) for i in members]))

    loss = grouped_contrastive(images, text, group, logit_scale=torch.tensor(7.0, dtype=torch.float64))
    assert loss.item() == pytest.approx((forth + np.mean(back)) / 2, rel=1e-7)  # the shares are float32


def test_grouped_contrast_of_distinct_texts_is_clips_loss() -> None:
    from distill.losses.contrastive import image_text_contrastive

    g = torch.Generator().manual_seed(1)
    images, text = (F.normalize(torch.randn(5, 4, generator=g), dim=-1) for _ in range(2))

    grouped = grouped_contrastive(images, text, torch.arange(5), logit_scale=torch.tensor(7.0))

    torch.testing.assert_close(grouped, image_text_contrastive(images, text, logit_scale=7.0))


@pytest.fixture
def lesson(tiny_data: Path) -> Callable[..., float | None]:
    small = {"embed_dim": 8, "image_tower": "test_byobnet", "image_size": 16, "text_width": 16, "text_layers": 1, "context_length": 12}
    training = {"epochs": 2, "batch_size": 16, "precision": "fp32"}

    def run(out: Path, **changes: object) -> float | None:
        resume = bool(changes.pop("resume", False))
        config = TeachConfig.model_validate({**small, "training": training, **changes})
        test = load_split(tiny_data / "test-real.parquet", domain="real")
        return teach(load_split(tiny_data / "train-real.parquet", domain="real"), out, config=config, test=test, resume=resume)

    return run


def test_taught_teacher_is_whole_and_resumes_to_the_same_bits(
    lesson: Callable[..., float | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill.training import teach as module

    accuracy = lesson(tmp_path / "whole")
    rows: list[int] = []
    real = module.MetricsLog.write

    def killed(self: object, row: dict) -> None:
        rows.append(row["epoch"])
        if row["epoch"] == 2:
            raise KeyboardInterrupt
        real(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(module.MetricsLog, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            lesson(tmp_path / "broken")
    with pytest.raises(FileExistsError, match=r"unfinished teacher; add --resume"):
        lesson(tmp_path / "broken")
    with pytest.raises(DistillError, match=r"images and options must be those that .* was started with"):
        lesson(tmp_path / "broken", resume=True, text_width=32)
    again = lesson(tmp_path / "broken", resume=True)

    assert 0 <= accuracy <= 1
    assert again == accuracy
    weights = [read_tensors(tmp_path / name / "open_clip_model.safetensors")[0] for name in ("whole", "broken")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert load_teacher(str(tmp_path / "broken")).embed_dim == 8
    assert not (tmp_path / "broken" / "resume.safetensors").exists()
    assert [json.loads(line)["epoch"] for line in (tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    with pytest.raises(FileExistsError, match="holds a teacher; choose another folder"):
        lesson(tmp_path / "broken", resume=True)


def test_a_silent_hub_is_one_line_at_once_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would ask again and again for most of a minute."""
    import socket
    import time

    import huggingface_hub

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"waits {seconds} s to ask again"))

    with pytest.raises(
        DistillError, match=r"must be in the hub's cache while the hub cannot be reached \(.*\), got none; download it first"
    ):
        open_clip_model("ViT-B-32/datacomp_xl_s13b_b90k")
    assert not huggingface_hub.constants.HF_HUB_OFFLINE
