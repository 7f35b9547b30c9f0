"""Factors of the recipe: the gap divided among them, contrasts of one factor alone, and what is said of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from diagnose.inputs.subjects import Subject
from diagnose.judge.contrasts import level_contrasts, only_difference
from diagnose.judge.evidence import gather
from diagnose.judge.factors import FULL, cells, contrasts, divisions
from diagnose.judge.facts import Divided, Facts, Part
from diagnose.judge.groups import Group
from diagnose.judge.intervals import Sample
from diagnose.judge.verdict import judged
from diagnose.report import findings, statement
from diagnose.report.factor_findings import divisions as division_rows
from diagnose.schema import Estimate
from diagnose.wording.factor_words import short_division
from diagnose.wording.words import short_points
from probes.result import ProbeResult

IMAGES = 400
TEACHER = 0.85

KINDS = {
    "l2": {"target": "image", "negatives": "no"},
    "image_image": {"target": "image", "negatives": "yes", "pool": "batch", "labels": "hard", "temperature": "0.07"},
    "text_cosine": {"target": "text", "negatives": "no", "text": "class prompt", "prompts": "1"},
    "image_text": {
        "target": "text",
        "negatives": "yes",
        "pool": "batch",
        "labels": "hard",
        "temperature": "0.07",
        "text": "class prompt",
        "prompts": "1",
    },
}
SHARES = {"synthetic": "0 %", "mix-10": "10 %", "real": "100 %"}


def group(
    loss: str,
    real: float,
    *,
    synthetic: float = 0.9,
    trained_on: str = "synthetic",
    seeds: int = 3,
    recipe: str = "",
    spread: float = 0.0,
    base: str | None = None,
    **levels: str,
) -> Group:
    """Give students whose mean accuracies are just these, on every image alike, so that intervals have their least width."""
    known = KINDS[base or loss] | {"real_images": SHARES[trained_on]} | levels

    def rows(value: float) -> Sample:
        offsets = spread * (np.arange(seeds) - (seeds - 1) / 2)
        return Sample((np.tile(value + offsets[:, None], (1, IMAGES)),), tuple(range(seeds)))

    subjects = tuple(
        Subject(
            f"{loss}-{trained_on}-{seed}", lambda images: images, 1, loss, seed, trained_on, levels=known, recipe=recipe or base or loss
        )
        for seed in range(seeds)
    )
    return Group(loss, trained_on, subjects, rows(real), rows(synthetic), _flat(TEACHER, seeds), _flat(TEACHER, seeds))


def _flat(value: float, seeds: int) -> Sample:
    return Sample((np.full((seeds, IMAGES), value),), tuple(range(seeds)))


def four(values: Mapping[str, float], **more: object) -> list[Group]:
    return [group(loss, real, **more) for loss, real in values.items()]  # type: ignore[arg-type]


def names(groups: Sequence[Group]) -> list[str]:
    return [f"{item.loss} on {item.trained_on}" for item in groups]


def parts(divided: Divided) -> dict[str, float]:
    return {part.name: part.points.value for part in divided.parts}


ADDITIVE = {"l2": 0.80, "image_image": 0.78, "text_cosine": 0.60, "image_text": 0.58}


def test_additive_costs_are_the_parts_and_parts_and_remainder_make_up_the_gap() -> None:
    """The text target costs 20 points whatever the negatives, negatives 2; the teacher is 27 points ahead, 5 of them of l2 too."""
    groups = four(ADDITIVE)

    (divided,) = divisions(groups, names(groups))

    assert parts(divided) == pytest.approx({"text_target": 0.20, "negatives": 0.02})
    assert divided.remainder.points.value == pytest.approx(0.05)
    assert divided.gap.value == pytest.approx(0.27)
    shares = [part.share.value for part in (*divided.parts, divided.remainder) if part.share is not None]
    assert shares == pytest.approx([0.20 / 0.27, 0.02 / 0.27, 0.05 / 0.27])
    assert (divided.start, divided.end, divided.orders, divided.possible) == ("l2 on synthetic", "image_text on synthetic", 2, 2)


def test_an_interaction_is_split_in_halves() -> None:
    """Only text target and negatives together cost anything."""
    groups = four({"l2": 0.8, "image_image": 0.8, "text_cosine": 0.8, "image_text": 0.5})

    assert parts(divisions(groups, names(groups))[0]) == pytest.approx({"text_target": 0.15, "negatives": 0.15})


def test_the_training_images_are_a_third_factor_where_the_grid_has_them() -> None:
    """A text target costs nothing on real images and 20 points on synthetic ones, which cost all losses 4: the 20 are halved."""
    on_real = {"l2": 0.82, "image_image": 0.82, "text_cosine": 0.82, "image_text": 0.82}
    on_synthetic = {"l2": 0.78, "image_image": 0.78, "text_cosine": 0.58, "image_text": 0.58}
    groups = [*four(on_synthetic), *four(on_real, trained_on="real")]

    found = divisions(groups, names(groups))[1]

    assert parts(found) == pytest.approx({"synthetic_images": 0.14, "text_target": 0.10, "negatives": 0.0})
    assert found.remainder.points.value == pytest.approx(0.03)
    assert (found.start, found.orders, found.possible) == ("l2 on real", 6, 6)


def test_a_grid_with_holes_names_the_orders_that_were_trained() -> None:
    groups = [*four(ADDITIVE), *four({"l2": 0.82, "image_text": 0.81}, trained_on="real")]

    found = divisions(groups, names(groups))[1]

    # From l2 on real images only a change of images leads on: the change to image-text there has no cell in between.
    assert (found.orders, found.possible) == (2, 6)
    assert parts(found) == pytest.approx({"synthetic_images": 0.02, "text_target": 0.20, "negatives": 0.02})
    assert "2 of 6 orders" in division_rows(_facts(divisions=(found,)))[0].statement


def test_a_division_takes_the_seeds_that_all_its_cells_have_so_that_it_adds_up() -> None:
    groups = [*four(ADDITIVE, spread=0.02), group("l2", 0.82, trained_on="real", seeds=1)]

    first, second = divisions(groups, names(groups))

    assert (first.gap.n, second.gap.over) == (3, "images")
    for found in (first, second):
        assert sum(parts(found).values()) + found.remainder.points.value == pytest.approx(found.gap.value, abs=1e-12)
    assert "rests on one training" in division_rows(_facts(divisions=(second,)))[0].statement


def test_two_losses_that_differ_in_both_give_one_joint_part() -> None:
    groups = four({"l2": 0.8, "image_text": 0.58})

    (found,) = divisions(groups, names(groups))

    assert parts(found) == pytest.approx({"text_target_and_negatives": 0.22})
    assert "cannot tell these factors apart" in division_rows(_facts(divisions=(found,)))[0].statement
    assert [item.name for item in contrasts(groups)[0]] == ["text_target_and_negatives"]


@pytest.mark.parametrize("left", [["l2", "image_image"], ["image_image", "image_text"], ["l2", "text_cosine"]])
def test_two_losses_that_differ_in_one_property_give_its_cost_alone(left: list[str]) -> None:
    groups = four({name: ADDITIVE[name] for name in left})

    (found,), both = contrasts(groups)

    assert found.points.value == pytest.approx(ADDITIVE[left[0]] - ADDITIVE[left[1]])
    assert both is None
    assert divisions(groups, names(groups)) == ()


def test_one_seed_has_an_interval_over_images_and_says_so() -> None:
    groups = four(ADDITIVE, seeds=1)

    (found,) = divisions(groups, names(groups))

    assert {part.points.over for part in found.parts} == {"images"}
    assert found.gap.n == IMAGES


def test_more_spread_between_seeds_widens_the_interval_unless_it_is_shared() -> None:
    shared, own = four(ADDITIVE, spread=0.02), four(ADDITIVE)
    own[3] = group("image_text", ADDITIVE["image_text"], spread=0.02)

    (paired,), (alone,) = (divisions(groups, names(groups)) for groups in (shared, own))

    width = [item.parts[0].points.high - item.parts[0].points.low for item in (paired, alone)]
    assert width[0] < 0.02
    assert width[1] > 0.04


def test_students_that_are_all_alike_have_no_part_above_zero_and_no_shares() -> None:
    groups = four(dict.fromkeys(ADDITIVE, TEACHER))

    (found,) = divisions(groups, names(groups))

    assert list(parts(found).values()) == pytest.approx([0.0, 0.0])
    assert [part.share for part in (*found.parts, found.remainder)] == [None] * 3
    assert all(item.real.low <= 0.0 <= item.real.high for item in level_contrasts(groups, names(groups), "synthetic"))
    assert "may be zero" not in division_rows(_facts(divisions=(found,)))[0].statement


def test_students_ahead_of_their_teacher_have_parts_but_no_shares() -> None:
    groups = four({"l2": 0.95, "image_image": 0.95, "text_cosine": 0.93, "image_text": 0.93})

    (found,) = divisions(groups, names(groups))

    assert parts(found) == pytest.approx({"text_target": 0.02, "negatives": 0.0})
    assert {part.share for part in (*found.parts, found.remainder)} == {None}
    assert "8.0 points (7.3 to 8.7) ahead of its teacher" in division_rows(_facts(divisions=(found,)))[0].statement


def test_a_share_of_images_that_all_agree_still_has_an_interval() -> None:
    """The rule of three leaves 3 / 403 of doubt in a part that is zero on every image, of a gap of 27 points."""
    groups = four({"l2": 0.8, "image_image": 0.8, "text_cosine": 0.58, "image_text": 0.58})

    negatives = divisions(groups, names(groups))[0].parts[1]

    assert negatives.share is not None
    assert negatives.share.high == pytest.approx(3 / 403 / 0.27)


def test_kinds_are_compared_at_the_temperature_that_most_students_have() -> None:
    """The colder student is best on synthetic images, but no other kind was trained so cold."""
    cold = group("cold", 0.4, synthetic=0.99, base="image_text", temperature="0.01")

    assert cells([cold, *four(ADDITIVE)], "synthetic")[FULL].loss == "image_text"


def test_of_losses_with_the_same_levels_the_best_on_synthetic_images_stands_for_them() -> None:
    better = group("siglip", 0.3, synthetic=0.95, base="image_text", recipe="siglip")

    assert cells([*four(ADDITIVE), better], "synthetic")[FULL].loss == "siglip"


def test_only_students_that_differ_in_one_thing_are_compared() -> None:
    middle = group("image_text", 0.58)
    cold = group("cold", 0.50, synthetic=0.8, base="image_text", temperature="0.01")
    mixed = group("image_text", 0.70, trained_on="mix-10")
    cold_mixed = group("cold", 0.66, base="image_text", trained_on="mix-10", temperature="0.01")
    groups = [middle, cold, mixed, cold_mixed]

    found = level_contrasts(groups, names(groups), "synthetic")

    assert [(item.factor, item.level, item.against, item.having, item.other) for item in found] == [
        ("temperature", "0.01", "0.07", "cold on synthetic", "image_text on synthetic"),
        ("temperature", "0.01", "0.07", "cold on mix-10", "image_text on mix-10"),
        ("real_images", "10 %", "0 %", "image_text on mix-10", "image_text on synthetic"),
        ("real_images", "10 %", "0 %", "cold on mix-10", "cold on synthetic"),
    ]
    assert [item.real.value for item in found] == pytest.approx([-0.08, -0.04, 0.12, 0.16])
    assert found[0].synthetic.value == pytest.approx(-0.1)
    assert found[0].target == "text"
    assert found[2].trained_on is None


def test_negatives_come_with_the_middle_temperature_and_no_other() -> None:
    middle = {"pool": "batch", "labels": "hard", "temperature": "0.07"}

    assert only_difference(group("l2", 0.8), group("image_image", 0.8), middle) == "negatives"
    assert only_difference(group("l2", 0.8), group("image_image", 0.8, temperature="1"), middle) is None
    assert only_difference(group("l2", 0.8), group("image_text", 0.8), middle) is None


def test_a_temperature_is_compared_within_one_loss_only() -> None:
    other = group("siglip", 0.5, base="image_text", recipe="siglip", temperature="0.01")

    assert only_difference(group("image_text", 0.5), other, {}) is None


def test_losses_of_the_same_levels_are_compared_as_forms() -> None:
    groups = [group("l2", 0.80), group("squared_l2", 0.79, base="l2", recipe="squared_l2")]

    (found,) = level_contrasts(groups, ["l2", "squared_l2"], "synthetic")

    assert (found.factor, found.level, found.against) == ("form", "squared_l2", "l2")
    assert found.real.value == pytest.approx(-0.01)


def test_students_without_a_known_recipe_are_told_apart_by_target_and_negatives_only() -> None:
    groups = [replace_levels(item) for item in four(ADDITIVE)]

    assert parts(divisions(groups, names(groups))[0]) == pytest.approx({"text_target": 0.20, "negatives": 0.02})


def replace_levels(item: Group) -> Group:
    bare = [
        replace(subject, levels={}, recipe="", target=item.levels["target"], negatives=item.levels["negatives"] == "yes")  # type: ignore[arg-type]
        for subject in item.subjects
    ]
    return replace(item, subjects=tuple(bare))


def test_a_student_with_an_unknown_target_takes_no_part() -> None:
    unknown = replace(group("l2", 0.1), subjects=(replace(group("l2", 0.1).subjects[0], levels={}, target=None),))

    assert divisions([unknown], ["unknown"]) == ()
    assert level_contrasts([unknown, *four(ADDITIVE)], ["unknown", *ADDITIVE], "synthetic")


def _facts(**fields: object) -> Facts:
    return Facts("clip", None, None, None, 10, **fields)  # type: ignore[arg-type]


def _results(groups: Sequence[Group]) -> tuple[list[Subject], dict[str, dict[str, ProbeResult]]]:
    """Turn groups into transfer results of whole images, right or wrong."""
    half = IMAGES // 2
    domain = np.repeat(["real", "synthetic"], half)
    found: dict[str, ProbeResult] = {}
    subjects = [subject for item in groups for subject in item.subjects]

    def right(rate: float, count: int) -> np.ndarray:
        return np.arange(count) < round(rate * count)

    for item in groups:
        for row, subject in enumerate(item.subjects):
            correct = np.concatenate([right(item.real.parts[0][row].mean(), half), right(item.synthetic.parts[0][row].mean(), half)])
            arrays = {
                "correct": correct,
                "teacher/correct": np.concatenate([right(TEACHER, half), right(TEACHER, half)]),
                "ids": np.array([f"{name}-{i}" for i, name in enumerate(domain)]),
                "labels": np.zeros(IMAGES, int),
                "domain": domain,
            }
            found[subject.name] = ProbeResult("transfer", subject.name, "clip", {}, arrays, {}, {}, 0, {})
    return subjects, {"transfer": found}


@pytest.fixture(scope="module")
def facts() -> Facts:
    groups = [
        *four(ADDITIVE),
        group("cold", 0.45, base="image_text", temperature="0.01"),
        group("image_text", 0.75, trained_on="mix-10"),
        *four({"l2": 0.82, "image_text": 0.81}, trained_on="real"),
    ]
    subjects, results = _results(groups)
    return gather(subjects, Subject("clip", lambda images: images, 1), results, classes=10)


def test_the_verdict_says_what_share_of_the_gap_the_text_target_makes_up(facts: Facts) -> None:
    said = statement.state(facts)

    assert said.label == "text_target_costs_real_accuracy"
    assert "the text target costs 20 points" in said.statement
    assert "the text target makes up 74 %" in said.statement
    assert "19 % of them are missing with L2 as well" in said.statement
    # The statement is about the students that are compared, not about the coldest, which do worst.
    assert said.statement.startswith("Image-text fails on real images: it is right on 58 %")


def _share(value: float, spread: float = 0.05) -> Estimate:
    return Estimate(value=value, low=value - spread, high=value + spread, n=3, over="seeds")


def test_the_verdict_tells_only_shares_that_are_surely_not_zero() -> None:
    gap = _share(0.3)
    parts = [
        Part("text_target", _share(0.2), _share(0.67)),
        Part("negatives", _share(-0.1), _share(-0.41)),
        Part("other", gap, _share(0.02)),
    ]
    divided = Divided("l2", "image_text", gap, tuple(parts), Part("remainder", _share(0.2), _share(0.74)), 2, 2)

    said = short_division(divided)

    assert said.endswith(
        "the text target makes up 67 % and 74 % of them are missing with L2 as well; the use of negatives gives 41 % back."
    )
    assert "other" not in said


@pytest.mark.parametrize(("value", "words"), [(0.011, "1 point (1 to 1)"), (0.019, "2 points (2 to 2)"), (-0.011, "−1 points (−1 to −1)")])
def test_one_point_is_written_in_the_singular(value: float, words: str) -> None:
    assert short_points(_share(value, 0.0)) == words


def test_students_that_saw_some_real_images_are_not_judged(facts: Facts) -> None:
    assert {item.trained_on for item in judged(facts)} == {"synthetic"}
    assert "image_text" in {item.loss for item in judged(facts)}


def test_every_other_factor_has_its_own_finding(facts: Facts) -> None:
    found = {item.id: item for item in findings.findings(facts, "text_target_costs_real_accuracy")}

    assert found["factors/temperature"].verdict == "warn"
    assert "Temperature 0.01 instead of 0.07 loses 13.0 points" in found["factors/temperature"].statement
    assert "10 % real images instead of 0 % gains 17.0 points" in found["factors/real_images"].statement
    temperature = next(item for item in found["controls"].alternatives if item.name == "temperature")
    assert temperature.status == "ruled out"


def test_shares_of_the_report_add_up_to_one(facts: Facts) -> None:
    for row in division_rows(facts):
        shares = [part.share.value for part in (*row.parts, row.remainder) if part.share is not None]
        assert sum(shares) == pytest.approx(1.0)
    assert [part.share is not None for part in findings.factors(facts)] == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.05])
def test_intervals_of_parts_and_shares_cover_in_95_of_100_draws(spread: float) -> None:
    """Students of three seeds, right on 500 images with a chance that varies by image, loss and seed; true costs are those of ADDITIVE.

    400 draws: a true coverage of 95 % gives at least 92.3 % but in 1 of 100 repeats. The intervals are wide by design (the chance of
    single answers counts twice), so most coverages are above 95 %. Where the gap may be zero there is no share, which claims nothing; that
    must be rare.
    """
    random = np.random.default_rng(int(100 * spread))
    draws, covered = 400, {"text_target": 0, "negatives": 0, "share": 0, "remainder": 0}
    silent = 0
    for _ in range(draws):
        easy = random.uniform(-0.15, 0.15, 500)
        easy -= easy.mean()
        teacher = Sample((np.repeat((random.random(500) < TEACHER + easy)[None], 3, axis=0),), (0, 1, 2))
        groups = []
        for loss, value in ADDITIVE.items():
            chance = value + easy + spread * random.standard_normal((3, 1))
            answers = Sample(((random.random((3, 500)) < chance).astype(float),), (0, 1, 2))
            groups.append(replace(group(loss, value), real=answers, teacher_real=teacher))
        (found,) = divisions(groups, names(groups))
        text, negatives = found.parts
        covered["text_target"] += text.points.low <= 0.20 <= text.points.high
        covered["negatives"] += negatives.points.low <= 0.02 <= negatives.points.high
        covered["remainder"] += found.remainder.points.low <= 0.05 <= found.remainder.points.high
        covered["share"] += text.share is None or text.share.low <= 0.20 / 0.27 <= text.share.high
        silent += text.share is None
    assert min(covered.values()) / draws > 0.923
    assert silent / draws < 0.1
