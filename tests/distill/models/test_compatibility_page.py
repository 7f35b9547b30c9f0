"""The page of formats says what is tested: each row names a test that exists, and each of the tests below has its row."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "compatibility.md"
TESTS = (
    "foreign_weights/test_weight_filling.py",
    "foreign_weights/test_weight_files.py",
    "foreign_weights/test_peft_adapters.py",
    "test_hf_vision.py",
)
NOT_A_FORMAT = {
    "test_normalised_features_are_unlike_raw_ones_so_that_these_tests_can_fail",
    "test_reading_weights_needs_none_of_the_libraries_that_wrote_them",
}


def rows() -> list[list[str]]:
    """The cells of every row of a table, without heads and rules."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if not row[0].startswith("---") and row[-1] != "test"]


def defined_in(text: str) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", text, re.MULTILINE))


def test_each_row_of_the_page_names_a_test_that_exists() -> None:
    known = set().union(*(defined_in(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("test_*.py")))
    named = [re.fullmatch(r"`(test_\w+)`", row[-1]) for row in rows()]

    assert len(named) > 50
    assert [row for row, name in zip(rows(), named, strict=True) if name is None or name[1] not in known] == []


def test_each_test_of_a_format_has_its_row() -> None:
    named = {row[-1].strip("`") for row in rows()}
    tests = set().union(*(defined_in((Path(__file__).parent / path).read_text(encoding="utf-8")) for path in TESTS))

    assert tests - named - NOT_A_FORMAT == set()
