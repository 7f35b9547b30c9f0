"""Modules, classes and functions that pages, docstrings and messages name by their full path exist."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = sorted(path for package in ("app", "diagnose", "distill", "probes") for path in (ROOT / package).rglob("*.py"))
DOTTED = re.compile(r"(?<![\w/.\"])(?:distill|probes|diagnose)(?:\.[A-Za-z_]\w*)+")
FROM = re.compile(r"^from ((?:distill|probes|diagnose|app)[\w.]*) import ([\w, ]+)", flags=re.MULTILINE)
FILES = (".py", ".md", ".toml")


def names(text: str) -> Iterator[str]:
    """Dotted names in a text, and what its examples import; a name that ends like a file is one."""
    yield from (match for match in DOTTED.findall(text) if not match.endswith(FILES))
    for module, imported in FROM.findall(text):
        yield from (f"{module}.{name.strip().split(' as ')[0]}" for name in imported.split(",") if name.strip())


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or can be read from one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_in_a_page_or_module_exist(path: Path) -> None:
    assert [name for name in dict.fromkeys(names(path.read_text(encoding="utf-8"))) if not exists(name)] == []


def test_an_absent_name_is_noticed() -> None:
    text = "See `distill.data.split.load_split`, probes/drift.py and\nfrom distill.losses import Loss, Gone\n`distill.losses.gone.Loss`."

    assert [name for name in names(text) if not exists(name)] == ["distill.losses.gone.Loss", "distill.losses.Gone"]
