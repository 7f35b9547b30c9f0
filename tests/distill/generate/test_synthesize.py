"""Synthetic sets: any pipeline through one door, the same pictures however they are drawn, and a manifest that our readers read."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from distill.data.split import load_split
from distill.errors import DistillError
from distill.generate.draw import PipelineRunner
from distill.generate.pipelines import load_pipeline
from distill.generate.requests import image_seed, plan
from distill.generate.settings import Codec, GeneratorConfig
from distill.generate.store import ImageStore
from distill.generate.synthesize import SynthesisConfig, SynthesisResult, synthesize
from distill.text.contexts import Contexts, diverse_prompts, plain_prompts

CLASSES = ("cat", "dog", "ship")


def settings(model: object, **changes: object) -> GeneratorConfig:
    return GeneratorConfig.named(str(model), steps=2, **changes)


def make(
    model: object, out: Path, *, per_class: int = 2, batch_size: int = 3, generator: dict[str, object] | None = None, **changes: object
) -> SynthesisResult:
    own = {name: changes.pop(name) for name in ("resume", "rank", "world") if name in changes}
    config = SynthesisConfig.model_validate(
        {"class_names": list(CLASSES), "generator": settings(model, **(generator or {})), "per_class": per_class, **changes}
    )
    return synthesize(config, plain_prompts(CLASSES, ["a photo of a {}"]), out, batch_size=batch_size, **own)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for top in ("images", "rejected")
        for path in sorted((folder / top).rglob("*.*"))
        if path.suffix != ".parquet"
    }


@pytest.fixture(scope="module")
def whole(stable_diffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of six pictures, drawn in one go by one process."""
    out = tmp_path_factory.mktemp("sets") / "whole"
    make(stable_diffusion, out)
    return out


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl", "dit"])
def test_any_pipeline_draws_a_set_that_load_split_reads(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = request.getfixturevalue(name)

    made = make(folder, tmp_path / "set")
    split = load_split(tmp_path / "set")

    assert (made.wanted, made.done, made.drawn, made.rejected) == (6, 6, 6, {})
    assert split.class_names == CLASSES
    assert np.bincount(split.labels).tolist() == [2, 2, 2]
    assert set(split.domains) == {"synthetic"}
    assert split.captions == [f"a photo of a {word}" for word in CLASSES] * 2
    assert set(split.column("generator")) == {folder.name}
    assert split.pixels().shape == (6, 3, 16, 16)
    assert len({pixels.tobytes() for pixels in split.pixels()}) == 6


def test_the_manifest_says_how_each_picture_was_made(whole: Path) -> None:
    row = pq.read_table(whole / "manifest.parquet").to_pylist()[4]
    told = json.loads(row["settings"])

    assert (row["class_name"], row["label"], row["number"], row["prompt"]) == ("dog", 1, 1, "a photo of a dog")
    assert row["seed"] == image_seed(0, "dog", "a photo of a dog", 1)
    assert (whole / row["file_name"]).read_bytes()[:4] == b"\x89PNG"
    assert (row["codec"], row["rejected"]) == ("png", None)
    assert (told["pipeline"], told["scheduler"], told["steps"], told["precision"]) == (
        "StableDiffusionPipeline",
        "DDIMScheduler",
        2,
        "float32",
    )
    assert set(told["weights"]) == {"text_encoder", "unet", "vae"}


def test_datasets_reads_the_pictures_with_the_same_labels(whole: Path, tmp_path: Path) -> None:
    ours = load_split(whole)

    theirs = datasets.load_dataset("imagefolder", data_dir=str(whole / "images"), split="train", cache_dir=str(tmp_path))

    assert theirs["id"] == ours.ids.tolist()
    assert theirs.features["label"].names == list(CLASSES)
    assert np.array_equal(np.stack([np.asarray(image) for image in theirs["image"]]).transpose(0, 3, 1, 2), ours.pixels())
    assert load_split(whole / "images").fingerprint == ours.fingerprint


def test_a_set_can_be_put_after_real_images(whole: Path, tiny_data: Path) -> None:
    real = load_split(tiny_data / "train-real.parquet")

    both = real.concat(load_split(whole))

    assert len(both) == len(real) + 6
    assert both.domains.tolist() == ["real"] * len(real) + ["synthetic"] * 6
    assert both.captions[-1] == "a photo of a ship"


def test_a_killed_and_resumed_set_has_the_same_bytes(
    stable_diffusion: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add, calls = ImageStore.add, []

    def killed(self: ImageStore, *args: object) -> None:
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        add(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageStore, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        make(stable_diffusion, tmp_path / "set")
    monkeypatch.undo()
    kept = len(files(tmp_path / "set"))

    made = make(stable_diffusion, tmp_path / "set", resume=True)

    assert kept == 4
    assert made.drawn == 2
    assert files(tmp_path / "set") == files(whole)
    assert pq.read_table(tmp_path / "set" / "manifest.parquet").equals(pq.read_table(whole / "manifest.parquet"))


def test_processes_that_share_a_set_make_the_same_one(stable_diffusion: Path, whole: Path, tmp_path: Path) -> None:
    first = make(stable_diffusion, tmp_path / "set", rank=1, world=2)
    second = make(stable_diffusion, tmp_path / "set", rank=0, world=2)

    assert (first.drawn, first.manifest) == (3, None)
    assert (second.drawn, second.done, second.manifest) == (3, 6, tmp_path / "set" / "manifest.parquet")
    assert files(tmp_path / "set") == files(whole)


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_xl", "dit"])
def test_a_picture_does_not_depend_on_its_batch(name: str, request: pytest.FixtureRequest) -> None:
    """Up to rounding: sums of a batch are grouped otherwise, in fp32 that is below one grey level, so a level may tip over."""
    config = settings(request.getfixturevalue(name))
    runner = PipelineRunner(load_pipeline(config), config, CLASSES)
    requests = plan(plain_prompts(CLASSES, ["a {}"]), per_class=1, seed=4, key="")

    together = runner.generate(requests)
    alone = [runner.generate([request])[0] for request in reversed(requests)][::-1]

    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.pixels.astype(int) - other.pixels.astype(int)).max() <= 1
    assert np.abs(together[0].pixels.astype(int) - together[1].pixels.astype(int)).max() > 1


def test_a_scheduler_that_draws_noise_of_its_own_is_fed_one_picture_at_a_time(
    dit: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = settings(dit, scheduler="DDPM", guidance=1.0)
    runner = PipelineRunner(load_pipeline(config), config, CLASSES)
    requests = plan(plain_prompts(CLASSES, ["{}"]), per_class=1, seed=0, key="")

    together = runner.generate(requests)
    alone = runner.generate(requests[1:2])[0]

    assert "one at a time" in caplog.text
    assert np.array_equal(together[1].pixels, alone.pixels)


def test_class_conditional_pipelines_get_their_own_numbers(dit: Path) -> None:
    pipeline = load_pipeline(settings(dit))

    assert pipeline.by_class
    assert pipeline.class_ids(CLASSES) == [3, 1, 2]
    with pytest.raises(ValueError, match=r"`classes` must be ones the generator knows, got 'shop'; choose from ship"):
        pipeline.class_ids(["cat", "shop"])


def test_drawing_leaves_the_global_random_state_alone(stable_diffusion: Path) -> None:
    config = settings(stable_diffusion)
    runner = PipelineRunner(load_pipeline(config), config, CLASSES)
    before = torch.get_rng_state()

    runner.generate(plan(plain_prompts(["cat"], ["a {}"]), per_class=1, seed=0, key=""))

    assert torch.equal(torch.get_rng_state(), before)


def test_a_damaged_or_missing_picture_is_drawn_again(stable_diffusion: Path, whole: Path, tmp_path: Path) -> None:
    make(stable_diffusion, tmp_path / "set")
    first, second, *_ = sorted((tmp_path / "set" / "images").rglob("*.png"))
    first.write_bytes(first.read_bytes()[:50])  # as a power cut leaves it
    second.unlink()
    (first.parent / f".{first.name}-half").write_bytes(b"half")
    journal = tmp_path / "set" / "journal" / "000-of-001.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"id": "0-ca')  # a line cut short

    made = make(stable_diffusion, tmp_path / "set", resume=True)

    assert made.drawn == 2
    assert files(tmp_path / "set") == files(whole)
    assert make(stable_diffusion, tmp_path / "set", resume=True).drawn == 0


def test_a_set_can_be_made_larger_and_keeps_its_pictures(stable_diffusion: Path, whole: Path, tmp_path: Path) -> None:
    make(stable_diffusion, tmp_path / "set", per_class=1)
    before = files(tmp_path / "set")

    made = make(stable_diffusion, tmp_path / "set", per_class=2, resume=True)

    assert made.drawn == 3
    assert before.items() <= files(tmp_path / "set").items()
    assert files(tmp_path / "set") == files(whole)


def test_repeats_of_a_prompt_differ_and_seeds_depend_on_what_identifies_the_picture_alone() -> None:
    prompts = plain_prompts(CLASSES, ["a {}", "the {}"])
    short, long = (plan(prompts, per_class=count, seed=0, key="k") for count in (3, 5))

    assert long[: len(short)] == short
    assert len({request.seed for request in long}) == len({request.id for request in long}) == 15
    assert [request.label for request in long[:4]] == [0, 1, 2, 0]
    assert not {request.seed for request in long} & {request.seed for request in plan(prompts, per_class=5, seed=1, key="k")}
    assert all(0 <= request.seed < 2**63 for request in long)


def test_contexts_become_columns_that_can_be_the_task(stable_diffusion: Path, tmp_path: Path) -> None:
    contexts = Contexts(template="{class} {contexts}", dimensions={"place": ["on", "at"], "ground": ["sky", "fur"]})
    config = SynthesisConfig(class_names=list(CLASSES), generator=settings(stable_diffusion), per_class=4)

    synthesize(config, diverse_prompts(CLASSES, contexts), tmp_path / "set")
    task = load_split(tmp_path / "set").task("context_place")

    assert task.class_names == ("at", "on")
    assert np.bincount(task.labels).tolist() == [6, 6]


def test_what_the_teacher_does_not_see_is_left_out_but_stays_in_the_manifest(
    stable_diffusion: Path,
    teacher_folder: Path,
    tmp_path: Path,
) -> None:
    made = make(stable_diffusion, tmp_path / "set", per_class=4, teacher=str(teacher_folder))
    rows = pq.read_table(tmp_path / "set" / "manifest.parquet").to_pylist()
    left_out = [row for row in rows if row["rejected"]]

    assert len(rows) == 12
    assert made.rejected == {"another class to the teacher": len(left_out)}
    assert 0 < len(left_out) < 12
    for row in rows:
        assert (row["seen"] == row["class_name"]) == (row["rejected"] is None)
        assert row["file_name"].startswith("rejected/" if row["rejected"] else "images/")
        assert (tmp_path / "set" / row["file_name"]).is_file()
    assert left_out[0]["rejected"].startswith(f"teacher sees {left_out[0]['seen']} (")
    kept = [row for row in rows if not row["rejected"]]
    if {row["class_name"] for row in kept} == set(CLASSES):
        assert load_split(tmp_path / "set").ids.tolist() == [row["id"] for row in kept]
    else:
        with pytest.raises(ValueError, match="every class of `set` must have images"):
            load_split(tmp_path / "set")


@pytest.mark.parametrize(("codec", "name", "quality"), [("jpeg:80:4:4:4", "JPEG", 80), ("jpeg", "JPEG", 95), ("webp:70", "WEBP", np.nan)])
def test_the_codec_is_chosen_and_recorded(stable_diffusion: Path, tmp_path: Path, codec: str, name: str, quality: float) -> None:
    make(stable_diffusion, tmp_path / "set", per_class=1, codec=Codec.parse(codec), save_size=24)
    split = load_split(tmp_path / "set")

    assert split.column("codec")[0].startswith(codec)
    assert set(split.metadata["codec"]) == {name}
    assert np.array_equal(split.metadata["quality"], [quality] * 3, equal_nan=True)
    assert split.metadata["width"].tolist() == [24] * 3


def write_real(folder: Path, codec: str, count: int = 4) -> Path:
    for number in range(count):
        path = folder / "cat" / f"{number}.{'jpg' if codec == 'JPEG' else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        noise = np.random.default_rng(number).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(noise).save(buffer, codec, **({"quality": 75, "subsampling": "4:2:0"} if codec == "JPEG" else {}))
        path.write_bytes(buffer.getvalue())
    return folder


def test_another_codec_than_the_real_images_have_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from distill.generate.real_codec import check_codec, codec_of

    real = str(write_real(tmp_path, "JPEG"))

    check_codec(Codec.parse("jpeg:75"), real)
    assert caplog.text == ""
    check_codec(Codec.parse("png"), real)

    assert "written as png, but most of" in caplog.text
    assert str(codec_of(real)) == "jpeg:75:4:2:0"


def test_a_lora_changes_the_pictures(stable_diffusion: Path, whole: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from diffusers import StableDiffusionPipeline
    from peft.utils import get_peft_model_state_dict

    pipeline = StableDiffusionPipeline.from_pretrained(stable_diffusion)
    pipeline.unet.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    pipeline.save_lora_weights(tmp_path / "lora", unet_lora_layers=get_peft_model_state_dict(pipeline.unet))

    plain, added = (load_pipeline(settings(stable_diffusion, lora=lora)) for lora in (None, str(tmp_path / "lora")))

    assert plain.facts["weights"]["unet"] != added.facts["weights"]["unet"]
    assert plain.facts["weights"]["vae"] == added.facts["weights"]["vae"]


@pytest.mark.parametrize("name", ["DDIM", "eulerdiscrete", "DPMSolverMultistepScheduler"])
def test_schedulers_are_taken_by_name(stable_diffusion: Path, name: str) -> None:
    wanted = name.lower().removesuffix("scheduler") + "scheduler"

    assert load_pipeline(settings(stable_diffusion, scheduler=name)).facts["scheduler"].lower() == wanted


def test_the_pocket_redraws_an_image_of_its_own(tmp_path: Path) -> None:
    """Its ink and ground are right, as its card says; a blue sky behind a yellow four is bluer than it is red."""
    config = SynthesisConfig(class_names=["four"], generator=GeneratorConfig.named("pocket", steps=4), per_class=1)

    synthesize(config, plain_prompts(["four"], ["a large yellow {} on sky"]), tmp_path / "set")
    pixels = load_split(tmp_path / "set").pixels()[0].astype(float)

    assert pixels.shape == (3, 32, 32)
    assert np.median(pixels[2] - pixels[0]) > 20


def test_a_set_is_not_overwritten_nor_continued_with_other_settings(whole: Path, stable_diffusion: Path, dit: Path) -> None:
    before = files(whole)

    with pytest.raises(FileExistsError, match=r"`out` must be a new folder, .* add --resume"):
        make(stable_diffusion, whole)
    with pytest.raises(DistillError, match=r"`generator.guidance` must be .*, with which .* was begun, got 2.0; choose"):
        make(stable_diffusion, whole, resume=True, generator={"guidance": 2.0})
    with pytest.raises(DistillError, match=r"`seed` must be \d+, with which .* was begun, got 5"):
        make(stable_diffusion, whole, resume=True, seed=5)
    assert files(whole) == before


def test_other_weights_under_the_same_name_are_refused(stable_diffusion: Path, tmp_path: Path) -> None:
    import shutil

    from diffusers import StableDiffusionPipeline

    model = tmp_path / "model"
    shutil.copytree(stable_diffusion, model)
    make(model, tmp_path / "set", per_class=1)
    pipeline = StableDiffusionPipeline.from_pretrained(model)
    with torch.no_grad():
        pipeline.unet.conv_in.weight += 1
    pipeline.save_pretrained(model)

    with pytest.raises(DistillError, match=r"must be the one that .* was begun with, got another weights"):
        make(model, tmp_path / "set", per_class=2, resume=True)


def test_a_second_process_of_the_same_rank_is_refused(tmp_path: Path, stable_diffusion: Path) -> None:
    store = ImageStore(tmp_path / "set", Codec())

    with pytest.raises(DistillError, match="`out` must be filled by one process of rank 0, got a second one"):
        make(stable_diffusion, tmp_path / "set")
    store.close()


def test_an_output_that_cannot_be_written_is_refused_before_a_generator_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DistillError, match=r"`out` must be a folder that can be written, got .*file/set"):
        make("no such folder anywhere", tmp_path / "file" / "set")
