"""Every probe's page has what a reader needs: a picture that is there, how to read it, and when not to trust it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[1] / "docs" / "probes").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_probe_page_has_a_small_picture_and_says_how_to_read_and_when_not_to_trust(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    pictures = [page.parent / name for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)]

    assert pictures, f"{page.name} shows no picture"
    assert all(picture.is_file() and picture.stat().st_size < 400_000 for picture in pictures)
    assert "## When not to trust it" in text
    assert re.search(r"## (How to read|Can a map be believed)", text)
