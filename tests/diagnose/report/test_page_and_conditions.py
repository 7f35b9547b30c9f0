"""The page (escaping, nothing fetched, figures) and the conditions of `--fail-on`."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as xml

import numpy as np
import pytest

from diagnose import run
from diagnose.inputs.subjects import Subject
from diagnose.judge import conditions
from diagnose.report import junit, render
from diagnose.schema import Report
from diagnose.stored_images.samples import Row

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Tags(HTMLParser):
    """Notes every tag, and that each is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("stand_ins", Path(__file__).parents[1] / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    stand = module_from_spec(spec)
    spec.loader.exec_module(stand)
    out = tmp_path_factory.mktemp("run")
    students = [stand.student(f"<script>alert({i})</script>", i, green) for i, green in enumerate((0.05, 0.8))]
    teacher = Subject("teacher & <i>co</i>", stand.encoder(0.0), 10, weights_hash="t")
    images = {domain: stand.paint(domain, 120) for domain in ("real", "synthetic")}
    report = run.diagnose(
        students,
        teacher,
        class_weights=np.eye(4, 3),
        out=out,
        name='<img src=x onerror="x()">',
        about="</style><b>",
        probes=("transfer", "drift"),
        **images,
    )
    return report, out


def test_every_text_from_outside_is_escaped(whole: tuple[Report, Path]) -> None:
    tags = Tags()
    text = (whole[1] / "report.html").read_text()

    tags.feed(text)

    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "b", "i", "link", "iframe", "object"}
    assert not [attributes for _, attributes in tags.seen if any(name.startswith("on") for name in attributes)]
    assert "&lt;b&gt;ship&lt;/b&gt;" in text
    assert tags.open == []


def test_the_page_fetches_nothing(whole: tuple[Report, Path]) -> None:
    tags = Tags()
    text = (whole[1] / "report.html").read_text()
    tags.feed(text)

    sources = [value for _, attributes in tags.seen for name, value in attributes.items() if name in ("src", "href", "srcset", "data")]
    assert sources
    assert all(value is not None and value.startswith(("data:image/png;base64,", "#")) for value in sources)
    assert not re.search(r"@import|url\(|https?://", text)


def test_the_verdict_comes_before_all_else_and_each_figure_names_its_axis(whole: tuple[Report, Path]) -> None:
    text = (whole[1] / "report.html").read_text()
    body = text[text.index("<body>") :]

    assert body.index(whole[0].verdict.label) < body.index("<h2>")
    assert body.count("<figure") == body.count("<figcaption>") >= 3
    assert body.count("axis-name") >= body.count("<figure")
    assert body.count("<img ") == body.count(" alt=")


def test_a_report_without_images_or_findings_still_makes_a_page(whole: tuple[Report, Path]) -> None:
    bare = whole[0].model_copy(update={"findings": [], "factors": [], "students": [], "probes": [], "counts": {}})

    assert whole[0].verdict.label in render.page(bare)


def test_a_thumbnail_names_the_class_and_the_wrong_guesses(whole: tuple[Report, Path]) -> None:
    row = Row("id-7", b"\x89PNG", "real", 0, "cat", {"a": "dog", "b": "cat", "c": "dog"}, 1)

    text = render.page(whole[0], [row])

    assert "✗ dog × 2" in text
    assert "✓ × 1" in text


@pytest.mark.parametrize(
    ("expression", "held"),
    [
        ("zero_shot_real >= 0", True),
        ("transfer/zero_shot/real < 0", False),
        ("zero_shot/real<=1e0", True),
        ("*synthetic-1: gap > 0.3", True),
        ("*synthetic-0: gap > 0.3", False),
        (" gap > -2 ", True),
    ],
)
def test_conditions_hold_by_score_operator_and_student(expression: str, held: bool, whole: tuple[Report, Path]) -> None:
    assert conditions.check(whole[0], [expression])[0].held is held


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "gap",
        "gap >",
        "> 3",
        "gap > x",
        "gap > nan",
        "gap > inf",
        "__import__('os').system('x') > 1",
        "gap > 1 or 1",
        "a b > 1",
        "gap => 1",
    ],
)
def test_what_is_no_condition_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="--fail-on"):
        conditions.parse(expression)


def test_what_can_never_be_tested_is_refused_beforehand() -> None:
    conditions.foresee(["gap > 1", "l2*: drift/cka/real < 0.5", "linear/auc > 0.9"], ["l2-synthetic-s0"], ["transfer", "drift"])
    with pytest.raises(ValueError, match=r"must name students of the report, got .*; nearest: l2-synthetic-s0"):
        conditions.foresee(["l3*: gap > 1"], ["l2-synthetic-s0"])
    with pytest.raises(ValueError, match=r"got .separability > 0\.9. with transfer only; add --probe separability"):
        conditions.foresee(["separability > 0.9"], ["l2-synthetic-s0"], ["transfer"])


def test_unknown_scores_and_students_list_the_nearest(whole: tuple[Report, Path]) -> None:
    with pytest.raises(ValueError, match=r"nearest: .*excess_gap"):
        conditions.check(whole[0], ["exces_gap > 1"])
    with pytest.raises(ValueError, match="must name students of the report"):
        conditions.check(whole[0], ["nobody: gap > 1"])


def test_a_score_whose_probe_failed_is_an_error_and_not_a_pass(whole: tuple[Report, Path]) -> None:
    broken = [
        record.model_copy(update={"status": "failed", "error": "E", "scores": {}}) if record.probe == "drift" else record
        for record in whole[0].probes
    ]

    with pytest.raises(RuntimeError, match="failed"):
        conditions.check(whole[0].model_copy(update={"probes": broken}), ["drift > 0.1"])


def test_a_condition_that_held_is_a_failure_in_junit_and_its_text_survives(whole: tuple[Report, Path], tmp_path: Path) -> None:
    held = conditions.check(whole[0], ["gap > -1", "gap > 1"])

    root = xml.parse(junit.write(whole[0], tmp_path / "junit.xml", held)).getroot()

    suite = next(item for item in root if item.get("name") == "conditions")
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert {case.get("name") for case in suite} == {"gap > -1", "gap > 1"}
    assert "<script>" in next(iter(root)).find("testcase").get("name")  # type: ignore[union-attr, operator]


def test_reading_rendering_and_judging_need_no_torch() -> None:
    modules = "diagnose.schema, diagnose.report.assemble, diagnose.report.render, diagnose.judge.conditions, diagnose.report.junit, diagnose.report.statement, diagnose.judge.evidence"

    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
