"""What the pages Factors, Compare, Students and Separability say, from stored reports, without and with Streamlit."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import ModuleType
from typing import get_args

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import app
from app import charts
from app.panels import confusions, depths, differences, directions, factor_parts, fragility, ladders, sizes, targets
from app.panels.report_view import ReportView
from app.run_store.reports import Run
from app.views import compare, why
from diagnose.judge.verdict import Label
from diagnose.schema import Estimate, Factor, LevelContrast, Verdict
from probes.result import ProbeResult

ENTRY = Path(app.__file__).with_name("dashboard.py")


@pytest.fixture(scope="module")
def view(stored: ModuleType) -> ReportView:
    return ReportView(stored.build_report("made-up")[0])


def open_page(monkeypatch: pytest.MonkeyPatch, root: Path, **address: str) -> AppTest:
    monkeypatch.setenv("SYNTHGAP_RUNS", str(root))
    test = AppTest.from_file(str(ENTRY), default_timeout=60)
    for name, value in address.items():
        test.query_params[name] = value
    return test.run()


def around(value: float, half: float = 0.02) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=3, over="seeds and images")


def contrast(real: float, synthetic: float) -> LevelContrast:
    return LevelContrast(
        factor="temperature",
        level="1.0",
        against="0.07",
        having="a",
        other="b",
        real=around(real),
        synthetic=around(synthetic),
        statement="Made up.",
    )


@pytest.mark.parametrize(
    ("real", "synthetic", "said"),
    [
        (-0.1, 0.1, "it fits the synthetic images"),
        (-0.1, -0.1, "worse on both"),
        (-0.1, 0.0, "worse on real images alone"),
        (0.1, 0.1, "better on both"),
        (0.1, 0.0, "better on real images"),
        (0.01, -0.1, "no sure change on real images"),
    ],
)
def test_a_contrast_is_read_from_its_two_intervals(real: float, synthetic: float, said: str) -> None:
    assert said in factor_parts.reading(contrast(real, synthetic))


@pytest.mark.parametrize(
    ("text", "negatives", "said"),
    [
        (0.2, 0.0, "It is **the text target** that costs accuracy, not being contrastive"),
        (0.0, 0.2, "It is **the use of negatives** that costs accuracy, not the text target"),
        (0.2, 0.04, "It is **the text target** that costs accuracy; whether the other property does too is not settled"),
        (0.3, 0.2, "**Both cost accuracy**, the text target surely more"),
        (0.2, 0.21, "**Both cost accuracy**: "),
        (0.01, -0.2, "Neither costs more than 5 points"),
        (0.06, 0.0, "Neither is shown to cost more than 5 points"),
    ],
)
def test_a_property_is_blamed_by_the_margin_of_the_verdict(view: ReportView, text: float, negatives: float, said: str) -> None:
    costs = {"text_target": around(text), "negatives": around(negatives)}
    made = [Factor(name=name, share=None, points=points, statement="Made up.") for name, points in costs.items()]

    assert said in targets.target_sentence(ReportView(view.report.model_copy(update={"factors": made})))


def test_the_blame_is_told_with_its_numbers_and_nothing_is_blamed_where_nothing_was_told_apart(view: ReportView) -> None:
    assert "32.5 points** (30.5 to 34.5; n = 3 seeds)" in targets.target_sentence(view)
    assert "do not differ" in targets.target_sentence(ReportView(view.report.model_copy(update={"factors": []})))


def test_a_cost_below_nothing_is_said_to_help() -> None:
    assert targets.cost_words(around(-0.01, 0.005)) == "help by **1.0 points** (0.5 to 1.5; n = 3 seeds)"


def test_neighbouring_rows_of_the_kinds_differ_in_one_property(view: ReportView) -> None:
    kinds = list(factor_parts.KIND_WORDS)
    rows = targets.kind_table(view).splitlines()[2:]

    assert all((one[0] != other[0]) + (one[1] != other[1]) == 1 for one, other in itertools.pairwise(kinds))
    assert [row.split("|")[1].strip() for row in rows] == [factor_parts.KIND_WORDS[kind] for kind in kinds[:3]]
    assert all("n = " in row for row in rows)
    assert targets.kind_table(ReportView(view.report.model_copy(update={"students": view.report.students[:1]}))) == ""


def test_plain_words_acquit_contrast_only_where_its_cost_is_surely_small(view: ReportView) -> None:
    verdict = Verdict(label="text_target_costs_real_accuracy", statement="Made up.")

    def said(cost: float) -> str:
        factor = Factor(name="negatives", share=None, points=around(cost), statement="Made up.")
        return targets.in_plain_words(ReportView(view.report.model_copy(update={"verdict": verdict, "factors": [factor]})))

    assert "is not what costs" in said(0.0)
    assert "is not what costs" not in said(0.04)
    assert "hit the text of the class" in said(0.04)


def test_every_label_in_plain_words_is_one_of_the_verdict() -> None:
    assert set(targets.IN_PLAIN_WORDS) | set(why.TITLES) <= set(get_args(Label))


def test_the_bars_of_a_division_end_where_the_gap_ends(view: ReportView) -> None:
    bars = factor_parts.division_bars(view.report.divisions[0])

    assert bars[0].start == 0.0
    assert [bar.start for bar in bars[1:-1]] == [bar.end for bar in bars[:-2]]
    assert bars[-2].end == pytest.approx(bars[-1].end)
    assert len(charts.bar_chart(bars, "points").layout.annotations) == len(bars)


def test_each_kind_of_loss_has_a_row_and_each_loss_its_accuracy_with_n(view: ReportView) -> None:
    lines = factor_parts.kind_sentences(view)

    assert len(lines) == 3
    assert "n = 5,000 images each" in lines[0]
    assert {dot.row for dot in factor_parts.kind_dots(view)} == {
        "teacher",
        *list(factor_parts.KIND_WORDS.values())[:2],
        factor_parts.KIND_WORDS["text", True],
    }


def test_levels_in_which_all_students_agree_have_no_column(view: ReportView) -> None:
    students = [
        student.model_copy(update={"levels": {"temperature": "0.07", "target": student.target or ""}}) for student in view.report.students
    ]

    columns = set(factor_parts.level_table(ReportView(view.report.model_copy(update={"students": students}))).columns)

    assert "image or text target" in columns
    assert "temperature" not in columns


def test_a_difference_of_independent_estimates_has_the_interval_of_mover() -> None:
    value, low, high = differences.difference((0.5, 0.4, 0.6), (0.3, 0.2, 0.4))

    # Symmetric intervals of half-width 0.1 each: the half-width of the difference is 0.1 * sqrt(2).
    assert value == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.2 - 0.02**0.5, 0.2 + 0.02**0.5))


def test_an_accuracy_over_seeds_is_wider_than_that_of_its_images(view: ReportView) -> None:
    group = view.groups[0]

    (mean, low, high), n = differences.accuracy(group, "real")  # type: ignore[misc]

    own = group.students[0].zero_shot.real
    assert own is not None
    assert n == 5000
    assert mean == pytest.approx(0.767)
    assert high - low > own.high - own.low
    # Three seeds, 0.006 apart: t = 4.303 times 0.006 / sqrt(3), and the images' half-width, added in squares.
    assert high - mean == pytest.approx(((4.303 * 0.006 / 3**0.5) ** 2 + (own.high - own.value) ** 2) ** 0.5, rel=0.01)


def test_two_runs_are_paired_by_what_a_loss_is_called(view: ReportView) -> None:
    renamed = [
        student.model_copy(update={"loss": (student.loss or "").replace("image_text_contrastive", "image_text")})
        for student in view.report.students
    ]
    findings = [
        finding.model_copy(update={"id": finding.id.replace("image_text_contrastive", "image_text"), "verdict": "pass"})
        if finding.id == "outcome/image_text_contrastive"
        else finding
        for finding in view.report.findings
    ]
    other = ReportView(view.report.model_copy(update={"students": renamed, "findings": findings}))

    pairs = differences.outcomes(view, other)
    moved, stayed = differences.changed_findings(view, other)

    assert len(pairs) == 10
    assert differences.alone(view, other) == []
    assert all(pair.change[0] == 0.0 for pair in pairs)
    assert [pair.title for pair in moved] == ["outcome, image-text contrastive"]
    assert len(stayed) == len(view.report.findings) - 1


def test_settings_list_what_differs_and_nothing_else(view: ReportView) -> None:
    other = ReportView(view.report.model_copy(update={"counts": {"real": 4000, "synthetic": 5000}}))

    assert differences.settings(view, view) == []
    assert differences.settings(view, other) == [("Count of real", "5,000", "4,000")]


def test_the_curve_over_depth_ends_at_the_embedding_and_says_what_is_given_up(view: ReportView) -> None:
    held = view.records("depth")

    lines = {line.name: line for line in depths.depth_lines(view, held, depths.APART)}
    said = depths.depth_sentence(view, held)

    assert list(lines["teacher"].x) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert list(lines["L2 to the teacher, trained on real"].x) == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert lines["L2 to the teacher, trained on real"].dotted
    assert "**teacher**: up to 0.95, 0.80 (0.78 to 0.82) at the embedding: 0.15 given up again" in said
    assert "0.94 (0.94 to 0.94) at the embedding: 0.00 given up again" in said.replace("\\", "")


def test_the_ladder_names_the_step_at_which_the_curve_falls(view: ReportView) -> None:
    said = ladders.ladder_sentence(view, view.records("ladder"))

    assert "**image\\-text contrastive\\, trained on synthetic**: 0.94 as they are, 0.74 (0.74 to 0.74) at the end" in said
    assert "falls most by 0.20 without fine detail" in said


def test_a_student_that_rests_on_the_difference_loses_by_erasing_it(view: ReportView) -> None:
    lines = directions.direction_sentence(view).splitlines()

    assert "−30.0 points" in lines[1]
    assert "−0.5 by a random direction on synthetic images" in lines[1]
    assert "−1.0 points" in lines[0]


def test_students_of_one_size_are_said_not_to_differ_by_it(view: ReportView) -> None:
    sentence = sizes.size_sentence(view)

    assert sentence.startswith("All students have 320,000 parameters, 4 times fewer than the teacher")
    assert "43.3 %" in sentence
    assert len(sizes.size_points(view)) == 12


def test_an_excess_drop_is_called_sure_only_by_every_interval(view: ReportView) -> None:
    held = view.records("corruptions")

    lines = fragility.fragility_sentence(view, held, "mean").splitlines()

    assert fragility.corruption_kinds(held) == ["mean", "gaussian_noise", "jpeg_compression"]
    assert lines[0].endswith("surely more than its teacher")
    assert "10.0 points" in lines[0]
    assert lines[-1].endswith("not surely more than its teacher")


def test_confusions_are_counted_with_the_teachers_and_an_interval() -> None:
    arrays = {
        "prediction": np.array([1, 1, 2, 0, 1]),
        "teacher/prediction": np.array([1, 0, 0, 0, 1]),
        "labels": np.array([0, 0, 0, 0, 1]),
        "ids": np.array(list("abcde")),
        "domain": np.array(["real"] * 5),
    }
    result = ProbeResult("transfer", "s", None, {}, arrays, {})

    found = confusions.confusions(result, ["ant", "bee", "cat"], 0, "real")

    assert [(item.said, item.count, item.of, item.teacher, item.ids) for item in found] == [
        ("bee", 2, 4, 1, ("a", "b")),
        ("cat", 1, 4, 0, ("c",)),
    ]
    # Wilson's interval of 2 of 4: 0.15 to 0.85.
    assert "(95 % interval 15 to 85; 2 of n = 4)" in confusions.confusion_words(found[0], "ant", "real")
    assert confusions.confusions(ProbeResult("transfer", "s", None, {}, {}, {}), ["ant"], 0, "real") == []


def test_a_factor_and_another_run_can_be_named_in_the_address(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    page = open_page(monkeypatch, runs, run="made-up", page="factors", factor="temperature")
    both = open_page(monkeypatch, runs, run="made-up", page="compare", **{"with": "older"})

    assert not page.exception
    assert page.selectbox(key="chosen-factor").value == "temperature"
    assert not both.exception
    assert both.selectbox(key="chosen-with").value == "older"
    assert any("synthgap diagnose" in block.value for block in both.code)


def test_a_run_is_compared_with_the_one_before_it(tmp_path: Path) -> None:
    first, second, third = (Run(name, tmp_path / name, tmp_path) for name in ("first", "second", "third"))
    newest_first = [third, second, first]

    assert compare.others_of(third, newest_first) == [second, first]
    assert compare.others_of(second, newest_first) == [first, third]


def test_one_run_alone_is_told_to_have_nothing_beside_it(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs / "made-up", page="compare")

    assert not test.exception
    assert "no other run beside" in test.info[0].value
