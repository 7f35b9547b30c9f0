"""What pages say of the costs of text target and negatives is what the judge decides, with the report's paired difference."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from types import ModuleType

import pytest

import app
from app.panels.targets import property_sentence
from diagnose.report import assemble
from diagnose.schema import Estimate, Report


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=3, over="seeds and images")


@pytest.mark.parametrize(
    ("paired", "words"),
    [
        (None, "**Both cost accuracy**, the text target surely more: "),
        (estimate(0.11, 0.04, 0.18), "**Both cost accuracy**, the text target surely more: "),
        (estimate(0.11, -0.01, 0.23), "**Both cost accuracy**: "),
        (estimate(-0.05, -0.08, -0.02), "**Both cost accuracy**, the negatives surely more: "),
    ],
)
def test_a_page_says_which_property_costs_more_as_the_paired_difference_has_it(paired: Estimate | None, words: str) -> None:
    """20 (12 to 28) against 9 (6 to 13): intervals that touch, of numbers that differ for sure if they are independent."""
    assert words in property_sentence(estimate(0.20, 0.12, 0.28), estimate(0.09, 0.06, 0.13), paired)


def test_a_report_keeps_the_paired_difference_and_one_without_it_still_opens(stored: ModuleType, tmp_path: Path) -> None:
    paired = estimate(0.11, 0.04, 0.18)
    report: Report = stored.build_report("made-up")[0].model_copy(update={"text_minus_negatives": paired})
    path = assemble.write(report, tmp_path / "report.json")

    assert assemble.read(path).text_minus_negatives == paired

    old = json.loads(path.read_text())
    del old["text_minus_negatives"]
    path.write_text(json.dumps(old))

    assert assemble.read(path).text_minus_negatives is None
    assert assemble.read(path).factors == report.factors


DECIDING = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def decisions(code: str) -> list[int]:
    """Lines that order the end of an interval, or a threshold of the judge, beside another number."""
    lines = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Compare) and any(isinstance(operator, DECIDING) for operator in node.ops):
            parts = list(ast.walk(node))
            names = {part.attr for part in parts if isinstance(part, ast.Attribute)} | {
                part.id for part in parts if isinstance(part, ast.Name)
            }
            if names & {"low", "high", "change", "MARGIN", "ALARM"}:
                lines.append(node.lineno)
    return lines


def test_no_page_decides_by_the_end_of_an_interval() -> None:
    """What an interval means is decided in `diagnose/judge`; charts order ends only to place them."""
    folder = Path(app.__file__).parent
    files = [path for path in sorted(folder.rglob("*.py")) if path.parent.name != "charts"]

    assert (
        decisions("given.low > 0")
        == decisions("x = a if 0 < high else b")
        == decisions("cost >= MARGIN")
        == decisions("given.change[1] > 0")
        == [1]
    )
    assert decisions("low != high") == decisions("compare(cost, MARGIN) == 'below'") == []
    assert {str(path.relative_to(folder)): lines for path in files if (lines := decisions(path.read_text(encoding="utf-8")))} == {}
