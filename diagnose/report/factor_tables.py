"""Factors as Markdown: the gap divided, the contrasts of single factors, and how to read both."""

from __future__ import annotations

from collections.abc import Callable

from diagnose.schema import Division, Estimate, Factor, LevelContrast, Report
from diagnose.wording.factor_words import COSTS, FACTORS, joined, level_words, orders_words
from diagnose.wording.numbers import with_interval
from diagnose.wording.words import plain, upper_first


def section(report: Report, text: Callable[[str], str] = str) -> list[str]:
    """Write the lines of the summary that are about factors; none for a report without them.

    Args:
        report: the report.
        text: makes a text from outside harmless in Markdown.
    """
    lines: list[str] = []
    for division in report.divisions:
        names = joined([COSTS.get(part.name, plain(part.name)) for part in division.parts])
        lines += ["", f"## The gap of {text(plain(division.end))}, divided among {text(names)}", "", *_division(division, text)]
    if report.contrasts:
        lines += [
            "",
            "## Students that differ in one factor alone",
            "",
            "Accuracy with the first level minus accuracy with the second, in points, paired over seeds and images, with 95 % intervals; each "
            "is judged on its own. Factors that were not varied alone are not in the table.",
        ]
        for factor in dict.fromkeys(item.factor for item in report.contrasts):
            lines += ["", f"### {upper_first(FACTORS.get(factor, plain(factor)))}", "", *_contrasts(report, factor, text)]
    return lines


def _division(division: Division, text: Callable[[str], str]) -> list[str]:
    rows = [_row(part, COSTS.get(part.name, plain(part.name)), text) for part in division.parts]
    rest = _row(division.remainder, f"what remains with {plain(division.start)}", text)
    return [
        f"The teacher's accuracy on real images minus that of {text(plain(division.end))}: {_points(division.gap)} points.",
        "",
        "| part | points | share of the gap [%] |",
        "|---|---|---|",
        *rows,
        rest,
        "",
        orders_words(division.orders, division.possible, len(division.parts)),
    ]


def _row(part: Factor, name: str, text: Callable[[str], str]) -> str:
    share = "no gap for sure" if part.share is None else _share(part.share)
    return f"| {text(name)} | {_points(part.points)} | {share} |"


def _contrasts(report: Report, factor: str, text: Callable[[str], str]) -> list[str]:
    def row(item: LevelContrast) -> str:
        words = (level_words(factor, item.level), level_words(factor, item.against), plain(item.having), plain(item.other))
        return f"| {' | '.join(text(word) for word in words)} | {_points(item.real)} | {_points(item.synthetic)} |"

    head = ["| level | against | students | against students | real | synthetic |", "|---|---|---|---|---|---|"]
    return [*head, *(row(item) for item in report.contrasts if item.factor == factor)]


def _points(value: Estimate) -> str:
    return with_interval(value, digits=1, percent=True)


def _share(value: Estimate) -> str:
    return with_interval(value, digits=0, percent=True)
