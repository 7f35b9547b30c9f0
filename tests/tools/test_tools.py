"""The tools start, install a build where the package reads it, and look at every module of the wheel."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from distill.packs.pocket import pipeline_folder
from tools import import_wheel
from tools.pocket import build, build_teacher

ROOT = Path(__file__).parents[2]


def test_the_build_of_the_pocket_starts_by_the_command_that_the_docs_name() -> None:
    command = "python -m tools.pocket.build"
    for page in (ROOT / "docs" / "pocket.md", ROOT / "distill" / "packs" / "pocket" / "card.md"):
        assert command in page.read_text(encoding="utf-8")

    ended = subprocess.run(
        [sys.executable, *command.split()[1:], "--help"], cwd=ROOT, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stderr
    assert f"usage: {command}" in ended.stdout


def test_a_build_is_installed_over_the_shipped_files(tmp_path: Path) -> None:
    out, assets = tmp_path / "out", tmp_path / "assets"
    for folder, text in ((out, "new"), (assets, "old")):
        for name in build.SHIPPED:
            file = folder / name if "." in name else folder / name / f"{text}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    build.install(out, assets)

    files = {path.relative_to(assets).as_posix(): path.read_text() for path in assets.rglob("*") if path.is_file()}
    assert set(files.values()) == {"new"}
    assert {file.split("/")[0] for file in files} == set(build.SHIPPED)


def test_what_is_shipped_lies_where_the_build_installs_it() -> None:
    assets = pipeline_folder().parent

    assert {path.name for path in assets.iterdir()} == set(build.SHIPPED)


def test_all_steps_of_the_build_log_below_one_logger() -> None:
    assert build_teacher.LOG.name.startswith(f"{build.LOG.name}.")
    assert logging.getLogger(build_teacher.LOG.name) is build_teacher.LOG


def test_the_wheel_check_imports_every_module_but_the_scripts() -> None:
    names = set(import_wheel.module_names())
    files = [path for package in import_wheel.PACKAGES for path in (ROOT / package).rglob("*.py")]

    assert {"distill", "distill.data.split", "distill.export.run", "app.run_store.reports", "probes.registry", "app.views.why"} <= names
    assert len(names) == len(files) - len(import_wheel.RUN_WHEN_IMPORTED)
    assert not names & import_wheel.RUN_WHEN_IMPORTED


def test_tools_are_in_the_source_archive_and_not_in_the_wheel() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]

    assert "/tools" in targets["sdist"]["include"]
    assert set(targets["wheel"]["packages"]) == set(import_wheel.PACKAGES)
