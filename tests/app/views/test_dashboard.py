"""Every page on every kind of stored run, by Streamlit's own test driver."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import app
from app.panels.wording import escape
from app.views.drift import likeness_sentence

ENTRY = Path(app.__file__).with_name("dashboard.py")
TESTED_APART = ("map", "attribution", "run")
"""Pages with tests of their own, which ask for more than a stored report."""


def pages() -> list[str]:
    """Read the pages off the dashboard's script, so that a new one is tested here."""
    [names] = (
        node.value
        for node in ast.parse(ENTRY.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PAGES"
    )
    return [name for name in ast.literal_eval(names) if name not in TESTED_APART]


PAGES = pages()


def open_page(monkeypatch: pytest.MonkeyPatch, root: Path, run: str | None = None, page: str | None = None) -> AppTest:
    """Run the dashboard's script once at an address."""
    monkeypatch.setenv("SYNTHGAP_RUNS", str(root))
    test = AppTest.from_file(str(ENTRY), default_timeout=30)
    for name, value in (("run", run), ("page", page)):
        if value is not None:
            test.query_params[name] = value
    return test.run()


def words(test: AppTest) -> str:
    """Join all texts of a page."""
    blocks = [*test.title, *test.header, *test.subheader, *test.markdown, *test.info, *test.error, *test.warning, *test.caption, *test.code]
    return "\n".join(block.value for block in blocks)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("run", ["made-up", "partial", "broken", "older", "going"])
def test_no_page_fails_on_any_kind_of_run(monkeypatch: pytest.MonkeyPatch, runs: Path, run: str, page: str) -> None:
    test = open_page(monkeypatch, runs, run, page)

    assert not test.exception
    assert len(test.title) == 1
    assert test.query_params["run"] == run


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_a_complete_run_shows_charts_with_alternative_text_and_asks_for_nothing(
    monkeypatch: pytest.MonkeyPatch, runs: Path, page: str
) -> None:
    test = open_page(monkeypatch, runs, "made-up", page)

    assert len(test.get("plotly_chart")) >= (2 if page in ("students", "separability", "drift", "factors") else 1)
    assert all(len(chart.proto.alt) > 20 for chart in test.get("plotly_chart"))
    assert not test.code
    assert not test.error


def test_the_first_page_opens_with_the_verdict(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs, "made-up")

    assert "fails on real images" in test.markdown[0].value
    assert "Could it be something else?" in [header.value for header in test.header]
    assert "ruled out" in words(test)


@pytest.mark.parametrize(
    ("page", "key"),
    [
        ("why", "evidence-drift"),
        ("students", "students-table"),
        ("students", "loss-opened"),
        ("students", "sizes-opened"),
        ("cues", "cue-accuracy-opened"),
    ],
)
def test_what_is_folded_away_is_made_when_it_is_opened(monkeypatch: pytest.MonkeyPatch, runs: Path, page: str, key: str) -> None:
    test = open_page(monkeypatch, runs, "made-up", page)
    closed = len(test.get("plotly_chart")) + len(test.dataframe)

    test.session_state[key] = True
    test.run()

    assert not test.exception
    assert len(test.get("plotly_chart")) + len(test.dataframe) > closed


@pytest.mark.parametrize(
    ("run", "page", "said"),
    [
        ("partial", "why", "pictures behind this run are not stored"),
        ("partial", "students", "Accuracy by class is not stored"),
        ("partial", "separability", "Separability is not in this report"),
        ("partial", "drift", "failure"),
        ("broken", "why", "cannot be read"),
        ("older", "drift", "got 99"),
        ("going", "students", "still going"),
    ],
)
def test_a_page_says_what_is_missing_and_which_command_makes_it(
    monkeypatch: pytest.MonkeyPatch, runs: Path, run: str, page: str, said: str
) -> None:
    test = open_page(monkeypatch, runs, run, page)

    assert said in words(test).replace("\\", "")
    assert any("synthgap diagnose" in block.value for block in test.code)


def test_no_command_is_given_that_would_fail_for_want_of_students(
    monkeypatch: pytest.MonkeyPatch, stored: ModuleType, tmp_path: Path
) -> None:
    folder = stored.store_partial(tmp_path)
    alone = open_page(monkeypatch, tmp_path, "partial", "drift")
    (folder / "students" / "a").mkdir(parents=True)
    (folder / "students" / "a" / "student.safetensors").touch()
    whole = open_page(monkeypatch, tmp_path, "partial", "drift")

    assert "trained students are not in this folder" in words(alone)
    assert {block.value for block in alone.code} == {"synthgap diagnose RUN"}
    assert "trained students are not in this folder" not in words(whole)
    assert all(str(folder) in block.value for block in whole.code)


def test_a_run_that_is_still_going_shows_the_last_whole_epoch(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs, "going")

    assert "has finished epoch 3" in words(test)
    assert len(test.get("plotly_chart")) == 1


def test_no_runs_offers_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    test = open_page(monkeypatch, tmp_path / "absent")

    assert not test.exception
    assert "synthgap demo" in [block.value for block in test.code]


def test_a_run_folder_opens_without_its_parent(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs / "made-up")

    assert not test.selectbox
    assert "fails on real images" in test.markdown[0].value


def test_picking_a_run_changes_the_address(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs, "made-up")

    test.selectbox(key="run").set_value("partial").run()

    assert test.query_params["run"] == "partial"
    assert not test.exception


def test_an_unknown_run_in_the_address_falls_back(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs, "../../etc", "nonsense")

    assert not test.exception
    assert test.query_params["run"] in {path.name for path in runs.iterdir()}


def test_the_page_in_the_address_is_opened_and_the_rest_of_the_address_stays(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    monkeypatch.setenv("SYNTHGAP_RUNS", str(runs))
    test = AppTest.from_file(str(ENTRY), default_timeout=30)
    test.query_params["run"], test.query_params["page"], test.query_params["chosen"] = "made-up", "drift", "7"
    test.run()

    assert test.title[0].value == "How far is it from its teacher?"
    assert test.query_params["run"] == "made-up"
    assert test.query_params["chosen"] == "7"
    assert "page" not in test.query_params


def test_every_page_is_a_module_with_show() -> None:
    entry = ast.parse(ENTRY.read_text(encoding="utf-8"))
    pages = next(node.value for node in entry.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PAGES")

    for name in ast.literal_eval(pages):
        assert callable(importlib.import_module(f"app.views.{name}").show)


def test_class_names_and_statements_are_data_and_never_markup(monkeypatch: pytest.MonkeyPatch, stored: ModuleType, tmp_path: Path) -> None:
    nasty = ["<script>alert(1)</script>", "**bold**", "[x](javascript:alert(1))", ":red[red]", "$x$", "a|b"]
    stored.store_complete(tmp_path, "<b>run*x*", classes=nasty)

    for page in PAGES:
        test = open_page(monkeypatch, tmp_path, "<b>run*x*", page)

        assert not test.exception
        said = "\n".join(block.value for block in [*test.markdown, *test.caption, *test.info])
        for name in nasty:
            assert name not in said
        assert not any(block.allow_html for block in test.markdown)
        if page in ("why", "students"):
            assert any(escape(name) in said for name in nasty)  # shown, but disarmed


def test_each_measure_can_be_picked(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs, "made-up", "separability")

    test.get("button_group")[0].set_value("File facts only").run()

    assert not test.exception
    assert "without looking at the picture" in words(test)


def test_drift_leads_to_the_images_that_are_seen_otherwise(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs, "made-up", "drift")

    said = words(test)
    assert "Real images that it sees least like its teacher" in said
    assert "one in twenty has less than" in said
    assert len(test.get("image")) >= 20


def test_likeness_of_single_images_is_told_with_the_middle_one_and_n() -> None:
    said = likeness_sentence({"real": np.linspace(-1, 1, 101), "synthetic": np.full(7, 0.5)})

    assert "n = 101 real images the middle one has a cosine of 0.00, and one in twenty has less than −0.90" in said
    assert "n = 7 synthetic images the middle one has a cosine of 0.50" in said


def test_the_dashboard_never_imports_torch() -> None:
    program = (
        "import sys, importlib, pkgutil, app.views\n"
        "views = [f'app.views.{module.name}' for module in pkgutil.iter_modules(app.views.__path__)]\n"
        "for name in ['app.charts', 'app.run_store.reports', 'app.run_store.launch', *views]:\n"
        "    importlib.import_module(name)\n"
        f"exec(compile(open({str(ENTRY)!r}).read(), {str(ENTRY)!r}, 'exec'), {{'__name__': 'dashboard', '__file__': {str(ENTRY)!r}}})\n"
        "sys.exit(3 if 'torch' in sys.modules else 0)"
    )

    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert finished.returncode == 0, finished.stderr[-2000:]
