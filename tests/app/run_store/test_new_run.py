"""What a new run is made of: names stay below the runs folder, choices change what they say and nothing else."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from app.run_store import jobs, new_run
from distill.training.config import read_experiment


@pytest.fixture
def pocket() -> dict[str, object]:
    return new_run.read_config(new_run.experiments()["pocket"])


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/tmp/x", ".hidden", "-rf", "a\nb", "a" * 65, "ends.", "ü", "a b", "$(x)"])
def test_a_name_that_is_no_plain_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="`name` must be"):
        new_run.new_folder(tmp_path, name)


def test_a_new_folder_lies_directly_below_the_runs_folder(tmp_path: Path) -> None:
    assert new_run.new_folder(tmp_path, "pocket-2.b_c") == tmp_path.resolve() / "pocket-2.b_c"


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "metrics.jsonl").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path.parent)

    for name in ("taken", "file", "link"):
        with pytest.raises(ValueError, match="is there already"):
            new_run.new_folder(tmp_path, name)


def test_the_name_of_a_run_that_never_began_may_be_taken_again(tmp_path: Path) -> None:
    (tmp_path / "failed").mkdir()
    for name in ("config.toml", jobs.LOG, jobs.STATE):
        (tmp_path / "failed" / name).touch()

    assert new_run.new_folder(tmp_path, "failed").name == "failed"


def test_choices_are_put_into_the_experiment_and_the_trainer_reads_them(tmp_path: Path, pocket: dict[str, object]) -> None:
    changes = new_run.Changes(
        teacher='local-dir:a "b"', folder="/data\\x", train={"real": "mine"}, students=["l2"], seeds=[3, 1], epochs=2, limit=50
    )

    new_run.write_config(tmp_path / "run", new_run.changed(pocket, changes))
    read = read_experiment(tmp_path / "run" / "config.toml")

    assert read.teacher.model == 'local-dir:a "b"'
    assert read.data.folder == "/data\\x"
    assert read.data.train == {"synthetic": "pocket:train-synthetic", "real": "mine"}
    assert list(read.students) == ["l2"]
    assert (read.seeds, read.training.epochs, read.data.limit) == ([3, 1], 2, 50)


def test_without_choices_the_experiment_stays_as_it_is(pocket: dict[str, object]) -> None:
    assert new_run.changed(pocket, new_run.Changes()) == tomllib.loads(new_run.experiments()["pocket"].read_text())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (new_run.Changes(students=[]), "`losses` must be some of l2, .* got none"),
        (new_run.Changes(students=["made_up"]), "`losses` must be some of"),
        (new_run.Changes(teacher="a\nb"), "`teacher` must be one line"),
        (new_run.Changes(test={"real": "  "}), "`test real` must be one line"),
        (new_run.Changes(epochs=0), "`epochs` must be at least 1"),
        (new_run.Changes(limit=1), "`images` must be at least 2"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(pocket: dict[str, object], changes: new_run.Changes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        new_run.changed(pocket, changes)


def test_seeds_are_read_with_commas_or_spaces() -> None:
    assert new_run.read_seeds("0, 1 2") == [0, 1, 2]


@pytest.mark.parametrize("text", ["", "1, 1", "-1", "1.5", "x", "²", str(2**32)])
def test_seeds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="`seeds` must be"):
        new_run.read_seeds(text)


def test_experiments_leave_out_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text('[place]\nsea = ["a"]\n')
    (tmp_path / "broken.toml").write_text("= 1")
    (tmp_path / "mine.toml").write_text("[data.train]\n[data.test]\n[teacher]\n[students]\n")

    assert list(new_run.experiments([tmp_path])) == ["pocket", "mine"]


def test_the_command_is_a_list_of_words_for_this_python(tmp_path: Path) -> None:
    words = new_run.command(tmp_path / "a run", at_once=2, probes=["transfer"])

    assert words[:4] == [sys.executable, "-P", "-m", "app.cli"]
    assert str(tmp_path / "a run" / "config.toml") in words
    assert words[-3:] == ["--diagnose", "--probe", "transfer"]


def test_going_on_takes_no_command_from_the_run_folder(tmp_path: Path) -> None:
    before = ["rm", "-rf", "/", "--jobs", "3", "--probe", "drift", "--probe", "../x", "--set", "a=b"]

    assert new_run.command_again(tmp_path, before) == new_run.command(tmp_path, at_once=3, probes=["drift"])


def test_the_work_of_an_experiment_is_counted(pocket: dict[str, object]) -> None:
    assert new_run.expected(pocket) == (5, 16)
    assert new_run.expected({"students": {"a": {}}, "seeds": [0, 1]}) == (2, 0)
