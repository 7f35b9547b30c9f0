"""The page Cues and what it is made of: the matrix, the images before and after, what discovery found; complete and partial runs."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import app
from app import charts
from app.panels import cue_examples, cue_matrix, discoveries, story
from app.panels.edits import KINDS, edit_words, family_word
from app.panels.report_view import ReportView
from app.run_store.reports import Run, find_runs, load_edited, load_probe, load_report
from diagnose.schema import ProbeRecord
from probes.edits import EDITS
from probes.result import DiagnosticError

ENTRY = Path(app.__file__).with_name("dashboard.py")
STUDENT = "image_text_contrastive-synthetic-s0"


@pytest.fixture(scope="module")
def run(runs: Path) -> Run:
    return next(run for run in find_runs(runs) if run.name == "made-up")


@pytest.fixture(scope="module")
def view(run: Run) -> ReportView:
    return ReportView(load_report(run))


def open_page(monkeypatch: pytest.MonkeyPatch, root: Path, **address: str) -> AppTest:
    monkeypatch.setenv("SYNTHGAP_RUNS", str(root))
    test = AppTest.from_file(str(ENTRY), default_timeout=60)
    for name, value in address.items():
        test.query_params[name] = value
    return test.run()


def words(test: AppTest) -> str:
    blocks = [*test.header, *test.subheader, *test.markdown, *test.info, *test.warning, *test.caption]
    return "\n".join(block.value for block in blocks).replace("\\", "")


def test_every_edit_and_family_of_the_probe_has_plain_words() -> None:
    assert all(edit_words(name) and family_word(name) for name in EDITS)
    assert len({edit_words(name) for name in EDITS}) == len(EDITS)
    assert {edit.kind for edit in EDITS.values()} == set(KINDS)
    assert edit_words("swapped_border") == "the border, taken from an image of another class"
    assert edit_words("grey") == "colours removed: a grey picture"
    assert edit_words("matched_of_tomorrow") == "of tomorrow, taken from a synthetic image of its own class"


def test_the_matrix_frames_what_stands_after_the_correction_in_most_seeds(view: ReportView) -> None:
    held, groups = view.records("interventions"), view.groups

    cells = {(cell.row, cell.column): cell for cell in cue_matrix.cells(held, groups, "removes")}

    framed = {key for key, cell in cells.items() if cell.strong}
    assert framed == {("hue (colour)", "image-text contrastive, trained on synthetic")}
    assert cells["hue (colour)", "image-text contrastive, trained on synthetic"].text == "+31"
    assert "in 3 of 3 seeds" in cells["hue (colour)", "image-text contrastive, trained on synthetic"].hover
    assert len(cells) == 2 * len(groups)


def test_the_sentence_names_the_largest_use_first_and_says_where_nothing_stands_out(view: ReportView) -> None:
    held, groups = view.records("interventions"), view.groups

    lines = cue_matrix.matrix_sentence(held, groups, "isolates").splitlines()

    assert "stands out with border only 22.0 points" in lines[1]
    assert "n = 400 images each" in lines[1]
    assert lines[0].endswith("nothing stands out in 2 tests")


def test_edits_of_a_family_stand_together_and_the_strongest_family_first(view: ReportView) -> None:
    assert cue_matrix.edits_of(view.records("interventions"), "swapped") == ["swapped_chroma", "swapped_border"]


def test_a_cell_can_be_pressed_and_names_are_escaped() -> None:
    cell = charts.Cell("<b>row", "<i>column", -0.2, "−20", hover="<a href='u'>x")

    figure = charts.matrix_chart([cell], ["<b>row"], ["<i>column"], limit=0.4)

    assert list(figure.data[0].customdata[0]) == ["<b>row", "<i>column"]  # data, never drawn
    drawn = "".join(note.text for note in figure.layout.annotations) + figure.data[0].hovertext[0]
    assert "<b>row" not in drawn
    assert "<i>" not in drawn
    assert "<a href" not in drawn
    red, _, blue = (int(part) for part in figure.layout.shapes[0].fillcolor[4:-1].split(","))
    assert blue > red  # below nothing is blue


def test_an_example_holds_the_images_and_both_answers(run: Run, view: ReportView) -> None:
    result = load_probe(run, view.records("interventions")[STUDENT])

    found = cue_examples.examples(load_edited(run), result, "swapped_chroma", view.report.class_names)

    assert len(found) == 4
    assert all(example.partner and example.before != example.after for example in found)
    place = result.arrays["ids"].tolist().index("real-0")
    row = result.arrays["edits"].tolist().index("swapped_chroma")
    first = next(example for example in found if example.domain == "real")
    assert first.student.after == view.report.class_names[result.arrays["prediction"][row, place]]
    assert first.teacher == cue_examples.Answer("airplane", "airplane")


def test_answers_of_another_shape_are_left_out(run: Run, view: ReportView) -> None:
    result = load_probe(run, view.records("interventions")[STUDENT])
    broken = type(result)(**{**vars(result), "arrays": {**result.arrays, "prediction": np.zeros((2, 3), dtype=int)}})

    given = cue_examples.answer(broken, "real-0", "hue", view.report.class_names, "")

    assert given == cue_examples.Answer("", "")
    assert cue_examples.answer_words("Student", given, "cat") == "Student: not stored"


def test_a_wrong_answer_is_marked_by_a_sign_and_not_by_colour_alone() -> None:
    assert cue_examples.answer_words("Student", cue_examples.Answer("cat", "dog"), "cat") == "Student: cat ✓ → **dog ✗**"
    assert cue_examples.answer_words("Student", cue_examples.Answer("cat", "cat"), "cat") == "Student: still cat ✓"


def test_what_is_used_is_told_of_student_and_teacher_with_intervals() -> None:
    def score(value: float) -> dict[str, float | str]:
        return {"value": value, "low": value - 0.05, "high": value + 0.05, "chance": 0.0, "direction": "lower"}

    scores = {
        "follows/swapped_chroma/synthetic": score(0.22),
        "teacher/follows/swapped_chroma/synthetic": score(0.0),
        "drop/grey/real": score(0.1),
    }
    counts = {"images/synthetic": 400}
    held = {STUDENT: ProbeRecord(probe="interventions", subject=STUDENT, status="done", scores=scores, counts=counts)}
    swapped, removed = (cue_examples.use_sentence(held, STUDENT, edit).replace("\u00a0", " ") for edit in ("swapped_chroma", "grey"))

    assert "on **22 % (17 to 27)** of n = 400 synthetic images, its teacher on 0 % (−5 to 5)." in swapped
    assert removed == "It loses accuracy on **10 % (5 to 15)** of real images."
    assert cue_examples.use_sentence(held, "nobody", "grey") == ""


@pytest.mark.parametrize(
    ("telling", "drawn", "said"),
    [
        (2, 0, ", 2 chosen because students change their answer and the teacher does not"),
        (0, 3, ", 3 drawn at random"),
        (2, 1, ", 2 chosen because students change their answer and the teacher does not, 1 drawn at random"),
    ],
)
def test_images_are_said_to_be_chosen_where_they_are(telling: int, drawn: int, said: str) -> None:
    assert cue_examples.chosen_words(telling, drawn) == said


def test_components_without_arrays_keep_their_numbers_and_lose_their_images(run: Run, view: ReportView) -> None:
    record = view.records("discovery")[STUDENT]

    bare = discoveries.components(record, None, view.report.class_names)
    whole = discoveries.components(record, load_probe(run, record), view.report.class_names)

    assert [item.class_name for item in bare] == [item.class_name for item in whole] == ["airplane"]
    assert bare[0].top == ()
    assert len(whole[0].top) == 8
    assert "AUC of 0.96 (0.94 to 0.98" in discoveries.component_sentence(bare[0])
    assert discoveries.name_table(record).iloc[0]["word"] == "blue sky"


def test_the_story_shows_the_edit_of_the_largest_effect(view: ReportView) -> None:
    assert story.proof_of(view) == story.Proof(STUDENT, "swapped_chroma")
    assert story.proof_of(ReportView(view.report.model_copy(update={"findings": []}))) is None
    assert [step.key for step in story.in_order(story.steps(view))] == ["outcome", "controls", "separability", "drift", "cause", "loss"]


def test_a_link_opens_student_and_edit_and_stays_in_the_address(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs, run="made-up", page="cues", student="l2-real-s1", edit="grey")

    assert not test.exception
    assert test.selectbox(key="chosen-student").value == "l2-real-s1"
    assert test.selectbox(key="chosen-edit").value == "grey"
    assert {name: test.query_params[name] for name in ("run", "student", "edit")} == {
        "run": "made-up",
        "student": "l2-real-s1",
        "edit": "grey",
    }

    test.selectbox(key="chosen-edit").set_value("hue").run()

    assert not test.exception
    assert "every hue turned to its opposite" in words(test)


def test_an_address_that_asks_for_what_is_not_there_opens_the_usual_choice(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs, run="made-up", page="cues", student="<b>nobody", edit="../../etc", kind="7")

    assert not test.exception
    assert test.selectbox(key="chosen-student").value == STUDENT


def test_without_images_and_arrays_the_page_says_so_and_keeps_its_numbers(
    monkeypatch: pytest.MonkeyPatch, stored: ModuleType, tmp_path: Path
) -> None:
    folder = stored.store_complete(tmp_path)
    (folder / "edited.parquet").write_bytes(b"not parquet")
    for path in (folder / "probes" / "interventions").iterdir():
        path.unlink()
    (folder / "thumbnails.parquet").unlink()

    test = open_page(monkeypatch, tmp_path, page="cues")

    said = words(test)
    assert not test.exception
    assert "The images before and after the edit, and the answers to them, are not stored" in said
    assert "The images behind what was found are not stored" in said
    assert "18.0 points" in said
    assert any("synthgap diagnose" in block.value for block in test.code)


def test_a_probe_that_failed_shows_its_error_as_text(monkeypatch: pytest.MonkeyPatch, stored: ModuleType, tmp_path: Path) -> None:
    report, _, _ = stored.build_report("failed")
    broken = [
        record.model_copy(update={"status": "failed", "error": "ValueError: <b>no</b>", "scores": {}, "path": ""})
        if record.probe in ("interventions", "depth", "ladder", "corruptions", "discovery")
        else record
        for record in report.probes
    ]
    folder = tmp_path / "failed"
    folder.mkdir()
    (folder / "report.json").write_text(report.model_copy(update={"probes": broken}).model_dump_json())

    for page in ("cues", "separability", "students"):
        test = open_page(monkeypatch, tmp_path, page=page)

        assert not test.exception
        assert test.warning
        assert "ValueError" in test.warning[0].value
        assert "<b>no" not in test.warning[0].value
        assert any("synthgap diagnose" in block.value for block in test.code)


def test_edited_images_of_the_wrong_columns_or_kind_are_refused_or_left_out(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "done").touch()
    other = find_runs(tmp_path)[0]
    table = load_edited(run)

    table.drop(columns="partner").to_parquet(folder / "edited.parquet")
    with pytest.raises(DiagnosticError, match=r"edited.parquet.*must hold the columns"):
        load_edited(other)
    pd.concat([table.head(2), table.head(1).assign(image=b"GIF89a")]).to_parquet(folder / "edited.parquet")

    assert len(load_edited(other)) == 2
