"""From a config of factors to the report: a tiny grid is trained, diagnosed, written, read back and put on a page."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from diagnose.inputs.load import load_run
from diagnose.report import factor_tables
from diagnose.report.assemble import read
from diagnose.run import diagnose
from diagnose.schema import Report
from distill.training.config import read_experiment
from distill.training.grid import train_grid
from distill.training.grid_session import recipes

ROOT = Path(__file__).parents[2]

STUDENTS = {
    "l2": {"loss": {"l2": 1.0}, "trained_on": ["synthetic", "mix-50", "real"]},
    "image_image": {"loss": {"image_image_contrastive": 1.0}},
    "image_text": {"loss": {"image_text_contrastive": 1.0}, "trained_on": ["synthetic", "real"]},
    "warm": {"loss": {"image_text_contrastive": 1.0}, "temperature": 1.0},
    "place": {"loss": {"image_text_contrastive": 1.0}, "text": "place"},
    "spared": {"loss": {"supcon_text": 1.0}},
}


@pytest.fixture(scope="module")
def run(tiny_data: Path, teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train and diagnose one seed of nine students; the accuracies mean nothing."""
    out = tmp_path_factory.mktemp("factors")
    experiment = {
        "name": "tiny",
        "data": {
            "folder": str(tiny_data),
            "limit": 24,
            "train": {"synthetic": "train-synthetic.parquet", "real": "train-real.parquet"},
            "mixtures": {"mix-50": 0.5},
            "test": {"synthetic": "test-synthetic.parquet", "real": "test-real.parquet"},
        },
        "teacher": {"model": f"local-dir:{teacher_folder}"},
        "student": {"model": "builtin:small_resnet", "kwargs": {"widths": [4, 8]}},
        "training": {"epochs": 1, "batch_size": 12, "precision": "fp32"},
        "views": {"count": 1},
        "texts": {"place": {"templates": ["a {} {where}"], "words": {"where": ["here", "there"]}}},
        "students": STUDENTS,
    }
    (out / "tiny.toml").write_text(tomli_w.dumps(experiment))
    assert train_grid(read_experiment(out / "tiny.toml"), out / "run") == {}
    loaded = load_run(out / "run")
    assert loaded.teacher is not None
    assert loaded.class_weights is not None
    diagnose(
        loaded.subjects,
        loaded.teacher,
        class_weights=loaded.class_weights,
        real=loaded.images["real"],
        synthetic=loaded.images["synthetic"],
        out=out / "run",
        name=loaded.name,
        probes=["transfer"],
    )
    return out / "run"


@pytest.fixture(scope="module")
def report(run: Path) -> Report:
    return read(run)


def test_every_student_has_its_levels_and_its_training_set_by_name(report: Report) -> None:
    levels = {student.name: student.levels for student in report.students}

    assert levels["l2-mix-50-s0"] == {"target": "image", "negatives": "no", "real_images": "50 %"}
    assert levels["place-synthetic-s0"]["text"] == "class and context"
    assert levels["warm-synthetic-s0"]["temperature"] == "1"
    assert {student.trained_on for student in report.students} == {"synthetic", "mix-50", "real"}


def test_the_report_holds_just_the_contrasts_that_the_grid_isolates(report: Report) -> None:
    found = {(item.factor, item.having, item.other) for item in report.contrasts}

    assert found == {
        ("target", "image_text", "image_image"),
        ("negatives", "image_image", "l2"),
        ("positives", "spared", "image_text"),
        ("temperature", "warm", "image_text"),
        ("text", "place", "image_text"),
        ("real_images", "l2 on mix-50", "l2"),
        ("real_images", "l2 on real", "l2"),
        ("real_images", "image_text on real", "image_text"),
    }


def test_the_gap_is_divided_twice_and_each_time_whole(report: Report) -> None:
    first, second = report.divisions

    for division in (first, second):
        assert sum(part.points.value for part in (*division.parts, division.remainder)) == pytest.approx(division.gap.value)
    assert (first.orders, first.possible) == (1, 2)
    assert [part.name for part in second.parts] == ["synthetic_images", "text_target", "negatives"]


def test_the_report_carries_the_paired_difference_of_the_two_costs(report: Report) -> None:
    costs = {factor.name: factor.points for factor in report.factors}
    paired = report.text_minus_negatives

    assert paired is not None
    assert paired.value == pytest.approx(costs["text_target"].value - costs["negatives"].value)
    assert paired.low < paired.value < paired.high
    assert paired.over == costs["text_target"].over


def test_the_summary_holds_the_tables_and_each_number_of_the_report(report: Report, run: Path) -> None:
    page = (run / "summary.md").read_text()

    assert "## The gap of image-text, divided among the text target and the use of negatives" in page
    assert "### Share of real training images" in page
    assert "| 50 % real images | 0 % real images | L2 on mix-50 | L2 |" in page
    rows = [line for line in page.splitlines() if line.startswith("| ") and " points" not in line]
    assert len({line.count("|") for line in rows if line.startswith(("| temperature", "| 50 %"))}) == 1


def test_the_page_of_the_report_draws_the_contrasts(run: Path) -> None:
    page = (run / "report.html").read_text()

    assert "What each other factor changes" in page
    assert "Temperature 1, warm" in page


def test_names_from_outside_make_no_markup_in_the_tables(report: Report) -> None:
    evil = report.model_copy(update={"contrasts": [report.contrasts[0].model_copy(update={"having": "x|<b>"})]})

    lines = factor_tables.section(evil, lambda text: text.replace("|", "").replace("<", ""))

    assert not any("<b>" in line or "x|" in line for line in lines)


def test_a_report_without_factors_has_no_tables(report: Report) -> None:
    assert factor_tables.section(report.model_copy(update={"contrasts": [], "divisions": []})) == []


@pytest.mark.parametrize(("name", "domains"), [("factors", ("synthetic", "real")), ("factors_pocket", ("synthetic",))])
def test_the_shipped_grids_hold_every_kind_of_loss_and_every_level(name: str, domains: tuple[str, ...]) -> None:
    experiment = read_experiment(ROOT / "configs" / f"{name}.toml")
    made = {(recipe.loss_name, recipe.trained_on) for recipe in recipes(experiment)}
    texts = {cell.text for cell in experiment.students.values()}

    assert {(kind, domain) for kind in ("l2", "image_image", "text_cosine", "image_text") for domain in domains} <= made
    assert len(experiment.seeds) == 3
    assert texts >= {"prompt", "context", "one_prompt"}
    if name == "factors":
        assert {str(cell.temperature) for cell in experiment.students.values()} >= {"1.0", "0.1", "0.07", "0.01", "learned"}
        assert {domain for loss, domain in made if loss == "image_text"} == {"synthetic", "mix-1", "mix-10", "mix-50", "real"}
    else:
        assert "caption" in texts
