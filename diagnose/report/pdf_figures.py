"""The figures of the page, drawn on paper from the same plain numbers."""

from __future__ import annotations

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from diagnose.report.figures import DotPlot, LineChart, Mark, Strip

INK, SOFT, RULE = "#1a1d21", "#555c66", "#d9dde3"
COLOURS = {"real": "#0072b2", "synthetic": "#d55e00", "plain": INK, "teacher": "#8a8a8a"}
REFERENCE = "#a8478a"
LABEL = 0.4
"""Share of the width that the rows' labels take."""

LINE = 4.4
"""Millimetres of a row's text line."""


def rgb(colour: str) -> tuple[int, int, int]:
    """Split `#rrggbb` into its three parts."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def draw(paper: FPDF, figure: DotPlot | LineChart) -> None:
    """Draw a figure of rows, kept together on one page where it fits; charts over epochs stay on the page `report.html`.

    Args:
        paper: where, below what is there.
        figure: positions in per cent of the width.
    """
    if isinstance(figure, LineChart):
        return
    if paper.will_page_break(min(height(figure), paper.eph - 20)):
        paper.add_page()
    _words(paper, figure.title, 9, INK, "B")
    _words(paper, figure.about, 8, SOFT)
    if figure.legend:
        _legend(paper, figure)
    left = paper.l_margin + LABEL * paper.epw + 4
    width = paper.epw * (1 - LABEL) - 10
    paper.ln(4)
    for strip in figure.strips:
        if paper.will_page_break(_height(strip) + 12):
            paper.add_page()
            paper.ln(4)
        _strip(paper, strip, figure, left, width)
    _axis(paper, figure, left, width)


def height(figure: DotPlot | LineChart) -> float:
    """Return the height of a figure in millimetres."""
    return 0.0 if isinstance(figure, LineChart) else 34 + sum(_height(strip) for strip in figure.strips)


def _height(strip: Strip) -> float:
    return LINE * (1.15 + len(strip.marks)) + 1.5


def _words(paper: FPDF, text: str, size: float, colour: str, weight: str = "") -> None:
    paper.set_font("text", weight, size)
    paper.set_text_color(*rgb(colour))
    paper.multi_cell(0, size * 0.48, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _legend(paper: FPDF, figure: DotPlot) -> None:
    paper.ln(1)
    paper.set_font("text", "", 8)
    x, y = paper.l_margin + 2.3, paper.get_y() + 2
    for kind, text in figure.legend:
        _mark(paper, kind, x, y)
        paper.set_text_color(*rgb(INK))
        paper.text(x + 3, y + 1, text)
        x += paper.get_string_width(text) + 10
    paper.set_y(y + 2.5)


def _strip(paper: FPDF, strip: Strip, figure: DotPlot, left: float, width: float) -> None:
    top, tall = paper.get_y(), _height(strip)
    paper.set_line_width(0.25)
    for at, _ in figure.axis.references:
        paper.set_draw_color(*rgb(REFERENCE))
        paper.set_dash_pattern(0.8, 0.8)
        paper.line(left + width * at / 100, top, left + width * at / 100, top + tall)
    paper.set_dash_pattern()
    paper.set_font("text", "B", 8)
    paper.set_text_color(*rgb(INK))
    paper.text(paper.l_margin + 1, top + LINE * 0.8, _fitting(paper, strip.label, LABEL * paper.epw))
    for index, mark in enumerate(strip.marks):
        y = top + LINE * (1.5 + index)
        _interval(paper, mark, left, width, y)
        paper.set_font("text", "", 7.5)
        paper.set_text_color(*rgb(COLOURS.get(mark.kind, INK)))
        paper.text(paper.l_margin + 1, y + 1, _fitting(paper, mark.words, LABEL * paper.epw))
    paper.set_draw_color(*rgb(RULE))
    paper.line(paper.l_margin + 1, top + tall, left + width, top + tall)
    paper.set_y(top + tall)


def _fitting(paper: FPDF, text: str, width: float) -> str:
    """Shorten a label that is too long for its column."""
    text = "".join(sign for sign in text if sign.isprintable())
    if paper.get_string_width(text) <= width:
        return text
    while text and paper.get_string_width(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def _interval(paper: FPDF, mark: Mark, left: float, width: float, y: float) -> None:
    colour = rgb(COLOURS.get(mark.kind, INK))
    paper.set_draw_color(*colour)
    paper.set_line_width(0.5)
    paper.line(left + width * mark.low / 100, y, left + width * mark.high / 100, y)
    paper.set_fill_color(*colour)
    for dot in mark.dots:
        paper.circle(left + width * dot / 100, y + 1.9, 0.45, style="F")
    _mark(paper, mark.kind, left + width * mark.at / 100, y)


def _mark(paper: FPDF, kind: str, x: float, y: float) -> None:
    """Draw a real number as a circle, a synthetic one as a diamond, a teacher's as a hollow square."""
    colour = rgb(COLOURS.get(kind, INK))
    paper.set_fill_color(*colour)
    paper.set_draw_color(*colour)
    if kind == "synthetic":
        paper.polygon([(x, y - 1.6), (x + 1.6, y), (x, y + 1.6), (x - 1.6, y)], style="F")
    elif kind == "teacher":
        paper.set_fill_color(255, 255, 255)
        paper.set_line_width(0.5)
        paper.rect(x - 1.1, y - 1.1, 2.2, 2.2, style="DF")
    else:
        paper.circle(x, y, 1.3, style="F")


def _axis(paper: FPDF, figure: DotPlot, left: float, width: float) -> None:
    y = paper.get_y()
    paper.set_draw_color(*rgb(SOFT))
    paper.set_line_width(0.2)
    paper.line(left, y, left + width, y)
    paper.set_font("text", "", 7)
    paper.set_text_color(*rgb(SOFT))
    for at, text in figure.axis.ticks:
        x = left + width * at / 100
        paper.line(x, y, x, y + 1)
        paper.text(x - paper.get_string_width(text) / 2, y + 3.8, text)
    paper.text(left, y + 7.5, figure.axis.name)
    paper.set_text_color(*rgb(REFERENCE))
    names = "; ".join(text for _, text in figure.axis.references)
    if names:
        text = f"dotted: {names}"
        paper.text(left + width - paper.get_string_width(text), y + 7.5, text)
    paper.set_y(y + 10)
