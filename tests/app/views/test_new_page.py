"""A page is added in three places: a module in `app/views`, a row in `PAGES` of the dashboard, and a row in docs/dashboard.md."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import app
import app.views
from app.panels import report_view
from app.run_store.reports import find_runs, load_report

ENTRY = Path(app.__file__).with_name("dashboard.py")
DOCS = ENTRY.parents[1] / "docs" / "dashboard.md"

TOY = '''
"""Page Toy: how many kinds of students there are."""

import streamlit as st

from app.panels.notices import view_or_notice
from app.panels.wording import escape


def show(run):
    """Show the page of one run."""
    st.title("How many kinds of students are there?")
    view = view_or_notice(run)
    if view is None:
        return
    st.markdown(f"{len(view.groups)} kinds: " + "; ".join(escape(group.title) for group in view.groups))
'''


def pages() -> dict[str, str]:
    """Read the literal `PAGES` of the dashboard's script: module -> title."""
    for node in ast.parse(ENTRY.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PAGES":
            return ast.literal_eval(node.value)
    raise AssertionError("app/dashboard.py must hold PAGES")


def documented(text: str) -> list[str]:
    """Read the first column of the table of pages in docs/dashboard.md."""
    table = text.partition("| page | question | reads |")[2].partition("\n\n")[0]
    return [row.split("|")[1].strip() for row in table.splitlines()[2:]]


@pytest.fixture
def with_toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Follow the recipe in a copy of the dashboard: the module, and the row; return the copy's script."""
    views = tmp_path / "views"
    views.mkdir()
    (views / "toy.py").write_text(TOY)
    monkeypatch.setattr(app.views, "__path__", [*app.views.__path__, str(views)])
    for name in ("style.css", "icon.png"):
        shutil.copy(ENTRY.with_name(name), tmp_path / name)
    entry = tmp_path / "dashboard.py"
    script = ENTRY.read_text(encoding="utf-8")
    row = '    "run": "Run",\n'
    assert script.count(row) == 1
    entry.write_text(script.replace(row, row + '    "toy": "Toy",\n'), encoding="utf-8")
    yield entry
    sys.modules.pop("app.views.toy", None)


def open_page(monkeypatch: pytest.MonkeyPatch, entry: Path, root: Path, run: str, page: str) -> AppTest:
    """Run a dashboard's script once at an address."""
    monkeypatch.setenv("SYNTHGAP_RUNS", str(root))
    test = AppTest.from_file(str(entry), default_timeout=30)
    test.query_params["run"], test.query_params["page"] = run, page
    return test.run()


@pytest.mark.parametrize("run", ["made-up", "partial"])
def test_a_page_of_a_module_and_a_row_shows_a_run(monkeypatch: pytest.MonkeyPatch, with_toy: Path, runs: Path, run: str) -> None:
    test = open_page(monkeypatch, with_toy, runs, run, "toy")
    report = load_report(next(one for one in find_runs(runs) if one.name == run))
    kinds = len({(student.loss, student.trained_on) for student in report.students})

    assert not test.exception
    assert [title.value for title in test.title] == ["How many kinds of students are there?"]
    assert any(block.value.startswith(f"{kinds} kinds: ") for block in test.markdown)


@pytest.mark.parametrize("run", ["broken", "older", "going"])
def test_a_page_without_a_report_says_what_to_do(monkeypatch: pytest.MonkeyPatch, with_toy: Path, runs: Path, run: str) -> None:
    test = open_page(monkeypatch, with_toy, runs, run, "toy")

    assert not test.exception
    assert not any("kinds: " in block.value for block in test.markdown)
    assert any("synthgap " in block.value for block in test.code)


def test_the_views_are_the_pages_and_nothing_else() -> None:
    modules = {module.name for module in pkgutil.iter_modules([str(ENTRY.parent / "views")])}

    assert modules == set(pages())
    assert all(callable(importlib.import_module(f"app.views.{name}").show) for name in modules)


def test_every_page_has_its_row_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")

    assert documented(text) == list(pages().values())
    assert documented(text.replace("| Drift |", "| Elsewhere |")) != list(pages().values())


@pytest.mark.parametrize("page", ["why", "students", "separability", "drift", "cues", "factors"])
def test_a_page_groups_the_students_once(monkeypatch: pytest.MonkeyPatch, runs: Path, page: str) -> None:
    calls = []
    group = report_view.student_groups
    monkeypatch.setattr(report_view, "student_groups", lambda report: calls.append(report.name) or group(report))

    test = open_page(monkeypatch, ENTRY, runs, "made-up", page)

    assert not test.exception
    assert calls == ["made-up"]
