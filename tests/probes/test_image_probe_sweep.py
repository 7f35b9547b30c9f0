"""Every image probe: finite scores, the same numbers twice and in any batch, encoders and random states as they were, what all refuse."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from probes.attribution.methods import registry as attribution_methods
from probes.compute import memoize
from probes.corruptions import probe as corruptions_probe
from probes.depth.stages import features_at
from probes.embeddings import embed
from probes.interventions import predictions as interventions_predictions
from probes.probe_input import ProbeInput
from probes.registry import PROBES
from probes.result import ProbeResult

SIDE, COUNT, CLASSES = 16, 96, 3
SMALL_SETTINGS = {
    "attribution": {"limit": 12, "checked": 10, "gallery": 2, "steps": 4},
    "interventions": {"limit": 24, "draws": 50},
    "discovery": {"permutations": 19, "components": 3, "slices": 3, "vocabulary": {"colour": ["red", "green", "blue", "dark"]}},
    "corruptions": {"limit": 12, "kinds": ("gaussian_noise", "motion_blur", "snow", "jpeg_compression")},
    "depth": {"limit": 40},
    "ladder": {"limit": 40},
}
"""Settings that make a probe fast; a probe that is not named here runs with its own."""

NEEDS_CLASS_WEIGHTS = {"interventions", "discovery", "corruptions"}
NEEDS_A_MODULE = {"depth"}
OF_EACH_ENCODER = {"attribution", "discovery"}
"""Probes whose scores are about what they find in an encoder, so that a teacher may have others."""

probes_by_name = pytest.mark.parametrize("name", sorted(name for name, spec in PROBES.items() if spec.needs == "images"))


def run(name, student, teacher, **settings):
    return PROBES[name].function(student, teacher, **SMALL_SETTINGS.get(name, {}) | settings)


class Net(nn.Module):
    """Convolutions, batch norms, dropout, attention and a projection."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.GELU(), nn.Conv2d(12, 12, 2, 2))
        self.blocks = nn.Sequential(*[nn.Sequential(nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.GELU()) for _ in range(2)])
        self.drop = nn.Dropout(0.5)
        self.projection = nn.Linear(12 * 16, 10, bias=False)
        with torch.no_grad():
            for parameter in self.parameters():
                fan_in = max(1, parameter[0].numel())
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
            for norm in (self.stem[1], self.blocks[0][1], self.blocks[1][1]):
                norm.weight.fill_(1.0)

    def forward(self, images):
        features = self.blocks(self.stem(images))
        return self.projection(self.drop(F.adaptive_avg_pool2d(features, 4).flatten(1)))


def pictures():
    """Noise whose class is the channel of a bright middle; synthetic images are darker at the border and a little smoother."""
    rng = np.random.default_rng(0)
    labels, synthetic = np.arange(COUNT) % CLASSES, (np.arange(COUNT) // CLASSES) % 2 == 1
    pixels = rng.integers(60, 140, (COUNT, 3, SIDE, SIDE)).astype(np.uint8)
    pixels[np.arange(COUNT), labels, 4:12, 4:12] += 100
    pixels[synthetic, :, :2] //= 3
    return pixels, labels, synthetic


def probe_input(encode, name, pixels, labels, synthetic, rows=slice(None)):
    pixels, labels, synthetic = pixels[rows], labels[rows], synthetic[rows]
    ids = [f"image-{row:03d}" for row in np.arange(COUNT)[rows]]
    domain = np.where(synthetic, "synthetic", "real").tolist()
    facts = {"bytes": 900 + np.arange(COUNT)[rows] % 7, "codec": np.full(len(labels), "jpeg")}
    table = embed(encode, [torch.from_numpy(pixels)], ids=ids, labels=labels.tolist(), domain=domain, name=name, metadata=facts)
    return ProbeInput(table, [pixels], encode, ("red", "green", "blue"), embed_text=embed_text)


def embed_text(texts):
    rows = np.stack([np.random.default_rng(list(text.encode())).normal(size=10) for text in texts])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_inputs(rows=slice(None)):
    """A student and its teacher, and class weights that are the teacher's class means."""
    student, teacher = (probe_input(Net(seed).train(), name, *pictures(), rows) for seed, name in ((1, "student"), (2, "teacher")))
    _, labels, synthetic = pictures()
    everything = probe_input(Net(2), "teacher", *pictures()).table
    weights = np.stack([everything.embeddings[~synthetic & (labels == c)].mean(axis=0) for c in range(CLASSES)], axis=1)
    return student, teacher, weights


@pytest.fixture(autouse=True)
def forget_teachers():
    """What was remembered of a teacher would hide a second run that is not the same as the first."""
    memoize.forget()
    yield
    memoize.forget()


@pytest.fixture(scope="module")
def results():
    """One run of each probe with a teacher, kept for the tests that only read it."""
    known: dict[str, ProbeResult] = {}

    def result_of(name: str) -> ProbeResult:
        if name not in known:
            student, teacher, weights = make_inputs()
            known[name] = run(name, student, teacher, class_weights=weights, seed=3)
        return known[name]

    return result_of


def assert_same(first: ProbeResult, second: ProbeResult) -> None:
    assert first.to_dict() == second.to_dict()
    for key, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[key])


@probes_by_name
def test_every_score_is_finite_and_has_a_plain_name(name, results):
    result = results(name)

    assert result.probe == name
    assert result.subject == "student"
    assert result.reference == "teacher"
    assert result.scores
    assert result.counts
    assert result.versions
    for score in result.scores.values():  # `Score` itself refuses what is not finite or outside its interval
        assert np.isfinite([score.value, score.low, score.high]).all()
    for array in result.arrays.values():
        assert array.dtype.kind in "USbif"
        assert array.dtype.kind != "f" or not np.isinf(array).any()
    for key in list(result.scores) + list(result.arrays):
        assert key == key.lower()
        assert " " not in key


@probes_by_name
def test_the_teacher_has_scores_of_its_own_under_its_prefix(name, results):
    scores = results(name).scores
    twins = [key for key in scores if key.startswith("teacher/")]

    assert twins
    if name not in OF_EACH_ENCODER:
        assert all(key.removeprefix("teacher/") in scores for key in twins)


@probes_by_name
def test_a_probe_gives_the_same_numbers_twice(name, results):
    student, teacher, weights = make_inputs()

    again = run(name, student, teacher, class_weights=weights, seed=3)

    assert_same(results(name), again)


@probes_by_name
def test_a_remembered_teacher_changes_no_number(name, results):
    student, teacher, weights = make_inputs()
    run(name, teacher, teacher, class_weights=weights, seed=3)

    again = run(name, student, teacher, class_weights=weights, seed=3)

    assert_same(results(name), again)


@probes_by_name
def test_numbers_do_not_depend_on_the_size_of_the_batches(name, results, monkeypatch):
    """Seven images in a pass instead of hundreds. Sums in another order differ in the last digits of float32."""
    monkeypatch.setitem(ProbeInput.embed.__kwdefaults__, "batch_size", 7)
    monkeypatch.setitem(features_at.__kwdefaults__, "batch_size", 7)
    monkeypatch.setattr(corruptions_probe, "VALUES_AT_ONCE", 7 * 3 * SIDE * SIDE)
    monkeypatch.setattr(interventions_predictions, "VALUES_AT_ONCE", 7 * 3 * SIDE * SIDE)
    monkeypatch.setattr(attribution_methods, "MAX_BATCH", 7)
    student, teacher, weights = make_inputs()
    batches = [0]
    for each in (student, teacher):
        each.encode.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))

    result = run(name, student, teacher, class_weights=weights, seed=3)

    assert max(batches) <= 7
    whole = results(name)
    assert set(result.scores) == set(whole.scores)
    for key, score in whole.scores.items():
        values = [(each.value, each.low, each.high) for each in (score, result.scores[key])]
        np.testing.assert_allclose(*values, rtol=2e-3, atol=2e-3, err_msg=key)
    assert result.counts == whole.counts


def state_of(module: nn.Module) -> dict[str, object]:
    """Everything of a module that a probe must leave alone."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modes": {key: each.training for key, each in module.named_modules()},
        "hooks": {key: [list(getattr(each, kind)) for kind in hooks] for key, each in module.named_modules()},
        "gradients": {key: (each.requires_grad, each.grad is None) for key, each in module.named_parameters()},
        "weights": {key: each.detach().clone().numpy().tobytes() for key, each in module.state_dict().items()},
        "methods": sorted(vars(module)),
    }


def global_state() -> list[object]:
    numbers = np.random.get_state()  # noqa: NPY002
    return [
        torch.get_rng_state().numpy().tobytes(),
        numbers[1].tobytes(),
        numbers[2],
        random.getstate(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        F.scaled_dot_product_attention,
    ]


def half_trained(module: nn.Module) -> None:
    """Give a module mixed modes, a frozen weight and a hook of the user's own."""
    module.train()
    module.blocks[0].eval()
    module.projection.weight.requires_grad_(False)
    module.stem.register_forward_hook(lambda *_: None)


class Interrupted(Exception):
    """What a caller raises to stop a probe."""


@probes_by_name
@pytest.mark.parametrize("stop_after", [None, 0, 1])
def test_encoders_pixels_and_global_states_are_left_as_they_were(name, stop_after):
    """Also when the caller stops the probe, at its first and at its second report of progress."""
    student, teacher, weights = make_inputs()
    for each in (student, teacher):
        half_trained(each.encode)
    before = [state_of(each.encode) for each in (student, teacher)]
    arrays = [array.copy() for each in (student, teacher) for array in (each.pixels[0], each.table.embeddings)] + [weights.copy()]
    reports = []

    def progress(done, total):
        reports.append((done, total))
        if stop_after is not None and len(reports) > stop_after:
            raise Interrupted

    around = global_state()
    if stop_after is None:
        run(name, student, teacher, class_weights=weights, progress=progress)
    else:
        with pytest.raises(Interrupted):
            run(name, student, teacher, class_weights=weights, progress=progress)

    assert global_state() == around
    assert [state_of(each.encode) for each in (student, teacher)] == before
    after = [array for each in (student, teacher) for array in (each.pixels[0], each.table.embeddings)] + [weights]
    for was, now in zip(arrays, after, strict=True):
        np.testing.assert_array_equal(was, now)
    if stop_after is None:
        assert reports[-1][0] == reports[-1][1]
        assert [done for done, _ in reports] == sorted(done for done, _ in reports)


@probes_by_name
def test_an_encoder_that_fails_is_left_as_it_was(name, monkeypatch):
    student, teacher, weights = make_inputs()
    half_trained(student.encode)
    calls = []

    def failing(images):
        calls.append(len(images))
        raise RuntimeError("the projection is broken")

    monkeypatch.setattr(student.encode.projection, "forward", failing)
    before, around = state_of(student.encode), global_state()

    if name == "discovery":  # it reads the tables and asks no encoder again
        run(name, student, teacher, class_weights=weights)
        assert not calls
    else:
        with pytest.raises(RuntimeError, match="the projection is broken"):
            run(name, student, teacher, class_weights=weights)

    assert state_of(student.encode) == before
    assert global_state() == around


@probes_by_name
def test_a_result_survives_saving(name, results, tmp_path):
    result = results(name)

    result.save(tmp_path / "student")
    loaded = ProbeResult.load(tmp_path / "student")

    assert loaded.to_dict() == result.to_dict()
    for key, array in result.arrays.items():
        np.testing.assert_array_equal(array, loaded.arrays[key])


@probes_by_name
def test_without_a_teacher_there_is_no_reference(name):
    student, _, weights = make_inputs()

    result = run(name, student, None, class_weights=weights, seed=3)

    assert result.reference is None
    assert result.scores
    assert not [key for key in result.scores if key.startswith(("teacher/", "excess"))]


@probes_by_name
def test_class_weights_are_asked_for_where_they_are_needed(name):
    student, teacher, _ = make_inputs()

    if name in NEEDS_CLASS_WEIGHTS:
        with pytest.raises(ValueError, match=rf"`class_weights` must be a \(D, C\) array for `{name}`, got None; embed the class prompts"):
            run(name, student, teacher, class_weights=None)
    else:
        assert run(name, student, teacher, class_weights=None).scores


@probes_by_name
def test_an_encoder_that_is_no_module_is_measured_or_refused(name):
    student, teacher, weights = make_inputs()
    net = student.encode.eval()
    plain = ProbeInput(student.table, student.pixels, lambda images: net(images).detach(), student.class_names, embed_text=embed_text)

    if name in NEEDS_A_MODULE:
        with pytest.raises(ValueError, match="`student` must be a torch module"):
            run(name, plain, teacher, class_weights=weights)
    else:
        assert run(name, plain, teacher, class_weights=weights).scores


@probes_by_name
@pytest.mark.parametrize(("kept", "remedy"), [(0, "got 0; give held-out synthetic images too"), (3, "got 3; give more synthetic images")])
def test_too_few_images_of_a_domain_are_refused(name, kept, remedy):
    _, _, synthetic = pictures()
    rows = np.flatnonzero(~synthetic | (np.cumsum(synthetic) <= kept))
    student, teacher, weights = make_inputs(rows)

    with pytest.raises(ValueError, match=rf"`student` must hold at least \d+ synthetic images, {remedy}"):
        run(name, student, teacher, class_weights=weights)


@probes_by_name
def test_a_teacher_that_was_shown_other_images_is_refused(name):
    student, teacher, weights = make_inputs()
    other = teacher.pixels[0].copy()
    other[0] = 255 - other[0]
    elsewhere = ProbeInput(teacher.table, [other], teacher.encode, teacher.class_names)

    with pytest.raises(ValueError, match="`teacher` must be shown the pixels of `student`, got another image for 'image-000'"):
        run(name, student, elsewhere, class_weights=weights)


@probes_by_name
def test_a_teacher_over_other_rows_is_refused(name):
    student, _, weights = make_inputs()
    _, fewer, _ = make_inputs(np.arange(COUNT - 6))

    with pytest.raises(ValueError, match="`teacher` must have the 96 images of `student`, got 90"):
        run(name, student, fewer, class_weights=weights)


@probes_by_name
def test_class_weights_of_another_dimension_are_refused(name):
    student, teacher, weights = make_inputs()

    with pytest.raises(ValueError, match=r"`class_weights` must have shape \(D, C\) with D = 10 as in `student`, got \(9, 3\)"):
        run(name, student, teacher, class_weights=weights[:-1])
