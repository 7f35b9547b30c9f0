"""The shipped half of the pocket: small enough, loadable by the libraries themselves, and as its card says."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from scipy.stats import norm

from distill.packs import pocket
from distill.packs.pocket import TASKS, card, pipeline_folder, pocket_split, teacher_folder
from distill.packs.pocket.world import TIED, decode
from tools.pocket import build_samples

ASSETS = Path(pocket.__file__).parent / "assets"
PARTS = ("train-synthetic", "test-synthetic", "test-real")


def test_shipped_files_take_at_most_15_megabytes() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) <= 15_000_000


@pytest.mark.parametrize("part", PARTS)
def test_a_part_has_its_size_its_domain_and_balanced_digits(part: str) -> None:
    split = pocket_split(part)

    assert len(split) == pocket.SIZES[part]
    assert set(split.domains) == {part.split("-")[1]}
    assert np.ptp(np.bincount(split.labels)) == 0
    assert set(split.attributes) >= {"digit", "ink", "ground", "parity"}


@pytest.mark.parametrize("task", TASKS)
def test_the_task_sets_the_labels(task: str) -> None:
    split = pocket_split("test-synthetic", task)

    assert split.class_names == TASKS[task][0]
    assert [split.class_names[label] for label in split.labels] == split.column(task)


def test_an_unknown_part_or_task_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"`part` must be one of \['train-synthetic'.*got 'train'"):
        pocket_split("train")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`task` must be one of \['digit'.*got 'colour'"):
        pocket_split("test-real", "colour")


def test_no_fact_about_the_files_tells_the_domains_apart() -> None:
    real, synthetic = (pocket_split(f"test-{domain}").metadata for domain in ("real", "synthetic"))

    for name in ("codec", "bytes", "width", "height", "subsampling"):
        assert set(real[name]) == set(synthetic[name])
        assert len(set(real[name])) == 1


def test_the_manifest_ties_ink_and_ground_at_the_stated_strength() -> None:
    split = pocket_split("train-synthetic")
    expected = build_samples.TIE + (1 - build_samples.TIE) / len(TIED)

    for column, place in (("ink", 0), ("ground", 1)):
        share = np.mean([TIED[digit][place] == value for digit, value in zip(split.column("digit"), split.column(column), strict=True)])
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(split))  # four standard errors


def test_captions_of_the_synthetic_images_are_what_the_manifest_says() -> None:
    split = pocket_split("test-synthetic")
    columns = zip(split.captions, split.column("ink"), split.column("digit"), split.column("ground"), strict=True)

    assert all(f"{ink} {digit} on {ground}" in caption for caption, ink, digit, ground in columns)


def test_the_pipeline_draws_from_a_caption_through_diffusers() -> None:
    pipeline = build_samples.load_pipeline(pipeline_folder())
    prompts = ["a large yellow four on sky", "a large black zero on brick"]

    first, second = (build_samples.draw(pipeline, prompts, seed=1, steps=4).astype(float) for _ in range(2))

    assert first.shape == (2, 32, 32, 3)
    assert (first == second).all()
    assert first[0, ..., 2].mean() - first[0, ..., 0].mean() > 20  # rocket.jpg's sky is blue, brick.png is grey
    assert abs(first[1, ..., 2].mean() - first[1, ..., 0].mean()) < 20


def test_the_pipeline_redraws_a_shipped_image_from_its_manifest() -> None:
    import pyarrow.parquet as pq

    row = pq.read_table(ASSETS / "test-synthetic.parquet").slice(0, 1).to_pylist()[0]
    pipeline = build_samples.load_pipeline(pipeline_folder())

    drawn = build_samples.draw(pipeline, [row["caption"]], row["seed"] // 1_000_000, steps=row["steps"], guidance=row["guidance"])[0]

    # JPEG and another processor's rounding leave a few grey levels; another seed or caption differs by 40 or more
    assert np.abs(drawn.astype(float) - decode(row["file"])).mean() < 8


def test_the_teacher_loads_through_plain_open_clip_and_reaches_its_stated_accuracy() -> None:
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{teacher_folder()}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{teacher_folder()}")
    stated = json.loads((ASSETS / "report.json").read_text())["teacher on test-real"]
    model.eval()
    keep = slice(0, 600)

    images = torch.stack([transform(Image.fromarray(image.transpose(1, 2, 0))) for image in pocket_split("test-real").pixels()[keep]])
    with torch.inference_mode():
        embeddings = model.encode_image(images, normalize=True)
        for task, (names, templates) in TASKS.items():
            prompts = torch.stack([model.encode_text(tokenize([t.format(n) for t in templates]), normalize=True).mean(0) for n in names])
            weights = torch.nn.functional.normalize(prompts, dim=-1)
            found = (embeddings @ weights.T).argmax(1).numpy()
            accuracy = (found == pocket_split("test-real", task).labels[keep]).mean()

            # 600 of the 2,000 images that the stated number rests on: four standard errors
            assert abs(accuracy - stated[task]) < norm.isf(3e-5) * np.sqrt(stated[task] * (1 - stated[task]) / 600) + 0.002
    assert stated["digit"] >= 0.80


def test_the_card_states_the_teachers_accuracy_and_the_tie() -> None:
    stated = json.loads((ASSETS / "report.json").read_text())["teacher on test-real"]

    for value in stated.values():
        assert f"{100 * value:.1f} %" in card()
    assert f"{build_samples.TIE:.0%}".replace("%", " %") in card()
