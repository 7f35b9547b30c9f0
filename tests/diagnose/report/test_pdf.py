"""The report on paper, read back as text: whole, with intervals, and unharmed by names from outside."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from diagnose.report.pdf import evidence_line, pdf
from diagnose.schema import Estimate, Evidence, Report

STORED = Path(__file__).parents[3] / "docs" / "results" / "cifake" / "report.json"


@pytest.fixture(scope="module")
def report() -> Report:
    return Report.model_validate_json(STORED.read_text())


def text_of(content: bytes, folder: Path) -> str:
    """Read a PDF's text with poppler; skip where it is absent."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (Debian: apt-get install poppler-utils)")
    (folder / "report.pdf").write_bytes(content)
    done = subprocess.run(["pdftotext", "-layout", str(folder / "report.pdf"), "-"], capture_output=True, text=True, check=True, timeout=30)
    return " ".join(done.stdout.split())


def test_the_pdf_holds_verdict_findings_and_every_student_with_intervals(report: Report, tmp_path: Path) -> None:
    text = text_of(pdf(report), tmp_path)

    assert report.verdict.statement in text
    assert "Does it fail on real images?" in text
    for student in report.students:
        assert student.name in text
    own = report.students[0].zero_shot.real
    assert own is not None
    assert f"({100 * own.low:.1f} to {100 * own.high:.1f})" in text


def test_the_same_report_gives_the_same_bytes(report: Report) -> None:
    assert pdf(report) == pdf(report)


def test_names_from_outside_neither_break_the_page_nor_reach_past_it(report: Report, tmp_path: Path) -> None:
    students = [report.students[0].model_copy(update={"name": "\x00<b>x</b>" + "w" * 300}), *report.students[1:]]
    odd = report.model_copy(update={"name": "**run** \x1b[31m\u4e2d", "students": students, "about": "a" * 3000, "created": "never"})

    text = text_of(pdf(odd), tmp_path)

    assert "<b>x</b>www" in text
    assert "**run**" in text


def test_a_report_without_findings_is_one_short_document(report: Report) -> None:
    empty = report.model_copy(update={"findings": [], "factors": [], "contrasts": [], "students": report.students[:1]})

    assert pdf(empty).count(b"/Type /Page\n") <= 2


def test_a_number_is_written_with_its_interval_what_it_rests_on_and_the_teachers_own() -> None:
    value = Estimate(value=0.25, low=0.2, high=0.3, n=500)
    item = Evidence(what="gap_beyond", estimate=value, unit="points", teacher=value)

    assert evidence_line(item) == "Gap beyond: 25.0 points (20.0 to 30.0), n = 500 images; its teacher's own 25.0 points (20.0 to 30.0)"


def test_findings_with_fewer_numbers_than_ours_are_left_out_of_the_figures(report: Report) -> None:
    bare = [finding.model_copy(update={"evidence": finding.evidence[:1]}) for finding in report.findings]

    assert pdf(report.model_copy(update={"findings": bare})).startswith(b"%PDF-")
