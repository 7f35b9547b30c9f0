"""The house: how many modules a folder holds, that no two files or folders import each other, and which folders may not meet."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "diagnose", "distill", "probes")
MOST_MODULES = 15
MAY_BE_LARGER = {"distill/losses", "app/panels"}
"""Folders of equals, each listed in one table or used by one page."""

WALLS = {
    "diagnose/judge": ("diagnose/wording", "diagnose/report", "diagnose/stored_images", "jinja2", "matplotlib", "fpdf"),
    "app/charts": ("app/panels", "app/views", "app/map"),
    "app/panels": ("app/views",),
    "app/run_store": ("app/panels", "app/views", "app/charts", "app/map"),
    "distill/losses": ("distill/models", "distill/training", "distill/data"),
    "distill/system": ("distill/models", "distill/training", "distill/data", "distill/text"),
    "distill/models": ("distill/training", "distill/generate", "distill/export"),
    "distill/data": ("distill/models", "distill/training", "distill/generate"),
    "probes/stats": ("probes/edits", "probes/transfer", "probes/separability", "probes/drift", "probes/attribution"),
    "probes/edits": ("probes/interventions", "probes/planted"),
}
"""Folder -> folders and packages that nothing in it imports."""


def modules() -> dict[str, Path]:
    return {path.relative_to(ROOT).as_posix(): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def imported_names(path: Path) -> Iterator[str]:
    """Names of modules, and of what is taken from them, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name: str, files: Mapping[str, Path]) -> str | None:
    """The file that a dotted name means, or the file it is taken from."""
    parts = name.split(".")
    for length in (len(parts), len(parts) - 1):
        stem = "/".join(parts[:length])
        for file in (f"{stem}.py", f"{stem}/__init__.py"):
            if file in files:
                return file
    return None


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """File -> files of ours that it imports."""
    files = modules()
    return {file: {found for name in imported_names(path) if (found := module_of(name, files))} - {file} for file, path in files.items()}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The first circle, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def inside(folder: str, imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The imports between the files and folders that lie directly in a folder."""
    graph: dict[str, set[str]] = defaultdict(set)
    prefix = f"{folder}/" if folder else ""
    for file, targets in imports.items():
        if not file.startswith(prefix):
            continue
        child = file.removeprefix(prefix).split("/")[0]
        graph[child] |= {target.removeprefix(prefix).split("/")[0] for target in targets if target.startswith(prefix)} - {child}
    return graph


def test_no_folder_holds_more_than_fifteen_modules() -> None:
    counts: dict[str, int] = defaultdict(int)
    for file in modules():
        counts[str(PurePosixPath(file).parent)] += not file.endswith("__init__.py")

    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES and folder not in MAY_BE_LARGER} == {}


def test_no_two_files_import_each_other(imports: dict[str, set[str]]) -> None:
    assert circle(imports) == []


def test_no_two_folders_import_each_other(imports: dict[str, set[str]]) -> None:
    """In every folder, what lies directly in it can be put in an order in which each imports only what stands before it."""
    folders = {str(parent) for file in imports for parent in PurePosixPath(file).parents}

    assert {folder: found for folder in sorted(folders) if (found := circle(inside(folder.removeprefix("."), imports)))} == {}


def test_walls_between_folders_hold(imports: dict[str, set[str]]) -> None:
    assert all((ROOT / folder).is_dir() for folder in WALLS)
    broken = []
    for file, path in modules().items():
        names = {name.split(".")[0] for name in imported_names(path)}
        for folder, forbidden in WALLS.items():
            if file.startswith(f"{folder}/"):
                broken += [(file, target) for target in imports[file] for wall in forbidden if target.startswith(f"{wall}/")]
                broken += [(file, wall) for wall in forbidden if wall in names]

    assert broken == []


def test_pages_are_pages_and_nothing_else() -> None:
    """Every module of `app/views` is opened by the dashboard under its name."""
    from app.dashboard import PAGES

    assert {path.stem for path in (ROOT / "app" / "views").glob("*.py")} - {"__init__"} == set(PAGES)


def test_the_picture_of_the_house_names_every_room_and_no_other() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```mermaid")[1].split("```")[0]
    drawn = set(re.findall(rf"\b((?:{'|'.join(PACKAGES)})_\w+)\[", picture))
    rooms = {f"{package}_{path.name}" for package in PACKAGES for path in (ROOT / package).iterdir() if list(path.glob("*.py"))}

    assert drawn == rooms


def test_architecture_names_no_file_or_folder_that_is_not_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = re.findall(rf"`((?:tools|tests|{'|'.join(PACKAGES)})/[\w/.]*)`", text)
    dotted = re.findall(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)`", text)

    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [name for name in dotted if module_of(name, modules()) is None] == []
