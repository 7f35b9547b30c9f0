"""The page of data layouts that were tried: each row names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "compatibility-data.md"


def test_each_row_of_the_page_names_a_test() -> None:
    tests = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    rows = [
        line
        for line in PAGE.read_text().splitlines()
        if line.startswith("|") and not set(line) <= set("|- ") and not line.endswith("| test |")
    ]

    assert len(rows) > 60
    assert [row for row in rows if (match := re.search(r"\| `(test_\w+)` \|$", row)) is None or match[1] not in tests] == []
