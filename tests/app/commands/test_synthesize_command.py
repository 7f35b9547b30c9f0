"""`synthgap synthesize` from the command line: classes, prompts and errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.cli import app
from app.commands.synthesize import read_classes
from distill.data.split import load_split

RUN = CliRunner()


def run(*arguments: object) -> Result:
    return RUN.invoke(app, ["synthesize", *map(str, arguments)], catch_exceptions=False)


def test_classes_come_from_a_file_or_a_list(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("# pets\ncat\n\n  sea lion \n")

    assert read_classes(str(path)) == ("cat", "sea lion")
    assert read_classes("cat, dog") == ("cat", "dog")
    with pytest.raises(FileNotFoundError, match=r"`--classes` must be a file that exists or names such as cat,dog, got no.txt"):
        read_classes("no.txt")
    with pytest.raises(ValueError, match="got 'cat' and 'Cat'"):
        read_classes("cat,Cat")


def test_a_set_is_drawn_with_contexts_from_a_file(tmp_path: Path) -> None:
    contexts = tmp_path / "contexts.toml"
    contexts.write_text('template = "a {ink} {class} on {ground}"\n[dimensions]\nink = ["red", "blue"]\nground = ["sky", "fur"]\n')

    done = run("--generator", "pocket", "--classes", "one,two", "--contexts", contexts, "--steps", 1, "--out", tmp_path / "set")
    split = load_split(tmp_path / "set")

    assert f"manifest: {tmp_path / 'set' / 'manifest.parquet'} (8 pictures of 2 classes)" in done.stdout
    assert sorted(set(split.captions or [])) == [
        f"a {ink} {n} on {ground}" for ink in ("blue", "red") for n in ("one", "two") for ground in ("fur", "sky")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "one of `--generator` and `--train-on` must be given, got none"),
        (("--generator", "pocket"), "`--classes` must be given, got nothing"),
        (("--generator", "pocket", "--classes", "a,b", "--prompts", "simpel"), "`--prompts` must be one of"),
        (("--generator", "pocket", "--classes", "a,b", "--template", "a {}", "--llm", "x/y"), "at most one of `--template`"),
        (("--generator", "pocket", "--classes", "a,b", "--size", "big"), "`--size` must be SIDE or HEIGHTxWIDTH"),
        (("--generator", "pocket", "--classes", "a,b", "--steps", "0"), r"`steps` .*greater than or equal to 1"),
        (("--generator", "pocket", "--classes", "a,b", "--codec", "match"), "`--real` must be given with --codec match"),
        (("--train-on", "pocket:train-real"), "with `--train-on`, `--per-class` must be given"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run("--out", tmp_path / "set", *arguments)
    assert not (tmp_path / "set" / "synthesis.json").exists()


def test_a_small_generator_is_trained_and_drawn_from(tiny_data: Path, tmp_path: Path) -> None:
    train = tiny_data / "train-real.parquet"

    arguments = ("--train-on", train, "--train-limit", 3, "--train-steps", 2, "--per-class", 1, "--steps", 1, "--out", tmp_path / "set")
    run(*arguments)
    again = run(*arguments, "--resume")

    assert load_split(tmp_path / "set").class_names == load_split(train).class_names
    assert "(3 pictures of 3 classes)" in again.stdout


@pytest.mark.slow
def test_two_processes_and_a_kill_make_the_set_that_one_process_makes(tmp_path: Path) -> None:
    """Real processes with torchrun's variables; one is killed hard in the middle and started again."""
    import os
    import time

    def start(out: Path, rank: int, world: int) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "app.cli",
            "synthesize",
            "--generator",
            "pocket",
            "--classes",
            "one,two",
            "--per-class",
            "10",
            "--steps",
            "2",
        ]
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world)}
        return subprocess.Popen([*command, "--batch-size", "2", "--out", str(out)], env=environment, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "one", 0, 1).wait() == 0
    processes = [start(tmp_path / "two", rank, 2) for rank in range(2)]
    while not list((tmp_path / "two" / "images").rglob("*.png")):
        time.sleep(0.05)
    processes[0].kill()
    assert [process.wait() for process in processes][1] == 0
    assert start(tmp_path / "two", 0, 2).wait() == 0

    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name / "images").rglob("*.png")}
        for name in ("one", "two")
    )
    assert len(one) == 20
    assert one == two
