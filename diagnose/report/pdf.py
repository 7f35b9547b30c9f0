"""The report as a PDF: verdict, figures, chain of evidence, every number with its interval; written by fpdf2, without a browser."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import matplotlib
from fpdf import FPDF
from fpdf.enums import XPos, YPos

from diagnose.report.pdf_figures import INK, SOFT, draw, height, rgb
from diagnose.report.render import BADGES, sections
from diagnose.schema import Estimate, Evidence, Report
from diagnose.wording.words import first_sentence, number, percent, plain, points, teacher_name, upper_first

MARGIN = 18.0
"""Millimetres."""

COLOURS = {"pass": "#00664b", "fail": "#a33a00", "warn": "#7a5c00", "inconclusive": "#555c66"}
WRITTEN = {"points": points, "share": percent}


class Paper(FPDF):
    """A4 pages with the run's name and the page's number at their feet.

    Args:
        name: of the run.
    """

    def __init__(self, name: str) -> None:
        super().__init__(format="A4")
        self.foot = name
        self.set_margins(MARGIN, MARGIN, MARGIN)
        self.set_auto_page_break(True, MARGIN)
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.add_font("text", "", fonts / "DejaVuSans.ttf")
        self.add_font("text", "B", fonts / "DejaVuSans-Bold.ttf")

    def footer(self) -> None:
        """Write the foot of a page."""
        self.set_y(-12)
        self.style(7.5, SOFT)
        self.cell(0, 5, f"{self.foot}, page {self.page_no()} of {{nb}}", align="C")

    def style(self, size: float, colour: str = INK, *, bold: bool = False) -> None:
        """Set size in points, colour and weight of what is written next."""
        self.set_font("text", "B" if bold else "", size)
        self.set_text_color(*rgb(colour))

    def write_lines(
        self, text: str, size: float, colour: str = INK, *, bold: bool = False, indent: float = 0.0, after: float = 1.5
    ) -> None:
        """Write a paragraph that wraps; `indent` and `after` in millimetres."""
        self.style(size, colour, bold=bold)
        self.set_x(MARGIN + indent)
        self.multi_cell(self.epw - indent, size * 0.48, printable(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(after)

    def heading(self, text: str, below: float = 30.0) -> None:
        """Write a heading that does not stand alone at the foot of a page; `below` in millimetres is kept together with it."""
        if self.will_page_break(min(below + 15, self.eph - 20)):
            self.add_page()
        self.ln(4)
        self.write_lines(text, 12.5, bold=True, after=2)


def printable(text: str) -> str:
    """Leave out what has no place on paper, such as control characters."""
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")


def pdf(report: Report) -> bytes:
    """Return the report as the bytes of a PDF, A4.

    Args:
        report: the report; nothing else is read.
    """
    paper = Paper(printable(report.name))
    paper.set_title(printable(f"{report.name}: {plain(report.verdict.label)}"))
    paper.set_lang("en")
    paper.set_creation_date(_made(report))
    paper.add_page()
    _opening(paper, report)
    for section in sections(report):
        _section(paper, section, report)
    _students(paper, report)
    _methods(paper, report)
    return bytes(paper.output())


def _made(report: Report) -> datetime:
    """Return the date of the report, which the file bears too, so that the same report gives the same bytes."""
    try:
        return datetime.fromisoformat(report.created)
    except ValueError:
        return datetime(2000, 1, 1)


def _opening(paper: Paper, report: Report) -> None:
    paper.write_lines(report.name, 9, SOFT)
    top = paper.get_y()
    good = report.verdict.label == "no_gap"
    bar = COLOURS["pass" if good else "inconclusive" if report.verdict.label == "inconclusive" else "fail"]
    paper.write_lines(plain(report.verdict.label), 8, SOFT, indent=5, after=1)
    lead, rest = first_sentence(report.verdict.statement)
    paper.write_lines(lead, 12.5, indent=5, after=1 if rest else 0)
    if rest:
        paper.write_lines(rest, 9.5, indent=5, after=0)
    paper.set_fill_color(*rgb(bar))
    if paper.page == 1:
        paper.rect(MARGIN, top, 1.6, paper.get_y() - top, style="F")
    paper.ln(3)
    for advice in dict.fromkeys(finding.recommendation for finding in report.findings if finding.recommendation):
        paper.write_lines(f"What to do: {advice}", 9.5, bold=True)
    counts = [f"{count:,} {domain}" for domain in ("real", "synthetic") if (count := report.counts.get(f"images/{domain}"))]
    behind = f"{len(report.students)} students of {teacher_name(report.teacher.name)}, {len(report.class_names)} classes"
    behind += f", {' and '.join(counts)} images held out" if counts else ""
    created = report.created[:16].replace("T", " ")
    paper.write_lines(f"{behind}. {created} UTC. Numbers in brackets are 95 % intervals.", 8, SOFT)
    if report.about:
        paper.write_lines(report.about, 8.5)


def _section(paper: Paper, section: dict[str, Any], report: Report) -> None:
    first = section["figures"][:1]
    paper.heading(f"{section['sign']}  {section['heading']}", max([30.0, *(height(figure) for figure in first)]))
    for figure in first:
        draw(paper, figure)
    for finding in section["findings"]:
        if paper.will_page_break(16):
            paper.add_page()
        badge = BADGES[section["id"]].get(finding.verdict, "unclear")
        paper.write_lines(badge, 8.5, COLOURS[finding.verdict], bold=True, after=0.3)
        paper.write_lines(finding.statement, 9.5, indent=3)
        for item in finding.evidence:
            paper.write_lines(evidence_line(item), 8, SOFT, indent=6, after=0.4)
        paper.ln(1.2)
    for figure in section["figures"][1:]:
        draw(paper, figure)
    others = [item for finding in report.findings for item in finding.alternatives]
    if section["id"] == "controls" and others:
        paper.write_lines("Other explanations", 10.5, bold=True)
        for item in others:
            paper.write_lines(f"{upper_first(item.name)}: {item.status}. {item.because}", 8.5, indent=3)


def evidence_line(item: Evidence) -> str:
    """Write one number behind a finding with its interval, what it rests on, and the teacher's own."""
    teacher = f"; its teacher's own {_value(item.teacher, item.unit)}" if item.teacher is not None else ""
    over = "seeds" if item.estimate.over == "seeds and images" else item.estimate.over
    return f"{upper_first(plain(item.what))}: {_value(item.estimate, item.unit)}, n = {item.estimate.n:,} {over}{teacher}"


def _value(value: Estimate, unit: str) -> str:
    return WRITTEN.get(unit, number)(value)


def _students(paper: Paper, report: Report) -> None:
    paper.heading("Students")
    paper.style(8)
    paper.set_draw_color(*rgb("#d9dde3"))
    rows = [("student", "trained on", "seed", "real", "synthetic", "parameters")]
    for name, on, seed, accuracies, params in [
        (f"{report.teacher.name} (teacher)", None, None, report.teacher.zero_shot, report.teacher.params),
        *((s.name, s.trained_on, s.seed, s.zero_shot, s.params) for s in report.students),
    ]:
        real, synthetic = (percent(value) if value is not None else "–" for value in (accuracies.real, accuracies.synthetic))
        rows.append((printable(name), printable(on or "–"), "–" if seed is None else str(seed), real, synthetic, f"{params:,}"))
    with paper.table(
        rows=rows, col_widths=(30, 13, 7, 21, 21, 12), line_height=4.2, borders_layout="HORIZONTAL_LINES", text_align="LEFT", padding=0.6
    ):
        pass
    paper.ln(2)
    paper.write_lines("Intervals of single students are over images and do not cover the randomness of training.", 8, SOFT)


def _methods(paper: Paper, report: Report) -> None:
    failed = [record for record in report.probes if record.status == "failed"]
    if failed:
        paper.heading("Probes that failed")
        for record in failed:
            paper.write_lines(f"{record.probe} of {record.subject}: {record.error}", 8.5)
    paper.heading("How to read it")
    paper.write_lines(
        "Accuracy is zero-shot: an image belongs to the class whose text embedding is nearest. Every encoder saw the same held-out images. "
        "The page report.html beside the report holds the curves, the images and the environment too.",
        9,
    )
