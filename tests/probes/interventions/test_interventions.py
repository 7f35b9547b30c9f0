"""Interventions on hand-made encoders that read one cue each: planted cues, null controls, closed forms, laws and messages."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from probes.edits import EDITS, EXCHANGES, scales
from probes.edits import FAMILIES as ALL_FAMILIES
from probes.edits.colour import luma
from probes.embeddings import EmbeddingTable, embed
from probes.interventions import predictions
from probes.interventions.gap_shares import gap_shares
from probes.interventions.probe import LEAST_IMAGES, _control_names, _EditScores, interventions
from probes.probe_input import ProbeInput
from probes.result import ProbeResult
from probes.stats import paired

CLASSES, SIDE = 4, 16
FAMILIES = ("colour", "border", "texture", "frequency", "codec")
CAST = torch.tensor([[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5], [-0.5, -0.5, 1.0], [0.5, 0.5, -1.0]])
CORNERS = [(0, 0), (0, 13), (13, 0), (13, 13)]
CYCLES = [3, 4, 5, 6]
SIGMAS = [0.3, 0.6, 0.9, 1.6]


def _grain(seed: int) -> torch.Tensor:
    """Four patterns in the centre (smooth) or of pixels (fine), (4, H, W), without mean."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(CLASSES, 1, SIDE, SIDE, generator=draw)


SHAPE = torch.nn.functional.pad(scales.gaussian(_grain(1)[..., 3:13, 3:13], 1.2), (3, 3, 3, 3))[:, 0]
SHAPE = SHAPE / SHAPE.flatten(1).norm(dim=1)[:, None, None]
GRAIN = (_grain(2) - scales.gaussian(_grain(2), 1.0))[:, 0]
GRAIN = GRAIN / GRAIN.flatten(1).norm(dim=1)[:, None, None]


def plant(family: str, images: torch.Tensor, cue: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Tie a cue of one family to the classes `cue` (B,)."""
    across = torch.arange(SIDE)
    if family == "colour":
        images = images + 0.08 * CAST[cue][:, :, None, None]
    elif family == "border":
        images = images.clone()
        for row, (top, left) in enumerate(CORNERS[one] for one in cue.tolist()):
            images[row, :, top : top + 3, left : left + 3] = 0.9
    elif family == "texture":
        images = images + 0.9 * GRAIN[cue][:, None]
    elif family == "frequency":
        waves = torch.stack([torch.sin(2 * torch.pi * (cycles * across / SIDE)) for cycles in CYCLES])
        images = images + 0.08 * waves[cue][:, None, None, :]
    images = images + noise
    if family == "codec":
        images = torch.cat([scales.gaussian(image[None], SIGMAS[one]) for image, one in zip(images, cue.tolist(), strict=True)])
    return images


def reads_shape(images: torch.Tensor) -> torch.Tensor:
    bright = luma(images)[:, 0]
    return torch.einsum("bhw,chw->bc", bright - bright.mean(dim=(1, 2), keepdim=True), SHAPE)


def reads_cue(family: str, images: torch.Tensor) -> torch.Tensor:
    bright = luma(images)[:, 0]
    if family == "colour":
        return 20 * (images - luma(images)).mean(dim=(2, 3)) @ CAST.T
    if family == "border":
        return 5 * torch.stack([bright[:, top : top + 3, left : left + 3].mean(dim=(1, 2)) for top, left in CORNERS], dim=1)
    if family == "texture":
        return 2 * torch.einsum("bhw,chw->bc", bright, GRAIN)
    if family == "frequency":
        return torch.fft.rfft(bright.mean(dim=1))[:, CYCLES].abs()
    fine = (luma(images) - scales.gaussian(luma(images), 1.0)).flatten(1).std(dim=1).log()
    return 3 - 6 * (fine[:, None] - _levels()).abs()


@cache
def _levels() -> torch.Tensor:
    """What `fine` is for each width of the blur, (C,)."""
    noise = 0.06 * torch.randn(50, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    blurred = [luma(scales.gaussian(0.5 + 0.5 * shape + noise, sigma)) for shape, sigma in zip(SHAPE, SIGMAS, strict=True)]
    return torch.stack([(part - scales.gaussian(part, 1.0)).flatten(1).std(dim=1).log().mean() for part in blurred])


def world(family: str | None, *, count: int = 48, seed: int = 0, real_cue: bool = False):
    """Images of both domains; in the synthetic ones the cue is that of the class, in the real ones that of a class drawn by lot."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(2 * count) % CLASSES
    synthetic = torch.arange(2 * count) >= count
    images = 0.5 + 0.5 * SHAPE[labels][:, None].expand(-1, 3, -1, -1)
    noise = 0.06 * torch.randn(images.shape, generator=draw)
    lot = torch.randint(CLASSES, labels.shape, generator=draw)
    cue = torch.where(synthetic | torch.tensor(real_cue), labels, lot)
    images = images + noise if family is None else plant(family, images, cue, noise)
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return pixels, labels.numpy(), np.where(synthetic, "synthetic", "real")


def sight(encode, given, name="student") -> ProbeInput:
    pixels, labels, domain = given
    ids = [f"image-{row:03d}" for row in range(len(labels))]
    table = embed(encode, [torch.from_numpy(pixels)], ids=ids, labels=labels, domain=domain, name=name)
    return ProbeInput(table, [pixels], encode, tuple("abcd"))


def pair(family: str | None, given):
    """Give a student that reads the cue and, more weakly, the shape, and a teacher that reads the shape."""
    student = reads_shape if family is None else lambda images: 0.3 * reads_shape(images) + reads_cue(family, images)
    return sight(student, given), sight(reads_shape, given, "teacher")


@pytest.fixture(scope="module")
def found():
    """Results by family."""
    return {family: interventions(*pair(family, world(family)), class_weights=np.eye(CLASSES), limit=48, draws=200) for family in FAMILIES}


def alarms(result: ProbeResult) -> set[str]:
    return {
        name.removeprefix("adjusted_p/") for name, score in result.scores.items() if name.startswith("adjusted_p/") and score.value < 0.05
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_the_planted_world_is_what_it_claims(family, found):
    scores = found[family].scores

    assert scores["accuracy/none/synthetic"].value > 0.9
    assert scores["accuracy/none/real"].value < 0.7
    assert scores["teacher/accuracy/none/real"].value > 0.7


@pytest.mark.parametrize("family", FAMILIES)
def test_a_planted_cue_is_followed_most_when_its_own_family_is_swapped(family, found):
    result = found[family]
    swapped = {
        name: result.scores[f"reliance/{name}"].value
        for name, edit in EDITS.items()
        if f"follows/{name}/synthetic" in result.scores and edit.family != "spectrum"
    }

    first = max(swapped, key=lambda name: swapped[name])

    assert EDITS[first].family == family
    assert first in alarms(result)


@pytest.mark.parametrize("family", [family for family in FAMILIES if not ALL_FAMILIES[family].is_place])
def test_a_planted_cue_serves_real_images_better_from_their_own_class_than_from_another(family, found):
    result = found[family]
    tied = {
        name: result.scores[f"reliance/{name}"].value
        for name, edit in EDITS.items()
        if edit.kind == "matched" and not ALL_FAMILIES[edit.family].is_place and edit.family != "spectrum"
    }

    first = max(tied, key=lambda name: tied[name])

    assert EDITS[first].family == family
    assert first in alarms(result)


def test_what_a_synthetic_cue_decides_on_real_images_is_counted_as_the_formula_says():
    """Four real images of class 0: right with the cue of the own class, wrong with that of another; the teacher and real cues do less."""
    labels = np.zeros(4, dtype=np.int64)
    plan = predictions.Plan(np.arange(4), labels, np.full(4, "real"), (), np.eye(CLASSES), seed=0)
    ours = {f"{kind}_chroma": np.array(said) for kind, said in
            {"matched": [0, 0, 0, 1], "crossed": [1, 1, 0, 1], "control": [0, 0, 1, 0], "swapped": [0, 1, 1, -1]}.items()}  # fmt: skip
    theirs = {"matched_chroma": np.array([0, 0, 0, 0]), "crossed_chroma": np.array([0, 1, 0, 0])}

    beyond_teacher, beyond_real = _EditScores(plan, (), CLASSES)._tied(ours, theirs, "chroma")

    np.testing.assert_allclose(beyond_teacher, [1, 0, 0])  # the fourth has no partner of another class
    np.testing.assert_allclose(beyond_real, [1, 0, 0])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gap_closes_most_when_the_planted_family_is_matched(family, found):
    closed = {
        name: found[family].scores[f"gap_closed/matched_{name}"].value
        for name in ("channel_statistics", "chroma", "border", "detail", "layout", "peaks", "sharpness")
    }
    first = max(closed, key=lambda name: closed[name])

    assert EDITS[f"matched_{first}"].family == family
    assert found[family].scores[f"gap_closed/matched_{first}"].low > 0.3


def test_a_gap_that_every_image_closes_has_an_interval_all_the_same():
    """Without a spread there is nothing to draw from; three in 43 images might still have said otherwise."""
    domain = np.repeat(["real", "synthetic"], 40)
    before, after = np.repeat([False, True], 40), np.ones(80, dtype=bool)

    [score] = gap_shares({"none": before, "matched_tones": after}, {"none": after, "matched_tones": after}, {"matched_tones": "matched"},
                         domain, chance=0.25, seed=0, draws=100).values()  # fmt: skip

    assert score.value == 1.0
    assert (score.low, score.high) == pytest.approx((1 - 3 / 43, 1 + 3 / 43))


def test_a_student_that_reads_what_its_teacher_reads_raises_no_alarm():
    given = world("colour")
    result = interventions(sight(reads_shape, given), sight(reads_shape, given, "teacher"), class_weights=np.eye(CLASSES), limit=48)

    assert not alarms(result)
    assert {score.value for name, score in result.scores.items() if name.startswith("excess")} == {0.0}


def test_a_cue_that_is_there_but_unused_raises_no_alarm():
    given = world("colour")
    student = lambda images: reads_shape(images) + 0.3 * reads_cue("border", images)  # noqa: E731

    result = interventions(sight(student, given), sight(reads_shape, given, "teacher"), class_weights=np.eye(CLASSES), limit=48)

    assert not alarms(result)


def test_a_cue_used_alike_in_two_halves_of_one_domain_raises_no_alarm():
    given = world("colour", real_cue=True)

    result = interventions(*pair("colour", given), class_weights=np.eye(CLASSES), limit=48)

    assert not alarms(result)
    assert result.scores["follows/swapped_channel_statistics/real"].low > 0.2  # it does use it


def _answers(rng, labels, names, accuracy):
    """Predictions of an encoder that is right by lot, alike in both domains."""
    return {name: np.where(rng.random(len(labels)) < accuracy, labels, rng.integers(0, 10, len(labels))) for name in names}


def test_false_alarms_over_the_whole_list_stay_below_five_percent():
    labels = np.arange(120) % 10
    domain = np.where(np.arange(120) < 60, "real", "synthetic")
    names = tuple(name for name, edit in EDITS.items() if not edit.masked)
    asked = (*names, *_control_names(names, 10, judged=True))
    plan = predictions.Plan(np.arange(120), labels, domain, asked, np.eye(10), seed=0)
    measured, rng, times = _EditScores(plan, names, 10), np.random.default_rng(0), 40
    fired = 0
    for _ in range(times):
        ours, theirs = (_answers(rng, labels, ("none", *asked), accuracy) for accuracy in (0.5, 0.5))
        scores = measured.beside(ours, theirs)
        fired += any(name.startswith("adjusted_p/") and score.value < 0.05 for name, score in scores.items())

    assert fired <= 0.05 * times + 3.1 * np.sqrt(0.05 * 0.95 * times)


def test_one_follower_of_partners_is_counted_as_the_formula_says(found):
    """Four images of class 0 with a partner of class 1 and C = 4: followed, another wrong class, right, followed."""
    labels = np.zeros(4, dtype=np.int64)
    plan = predictions.Plan(np.arange(4), labels, np.full(4, "real"), (), np.eye(CLASSES), seed=0)
    measured = _EditScores(plan, (), CLASSES)
    measured.partner_label = np.ones(4, dtype=np.int64)

    values = measured.followed({"swapped_chroma": np.array([1, 3, 0, 1])}, "swapped_chroma")

    np.testing.assert_allclose(values, [1, -0.5, 0, 1])


def test_accuracy_drop_and_excess_are_those_of_the_stored_predictions(found):
    result = found["colour"]
    arrays, place = result.arrays, list(result.arrays["edits"]).index("grey")
    rows = arrays["domain"] == "real"
    ours, theirs = ((arrays[f"{who}prediction"][:, rows] == arrays["labels"][rows]).mean(axis=1) for who in ("", "teacher/"))

    assert result.scores["accuracy/grey/real"].value == pytest.approx(ours[place])
    assert result.scores["drop/grey/real"].value == pytest.approx(ours[0] - ours[place])
    assert result.scores["excess/grey/real"].value == pytest.approx(ours[place] - theirs[place])
    assert result.scores["excess_drop/grey/real"].value == pytest.approx((ours[0] - ours[place]) - (theirs[0] - theirs[place]))
    for name, score in result.scores.items():
        assert name == name.lower()
        assert score.low <= score.value <= score.high


def test_two_classes_are_compared_with_a_partner_of_the_own_class():
    """With two classes every error is the partner's class; pure damage must not pass for following."""
    pixels, labels, domain = world(None, count=60)
    rows = labels < 2
    given = pixels[rows], labels[rows], domain[rows]

    def damaged(images):
        lot = (images[:, :, ::2, ::2].sum(dim=(1, 2, 3)) * 1e4).sin()
        return reads_shape(images)[:, :2] + 0.02 * lot[:, None] * torch.tensor([1.0, -1.0])

    result = interventions(sight(damaged, given), None, class_weights=np.eye(2), limit=30)

    for domain_name in ("real", "synthetic"):
        score = result.scores[f"follows/swapped_amplitude/{domain_name}"]
        assert score.low <= 0 <= score.high
    assert not any(name.startswith("control") for name in result.arrays["edits"])


def test_without_a_teacher_there_is_accuracy_but_no_excess():
    result = interventions(pair(None, world(None))[0], None, class_weights=np.eye(CLASSES), edits=["grey", "swapped_chroma"])

    assert set(result.scores) == {
        f"{what}/{name}/{domain}"
        for domain in ("real", "synthetic")
        for what, name in [
            ("accuracy", "none"),
            *((what, name) for what in ("accuracy", "drop") for name in ("grey", "swapped_chroma")),
            ("follows", "swapped_chroma"),
        ]
    }
    assert result.reference is None


def test_the_size_of_a_batch_changes_nothing(monkeypatch):
    given = world("colour", count=20)
    whole = interventions(*pair("colour", given), class_weights=np.eye(CLASSES), draws=50)
    monkeypatch.setattr(predictions, "VALUES_AT_ONCE", 3 * SIDE * SIDE * 7)

    parts = interventions(*pair("colour", given), class_weights=np.eye(CLASSES), draws=50)

    np.testing.assert_array_equal(whole.arrays["prediction"], parts.arrays["prediction"])
    assert whole.scores == parts.scores


def test_a_second_student_does_not_ask_the_teacher_again():
    given = world("colour", count=20)
    student, teacher = pair("colour", given)
    asked = []

    def counting(images):
        asked.append(len(images))
        return reads_shape(images)

    watched = ProbeInput(teacher.table, teacher.pixels, counting, teacher.class_names)
    first = interventions(student, watched, class_weights=np.eye(CLASSES), seed=11, edits=["grey", "jpeg"])
    before = sum(asked)
    second = interventions(student, watched, class_weights=np.eye(CLASSES), seed=11, edits=["grey", "jpeg"])

    assert before >= 3 * 40
    assert sum(asked) - before == 8
    assert first.scores == second.scores


def test_an_encoder_in_training_mode_is_asked_in_eval_mode_and_put_back():
    given = world(None, count=12)
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    student = sight(module, given)

    first = student.embed(student.images(np.arange(24)))
    second = np.concatenate([student.embed(student.images(np.array([row]))) for row in range(24)])

    np.testing.assert_allclose(first, second, atol=1e-6)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_embeddings_that_turn_infinite_under_an_edit_are_named():
    given = world(None, count=12)
    fragile = lambda images: reads_shape(images) / (images[:, 0] - images[:, 1]).abs().amax(dim=(1, 2))[:, None]  # noqa: E731

    with pytest.raises(ValueError, match="embeddings of student must be finite, got NaN or infinity under the edit 'grey'"):
        interventions(sight(fragile, given), None, class_weights=np.eye(CLASSES), edits=["hue", "grey"])


def test_progress_reaches_its_total_once_and_never_falls():
    told = []

    interventions(
        *pair(None, world(None, count=12)),
        class_weights=np.eye(CLASSES),
        edits=["grey"],
        seed=5,
        progress=lambda done, total: told.append((done, total)),
    )

    assert told[-1] == (2 * 24, 2 * 24)
    assert told == sorted(told)


def test_masks_add_the_background_and_a_result_survives_saving(tmp_path):
    given = world(None, count=12)
    student, teacher = pair(None, given)
    masks = np.zeros((24, SIDE, SIDE), dtype=bool)
    masks[:, 3:13, 3:13] = True

    result = interventions(student, teacher, class_weights=np.eye(CLASSES), masks=masks, edits=["swapped_background", "grey"])
    result.save(tmp_path / "student")

    assert result.scores["accuracy/swapped_background/real"].value == result.scores["accuracy/none/real"].value  # the shape is inside
    assert ProbeResult.load(tmp_path / "student").to_dict() == result.to_dict()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"class_weights": None}, r"`class_weights` must be a \(D, C\) array for `interventions`, got None"),
        ({"edits": ["gray"]}, "`edits` must be among .*got 'gray'"),
        ({"edits": ["swapped_background"]}, "`masks` must be given for 'swapped_background', got None"),
        (
            {"masks": np.zeros((24, 4, 4), dtype=bool)},
            r"`masks` must have shape \(24, 16, 16\) like the images, got \(24, 4, 4\); resize them",
        ),
        ({"masks": np.zeros((24, 16, 16))}, "`masks` must be bool, true on the object, got float64; threshold them"),
        ({"limit": 7}, "`limit` must be at least 8 images of each domain, got 7"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_remedy(named, message):
    student, teacher = pair(None, world(None, count=12))

    with pytest.raises(ValueError, match=message):
        interventions(student, teacher, **({"class_weights": np.eye(CLASSES)} | named))


def test_images_smaller_than_the_finest_patches_are_refused():
    count = 2 * LEAST_IMAGES
    pixels = np.random.default_rng(0).integers(0, 255, (count, 3, 6, 6), dtype=np.uint8)
    labels, domain = np.arange(count) % 2, np.where(np.arange(count) < LEAST_IMAGES, "real", "synthetic")
    table = EmbeddingTable(np.arange(count).astype(str), np.random.default_rng(1).normal(size=(count, 2)), labels, domain, "student")

    with pytest.raises(ValueError, match=r"images must be at least 8 pixels a side for `interventions`, got \(6, 6\)"):
        interventions(ProbeInput(table, [pixels], lambda images: images.mean(dim=(2, 3))[:, :2], ("a", "b")), None, class_weights=np.eye(2))


@pytest.mark.parametrize(("images", "stands"), [(LEAST_IMAGES - 1, False), (LEAST_IMAGES, True)])
def test_the_least_images_are_those_with_which_the_strongest_effect_stands(images: int, stands: bool) -> None:
    tested = sum(edit.kind in ("removes", "isolates", "swapped") and not edit.masked for edit in EDITS.values())
    tested += len(
        [name for name in EXCHANGES if EDITS.get(f"matched_{name}") and not ALL_FAMILIES[EDITS[f"matched_{name}"].family].is_place]
    )
    always, never = np.ones(images), np.zeros(images)

    _, p = paired.smaller_of(paired.middle_and_error(always - never), paired.difference(always, never))

    assert (p * tested < 0.05) is stands


def test_seven_images_of_a_domain_are_too_few():
    student, teacher = pair(None, world(None, count=7))

    with pytest.raises(ValueError, match="`student` must hold at least 8 real images, got 7; give more real images"):
        interventions(student, teacher, class_weights=np.eye(CLASSES))
