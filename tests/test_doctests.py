"""Examples in docstrings print what they say they print."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "diagnose", "distill", "probes")
WITH_EXAMPLES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)
STREAMLIT_SCRIPTS = ("app/dashboard.py", "app/views/")
"""Files that run a page when they are imported: they hold no examples."""


@pytest.mark.parametrize("file", WITH_EXAMPLES)
def test_examples_of_a_module_print_what_they_promise(file: str) -> None:
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))

    results = doctest.testmod(module)

    assert results.attempted > 0, f"{file} has `>>>` outside a docstring: doctest does not see it"
    assert results.failed == 0


def test_modules_with_examples_are_found_and_pages_have_none() -> None:
    assert {file.split("/")[0] for file in WITH_EXAMPLES} == set(PACKAGES)
    assert not [file for file in WITH_EXAMPLES if file.startswith(STREAMLIT_SCRIPTS)]
