"""Texts, groups and charts of the dashboard, without Streamlit."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
from plotly.colors import sample_colorscale, unlabel_rgb

from app import charts
from app.panels.groups import collect_seeds, zero_shot
from app.panels.measures import images_behind
from app.panels.outcome import outcome_dots, outcome_sentences
from app.panels.report_view import ReportView
from app.panels.steps import Step, group_of, shortened, step_dots, steps
from app.panels.wording import escape, estimate, number
from app.views.separability import EXCESS, excess_sentence
from app.views.students import class_sentence, curve_lines, grid_cells, grid_sentence
from app.views.why import alternatives_table
from diagnose.schema import Estimate, ProbeRecord
from diagnose.wording.words import first_sentence


@pytest.fixture(scope="module")
def view(stored: ModuleType) -> ReportView:
    return ReportView(stored.build_report("made-up")[0])


@pytest.mark.parametrize("text", ["**b**", "<script>", "[a](b)", ":red[x]", "$x$", "`c`", "a|b", "# h", "1. x", "~~s~~", "- x", "![i](u)"])
def test_plain_leaves_no_markup_active(text: str) -> None:
    escaped = escape(text)

    assert re.sub(r"\\(.)", r"\1", escaped).replace("\u2060", "") == text
    assert not re.search(r"(?<!\\)(?:\\\\)*[*<>\[\]:$`|#~!_]", escaped)


def test_plain_puts_lines_into_one() -> None:
    assert escape("a\n\n# b\t c") == "a \\# b c"


@pytest.mark.parametrize("text", ["http://x.org", "www.x.org", "a@x.org", ":smile:"])
def test_plain_breaks_links_and_emoji_made_after_parsing(text: str) -> None:
    shown = re.sub(r"\\(.)", r"\1", escape(text))

    assert text not in shown
    assert shown.replace("\u2060", "") == text


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(0.434, "points", "43.4 points"), (-0.02, "points", "−2.0 points"), (0.5, "share", "50.0 %"), (0.9, "AUC", "0.900")],
)
def test_a_number_is_written_in_its_unit(value: float, unit: str, said: str) -> None:
    assert number(value, unit) == said


def test_an_estimate_is_written_with_interval_and_n() -> None:
    over_images = Estimate(value=0.433, low=0.419, high=0.447, n=5000)
    over_seeds_too = Estimate(value=-0.1, low=-0.2, high=0.0, n=3, over="seeds and images")

    assert estimate(over_images, "share") == "43.3 % (95 % interval 41.9 to 44.7; n = 5,000 images)"
    assert estimate(over_seeds_too, "cosine") == "−0.100 (95 % interval over seeds and images −0.200 to 0.000; n = 3 seeds)"


def test_the_first_sentence_does_not_end_within_a_number() -> None:
    assert first_sentence("It is 4.3 points (1.0 to 2.0) wider. On real images more. End.") == (
        "It is 4.3 points (1.0 to 2.0) wider.",
        "On real images more. End.",
    )
    assert first_sentence("One") == ("One", "")


def test_a_sentence_may_begin_with_a_number() -> None:
    assert first_sentence("More in 1 of 2 comparisons. 100 % gains 3.0 points. End.") == (
        "More in 1 of 2 comparisons.",
        "100 % gains 3.0 points. End.",
    )
    assert first_sentence("It is about ca. 5 points, approx. that.")[1] == ""


def test_students_are_grouped_by_loss_and_training_domain_synthetic_first(view: ReportView) -> None:
    groups = view.groups

    assert [(group.key, group.trained_on, len(group.students)) for group in groups][:2] == [
        ("l2", "synthetic", 3),
        ("image_text_contrastive", "synthetic", 3),
    ]
    assert [group.trained_on for group in groups] == ["synthetic"] * 3 + ["real"] * 2


def test_a_group_reports_the_mean_with_the_lowest_and_highest_seed(view: ReportView) -> None:
    found = collect_seeds(view.groups[1], lambda student: zero_shot(student, "real"))

    assert found is not None
    assert found.words(percent=True) == "43.3 % (3 seeds, lowest 42.7, highest 43.9; n = 5,000 images each)"


def test_one_seed_keeps_its_own_interval(view: ReportView) -> None:
    alone = ReportView(view.report.model_copy(update={"students": view.report.students[:1]}))

    found = collect_seeds(alone.groups[0], lambda student: zero_shot(student, "real"))

    assert found is not None
    assert "95 % interval 74.9 to 77.3; n = 5,000 images, one seed" in found.words(percent=True)


def test_the_outcome_opens_with_the_widest_gap_and_ends_with_the_teacher(view: ReportView) -> None:
    sentences = outcome_sentences(view)

    assert sentences[0].startswith("**image\\-text contrastive\\, trained on synthetic**: 43.3 %")
    assert "53 points fewer than on synthetic ones: 96.1 %" in sentences[0]
    assert sentences[-1].startswith("**The teacher**: 86.7 %")


def test_a_page_opens_with_the_student_of_the_widest_gap_that_it_can_show(view: ReportView) -> None:
    names = [student.name for student in view.report.students]
    widest = view.widest_gap(names)
    student = next(student for student in view.report.students if student.name == widest)

    assert (student.loss, student.trained_on) == ("image_text_contrastive", "synthetic")
    assert view.widest_gap([names[0], "teacher"]) == names[0]
    assert view.widest_gap(["teacher"]) is None


def test_every_loss_keeps_its_colour_and_every_domain_its_marker(view: ReportView) -> None:
    dots = outcome_dots(view)
    by_colour = {dot.colour for dot in dots if dot.row.startswith("image-text contrastive")}

    assert by_colour == {charts.FIXED["image_text_contrastive"]}
    assert charts.MARKERS["real"] == "circle"
    assert charts.MARKERS["synthetic"] == "diamond"
    assert {dot.colour for dot in dots if dot.row == "teacher"} == {charts.TEACHER}


def test_colours_are_distinct_and_known_losses_keep_theirs_in_any_company() -> None:
    keys = ["mine", "l2", "image_text_contrastive", "other", "image_image_contrastive", "third"]

    made = charts.colours(keys)

    assert len(set(made.values())) == len(keys)
    assert made["l2"] == charts.colours(["l2"])["l2"]
    assert set(made) == set(keys)


def test_two_losses_with_one_usual_colour_do_not_share_it() -> None:
    made = charts.colours(["l2", "squared_l2"])

    assert made["l2"] != made["squared_l2"]


def test_charts_escape_names() -> None:
    dot = charts.Dot("<b>x</b>", 0.5, 0.4, 0.6, charts.TEACHER, "real", "<a href='u'>")

    text = charts.dot_chart([dot], "x").to_json()

    assert "<b>x" not in text
    assert "<a href" not in text


def test_a_dot_chart_holds_values_and_both_ends_of_the_interval() -> None:
    figure = charts.dot_chart([charts.Dot("r", 0.5, 0.4, 0.7, charts.TEACHER)], "x", percent=True)
    mark = next(trace for trace in figure.data if trace.error_x.array is not None)

    assert mark.x[0] == pytest.approx(50)
    assert mark.error_x.array[0] == pytest.approx(20)
    assert mark.error_x.arrayminus[0] == pytest.approx(10)


@pytest.mark.parametrize(("guide", "side"), [(0.1, "left"), (0.9, "right")])
def test_the_words_of_a_guide_stand_on_its_side_with_more_room(guide: float, side: str) -> None:
    figure = charts.dot_chart([charts.Dot("a", 0.5, 0.4, 0.6, "#000000")], "share", guide=guide, guide_label="chance", bounds=(0, 1))

    assert next(note.xanchor for note in figure.layout.annotations if note.text == "chance") == side


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 0.6, 0.7, 0.72, 0.8, 1.0])
def test_the_numbers_of_the_grid_can_be_read_on_every_shade(value: float) -> None:
    figure = charts.grid_chart({("real", "real"): (value, "text")}, ["real"])
    ink = {"white": 1.0, "black": 0.0}[figure.layout.annotations[0].font.color]
    ground = luminance(unlabel_rgb(sample_colorscale([list(step) for step in figure.data[0].colorscale], [value])[0]))

    assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5


def luminance(colour: tuple[float, float, float]) -> float:
    """Relative luminance in [0, 1] of red, green and blue in [0, 255]. Source: WCAG 2.2."""
    parts = [part / 255 for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_findings_become_steps_by_the_first_part_of_their_id(view: ReportView) -> None:
    chain = steps(view)

    assert [step.key for step in chain] == ["outcome", "controls", "loss", "cause", "separability", "drift"]
    assert len(chain[0].findings) == 3
    assert {evidence.source for _, evidence in chain[0].charted} == {"excess_gap"}


def test_a_step_about_losses_has_one_row_a_loss_in_its_colour(view: ReportView) -> None:
    drift = steps(view)[-1]

    dots = step_dots(drift.charted, view)

    assert [dot.row for dot in dots if dot.domain == "real"] == [group.title for group in view.groups[:3]]
    assert {dot.colour for dot in dots} == {charts.FIXED[key] for key in view.keys}


def test_edits_of_one_loss_have_rows_of_their_own_and_only_the_largest_are_drawn(view: ReportView) -> None:
    cause = next(step for step in steps(view) if step.key == "cause")
    finding = cause.findings[0]
    given = finding.evidence[0]
    several = [
        given.model_copy(
            update={
                "what": f"goes over with an exchanged cue {number} (colour)",
                "source": f"reliance/swapped_{number}",
                "estimate": given.estimate.model_copy(update={"value": number / 10}),
            }
        )
        for number in range(5)
    ]
    made = Step("cause", (finding.model_copy(update={"evidence": several}),))

    rows = [dot.row for dot in step_dots(made.charted, view) if dot.colour != charts.TEACHER]

    assert [row.partition(": ")[2] for row in rows] == ["exchanged cue 2", "exchanged cue 3", "exchanged cue 4"]


def test_what_all_rows_begin_with_is_left_out() -> None:
    assert shortened(["gain on real images, L2", "gain on real images, image-text"]) == ["L2", "image-text"]
    assert shortened(["gain on real images, L2", "loss on real images, L2"]) == ["gain on real images, L2", "loss on real images, L2"]
    assert shortened(["L2, trained on real"]) == ["L2, trained on real"]


def test_a_finding_about_several_losses_has_no_colour_of_its_own(view: ReportView) -> None:
    loss = steps(view)[2]

    assert group_of(loss.findings[0], view.groups) is None
    assert {dot.colour for dot in step_dots(loss.charted, view)} == {charts.NEUTRAL}


def test_the_grid_tells_a_loss_that_fails_on_synthetic_images(view: ReportView) -> None:
    groups = [group for group in view.groups if group.key == "image_text_contrastive"]

    cells = grid_cells(groups)

    assert cells["synthetic", "real"][0] == pytest.approx(0.433)
    assert "80.2 % of real images when trained on real ones" in grid_sentence("x", cells)
    assert "cost it 37 points" in grid_sentence("x", cells)
    assert "cannot be told apart" in grid_sentence("x", grid_cells(groups[:1]))


def test_only_the_chosen_kinds_of_students_are_drawn(view: ReportView) -> None:
    whole = curve_lines(view, "zero_shot_real", "real")
    one = curve_lines(view, "zero_shot_real", "real", [view.groups[0].title])

    assert 0 < len(one) < len(whole)
    assert {line.name for line in one} < {line.name for line in whole}
    assert curve_lines(view, "zero_shot_real", "real", []) == []


def test_the_worst_class_is_named_and_classes_without_images_are_passed_over(view: ReportView) -> None:
    import numpy as np

    values = np.full(10, 0.5)
    values[[2, 3, 4]] = np.nan, 0.1, 0.9

    assert "worst on cat (10 %) and best on deer (90 %)" in class_sentence(view, {"g": values}, "real")


def test_excess_over_the_teacher_is_called_sure_only_by_every_interval(view: ReportView) -> None:
    lines = excess_sentence(view, EXCESS[0]).splitlines()

    assert lines[0].startswith("- **image\\-text contrastive\\, trained on synthetic**: 0.15")
    assert lines[0].endswith("more than its teacher by every interval")
    assert "trained on real" in lines[-1]
    assert lines[-1].endswith("not surely more than its teacher")


def test_n_is_that_of_the_images_a_score_rests_on(view: ReportView) -> None:
    group = view.groups[0]
    counts = {"images/available": 90, "images/real": 40, "images/synthetic": 30, "images/sampled_per_domain": 20}
    held = {group.names[0]: ProbeRecord(probe="drift", subject=group.names[0], status="done", counts=counts)}

    assert images_behind(held, group, "linear/auc", "") == 70
    assert images_behind(held, group, "cosine/real", "real") == 40
    assert images_behind(held, group, "cka/real", "real") == 20
    assert images_behind({}, group, "cka/real", "real") == 0


def test_other_explanations_stand_in_a_table_once_each(view: ReportView) -> None:
    table = alternatives_table(view)

    assert table.count("ruled out") == 3
    assert "| capacity: **maybe, not ruled out** |" in table
    assert len(table.splitlines()) == 6
