"""Page Run: what it says of each state of a run, and what it starts; processes are made up here, test_browser.py starts a real one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from streamlit.testing.v1 import AppTest

import app
from app import charts
from app.panels.curves import curves
from app.run_store import jobs

ENTRY = Path(app.__file__).with_name("dashboard.py")


def open_page(monkeypatch: pytest.MonkeyPatch, root: Path, run: str | None = None) -> AppTest:
    monkeypatch.setenv("SYNTHGAP_RUNS", str(root))
    test = AppTest.from_file(str(ENTRY), default_timeout=60)
    test.query_params["page"] = "run"
    if run is not None:
        test.query_params["run"] = run
    return test.run()


def words(test: AppTest) -> str:
    return "\n".join(block.value for block in [*test.markdown, *test.info, *test.error, *test.caption, *test.code])


def store_job(folder: Path, created: float, stopped: bool = False) -> None:
    jobs.write_job(folder, jobs.Job(os.getpid(), created, "2026-11-25T10:00:00+00:00", ("synthgap",), stopped))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, list[str]]]:
    """Collect what would be started."""
    calls: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(jobs, "start", lambda folder, command: calls.append((folder, command)))
    return calls


@pytest.mark.parametrize("run", ["made-up", "partial", "broken", "older", "going"])
def test_the_page_does_not_fail_on_any_kind_of_run(monkeypatch: pytest.MonkeyPatch, runs: Path, run: str) -> None:
    test = open_page(monkeypatch, runs, run)

    assert not test.exception
    assert test.title[0].value == "Train and judge students"


def test_without_any_run_one_can_be_started_below_the_runs_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: list[tuple[Path, list[str]]]
) -> None:
    test = open_page(monkeypatch, tmp_path / "new" / "runs")
    test.text_input(key="new-name").set_value("mine")
    test.multiselect(key="losses-pocket").set_value(["l2"])
    test.button("FormSubmitter:new-run-Start").click()
    test.run()

    assert not test.exception
    [(folder, command)] = started
    assert folder == tmp_path / "new" / "runs" / "mine"
    assert command[command.index("--out") + 1] == str(folder)
    assert "[students.l2]" in (folder / "config.toml").read_text()
    assert "image_text" not in (folder / "config.toml").read_text()


@pytest.mark.parametrize(("field", "value", "said"), [("new-name", "../up", "`name` must be"), ("seeds-pocket", "1 1", "`seeds` must be")])
def test_what_cannot_be_started_is_said_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: list[tuple[Path, list[str]]], field: str, value: str, said: str
) -> None:
    test = open_page(monkeypatch, tmp_path)
    test.text_input(key="new-name").set_value("fine")
    test.text_input(key=field).set_value(value)
    test.button("FormSubmitter:new-run-Start").click()
    test.run()

    assert said in test.error[0].value.replace("\\", "")
    assert not started
    assert not list(tmp_path.iterdir())


def test_a_run_that_works_can_be_stopped_and_shows_its_log(monkeypatch: pytest.MonkeyPatch, runs: Path, tmp_path: Path) -> None:
    stopped: list[Path] = []
    monkeypatch.setattr(jobs, "stop_soon", stopped.append)
    shutil.copytree(runs / "going", tmp_path / "going")
    store_job(tmp_path / "going", psutil.Process().create_time())
    (tmp_path / "going" / jobs.LOG).write_text("*a* <b>word</b>\n")
    test = open_page(monkeypatch, tmp_path / "going")

    assert f"number {os.getpid()}" in words(test)
    assert "*a* <b>word</b>" in [block.value for block in test.code]
    assert "resume" not in [button.key for button in test.button]
    test.button(key="stop").click().run()
    assert stopped == [(tmp_path / "going").resolve()]


@pytest.mark.parametrize(("stopped", "said"), [(True, "**Stopped.**"), (False, "**It has ended before it was finished.**")])
def test_a_run_that_has_ended_can_be_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, runs: Path, tmp_path: Path, started: list[tuple[Path, list[str]]], stopped: bool, said: str
) -> None:
    shutil.copytree(runs / "going", tmp_path / "going")
    (tmp_path / "going" / "config.toml").write_text("[data.train]\n[data.test]\n[teacher]\n[students]\n")
    store_job(tmp_path / "going", created=1.0, stopped=stopped)
    test = open_page(monkeypatch, tmp_path / "going")

    assert said in words(test)
    test.button(key="resume").click().run()
    assert "--resume" in started[0][1]


def test_a_run_held_by_somebody_else_is_said_to_be_and_offers_no_buttons(
    monkeypatch: pytest.MonkeyPatch, runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(runs / "going", tmp_path / "going")
    (tmp_path / "going" / "config.toml").write_text("[data.train]\n[data.test]\n[teacher]\n[students]\n")
    with FileLock(tmp_path / "going" / ".lock"):
        test = open_page(monkeypatch, tmp_path / "going")

    assert "In use by another process" in words(test)
    assert not {"stop", "resume"} & {button.key for button in test.button}


def test_a_folder_that_is_one_run_says_how_to_start_others(monkeypatch: pytest.MonkeyPatch, runs: Path) -> None:
    test = open_page(monkeypatch, runs / "made-up")

    assert "synthgap app path/to/runs" in [block.value for block in test.code]
    assert not test.selectbox


def test_curves_have_the_colour_of_their_loss_and_a_chart_a_training_set() -> None:
    row = {"epoch": 1.0, "zero_shot_real": 0.5, "zero_shot_synthetic": 0.7}
    config = {"students": {"l2": {"trained_on": ["mix-10", "real"]}, "image_text": {"trained_on": ["mix-10"]}}, "seeds": [3]}

    made = curves({"l2-mix-10-s3": [row], "l2-real-s3": [row], "image_text-mix-10-s3": [row], "gone-real-s0": [{"loss": 1.0}]}, config)

    assert {name: [line.domain for line in lines] for name, lines in made.items()} == {
        "mix-10": ["real", "synthetic"] * 2,
        "real": ["real", "synthetic"],
    }
    assert made["mix-10"][0].colour == made["real"][0].colour == charts.FIXED["l2"]
    assert made["mix-10"][2].colour == charts.FIXED["image_text"]


def test_without_a_configuration_the_names_of_students_tell() -> None:
    made = curves({"l2-synthetic-s0": [{"epoch": 1.0, "zero_shot_real": 0.5}], "l2-s0": [{"epoch": 1.0, "zero_shot_real": 0.5}]}, {})

    assert list(made) == ["synthetic", ""]
