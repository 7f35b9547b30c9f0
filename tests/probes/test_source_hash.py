"""The hash of a probe's source: what it covers, and which changes keep it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import probes
from probes.registry import PROBES
from probes.source_hash import source_files, source_hash

PACKAGE = Path(probes.__file__).parent
TRANSFER = "probes.transfer.probe"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the package `probes`."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "probes", ignore=shutil.ignore_patterns("__pycache__")))


def test_a_copy_of_the_tree_has_the_hash_of_the_original(copy):
    assert source_hash(TRANSFER, package=copy) == source_hash(TRANSFER)


@pytest.mark.parametrize("file", ["corruptions/blur.py", "registry.py", "edits/__init__.py", "separability/probe.py", "maps.py"])
def test_a_change_in_an_unrelated_file_keeps_the_hash(copy, file):
    before = source_hash(TRANSFER, package=copy)

    (copy / file).write_text((copy / file).read_text() + "\n# a typo less\n")

    assert source_hash(TRANSFER, package=copy) == before


@pytest.mark.parametrize(
    "file",
    [
        "transfer/probe.py",
        "transfer/calibration.py",
        "stats/folds.py",  # imported by a file of the folder
        "result.py",  # imported by what is imported
        "stats/__init__.py",  # runs when a module beside it is imported
    ],
)
def test_a_change_in_the_folder_or_in_what_it_imports_changes_the_hash(copy, file):
    before = source_hash(TRANSFER, package=copy)

    (copy / file).write_text((copy / file).read_text() + "\n# another number\n")

    assert source_hash(TRANSFER, package=copy) != before


def test_a_new_file_in_the_folder_and_an_import_inside_a_function_count(copy):
    before = source_hash(TRANSFER, package=copy)
    (copy / "transfer" / "extra.py").write_text("def late():\n    from probes.corruptions import blur\n    return blur\n")
    with_file = source_hash(TRANSFER, package=copy)
    (copy / "corruptions" / "blur.py").write_text("")

    assert len({before, with_file, source_hash(TRANSFER, package=copy)}) == 3


def test_a_relative_import_counts(copy):
    (copy / "transfer" / "extra.py").write_text("from ..corruptions import blur\nfrom . import calibration\n")

    assert copy / "corruptions" / "blur.py" in source_files(TRANSFER, package=copy)


def test_a_module_of_another_package_is_hashed_by_its_own_file(tmp_path, monkeypatch):
    file = tmp_path / "own_probe_of_a_user.py"
    file.write_text("LEVEL = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = source_hash("own_probe_of_a_user")
    file.write_text("LEVEL = 2\n")

    assert source_files("own_probe_of_a_user") == []
    assert source_hash("own_probe_of_a_user") != before


def test_every_module_that_a_probe_imports_is_covered():
    """Compare with Python itself: what a fresh process has loaded of the package after importing a probe."""
    modules = {name: spec.function.__module__ for name, spec in PROBES.items()}
    code = (
        "import importlib, json, sys\n"
        "loaded = {}\n"
        "for name, module in json.loads(sys.argv[1]).items():\n"
        "    for old in [old for old in sys.modules if old.split('.')[0] == 'probes']: del sys.modules[old]\n"
        "    importlib.import_module(module)\n"
        "    loaded[name] = [m.__file__ for key, m in sys.modules.items() if key.split('.')[0] == 'probes']\n"
        "print(json.dumps(loaded))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, json.dumps(modules)], check=True, capture_output=True, text=True, cwd=PACKAGE.parent
    )
    loaded = json.loads(answer.stdout)

    for name, module in modules.items():
        covered = {str(path.resolve()) for path in source_files(module)}
        assert {str(Path(file).resolve()) for file in loaded[name]} <= covered, name
        assert len(covered) < len(list(PACKAGE.rglob("*.py"))) / 2, name
