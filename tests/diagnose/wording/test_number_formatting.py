"""One formatter writes every number, and a rounded zero never has a sign."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.panels.groups import SeedValues
from app.panels.targets import cost_words
from app.panels.wording import estimate as with_n
from app.panels.wording import number as in_unit
from diagnose.schema import Estimate
from diagnose.wording import factor_words, words
from diagnose.wording.numbers import format_number, format_value, in_percent, with_interval

ROOT = Path(__file__).resolve().parents[3]
SIGNED_ZERO = re.compile(r"[-+\N{MINUS SIGN}]0(\.0*)?(?![\d.])")
TINY = Estimate(value=-1e-7, low=-2e-7, high=1e-7, n=7)

FORMATTERS: dict[str, Callable[[], str]] = {
    "format_number": lambda: format_number(TINY.value, signed=True) + " " + format_number(TINY.value),
    "in_percent": lambda: in_percent(TINY.value, signed=True) + " " + in_percent(TINY.value, 0),
    "format_value": lambda: format_value(TINY.value, percent=True) + " " + format_value(TINY.value, percent=False),
    "with_interval": lambda: with_interval(TINY, digits=2),
    "percent": lambda: words.percent(TINY),
    "bare_percent": lambda: words.bare_percent(TINY),
    "points": lambda: words.points(TINY),
    "short_percent": lambda: words.short_percent(TINY),
    "short_points": lambda: words.short_points(TINY),
    "number": lambda: words.number(TINY),
    "chance_words": lambda: words.chance_words(TINY.value, "teacher"),
    "more_or_less": lambda: words.more_or_less(TINY, "more", "less"),
    "effect": lambda: words.effect(TINY),
    "short_effect": lambda: words.short_effect(TINY),
    "change": lambda: factor_words.change(TINY),
    "share_words": lambda: factor_words.share_words(TINY),
    "page: points": lambda: in_unit(TINY.value, "points"),
    "page: share": lambda: in_unit(TINY.value, "share"),
    "page: cosine": lambda: in_unit(TINY.value, "cosine"),
    "page: estimate": lambda: with_n(TINY, "points") + with_n(TINY, "AUC"),
    "page: cost": lambda: cost_words(TINY),
    "page: seeds": lambda: SeedValues(((TINY.value, TINY.low, TINY.high),) * 2, 7).words(percent=True),
}


@pytest.mark.parametrize("name", FORMATTERS)
def test_no_formatter_writes_a_sign_before_a_rounded_zero(name: str) -> None:
    text = FORMATTERS[name]()

    assert "0" in text
    assert not SIGNED_ZERO.search(text), text


@pytest.mark.parametrize("text", ["-0.0 points", "\N{MINUS SIGN}0", "+0.00", "(\N{MINUS SIGN}0.0 to 1.0)"])
def test_the_search_for_signed_zeros_finds_them(text: str) -> None:
    assert SIGNED_ZERO.search(text)


@given(st.floats(-1e6, 1e6), st.integers(0, 4), st.booleans())
def test_a_number_reads_back_as_itself_rounded(value: float, digits: int, signed: bool) -> None:
    text = format_number(value, digits, signed=signed)

    assert float(text.replace("\N{MINUS SIGN}", "-")) == float(f"{value:.{digits}f}")
    assert not SIGNED_ZERO.fullmatch(text)
    assert "-" not in text
    assert text.startswith("+") == (signed and float(f"{value:.{digits}f}") > 0)


def test_a_number_is_written_with_its_interval() -> None:
    value = Estimate(value=-0.1234, low=-0.25, high=0.5, n=3)

    assert with_interval(value, digits=1, percent=True, unit=" points") == "\N{MINUS SIGN}12.3 points (\N{MINUS SIGN}25.0 to 50.0)"
    assert with_interval(value, digits=2) == "\N{MINUS SIGN}0.12 (\N{MINUS SIGN}0.25 to 0.50)"


def _python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in sorted((ROOT / folder).rglob("*.py")) if path != ROOT / "diagnose" / "wording" / "numbers.py")


def test_nothing_else_turns_a_hyphen_into_a_minus_sign() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _python_files("app", "diagnose")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "replace"
        and [argument.value for argument in node.args if isinstance(argument, ast.Constant)][-1:] == ["\N{MINUS SIGN}"]
    ]

    assert not found, f"use diagnose.wording.numbers instead: {found}"


def test_pages_and_sentences_write_no_number_of_their_own() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _python_files("app/panels", "app/views", "app/map", "app/charts", "diagnose/wording")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FormattedValue)
        and node.format_spec is not None
        and re.search(r"\.\d+f|\.f", ast.unparse(node.format_spec).replace("'", ""))
    ]

    assert not found, f"use diagnose.wording.numbers instead: {found}"
