"""Hash of the source that computes a probe's numbers: the probe's own folder and what it imports, so that a change elsewhere keeps stored results."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Lock

_PARSING = Lock()
"""CPython 3.11 keeps one recursion counter for `ast.parse` of all threads, and raises SystemError where two of them parse at a time."""

PACKAGE = Path(__file__).parent
"""Folder of the package `probes`."""


def source_files(module: str, *, package: Path = PACKAGE) -> list[Path]:
    """List the files of a package that a module's numbers can depend on: its own folder and what these import, directly or not.

    Imports inside functions and under `TYPE_CHECKING` count as well. Other packages do not.

    Args:
        module: full name of the module (`probes.drift.probe`).
        package: folder of the top-level package that `module` is in.

    Returns:
        Paths, sorted; empty for a module that is not in the package.
    """
    start = _file_of(module, package)
    if start is None:
        return []
    files: set[Path] = set()
    waiting = [start] if start.parent == package else sorted(start.parent.rglob("*.py"))
    while waiting:
        path = waiting.pop()
        if path not in files:
            files.add(path)
            waiting += [file for name in _imported_names(path, package) if (file := _file_of(name, package)) is not None]
            waiting += [init for parent in path.relative_to(package).parents if (init := package / parent / "__init__.py").is_file()]
    return sorted(files)


def source_hash(module: str, *, package: Path = PACKAGE) -> str:
    """Hash the content of `source_files`, or of the module's file alone where it is in another package.

    Args:
        module: full name of the module.
        package: folder of the top-level package that `module` is in.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in source_files(module, package=package) or _file_elsewhere(module):
        name = path.relative_to(package).as_posix() if path.is_relative_to(package) else path.name
        content = path.read_bytes()
        digest.update(f"|{name} {len(content)}|".encode() + content)
    return digest.hexdigest()


@cache
def loaded_source_hash(module: str) -> str:
    """Hash the source of a module of this process; it is read once, since the code that runs does not change either."""
    return source_hash(module)


def _file_elsewhere(module: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return []
    return [Path(spec.origin)] if spec is not None and spec.origin is not None and Path(spec.origin).is_file() else []


def _file_of(module: str, package: Path) -> Path | None:
    """Return the file of a module by its full name, or None where the package has no such module."""
    first, *rest = module.split(".")
    if first != package.name:
        return None
    path = package.joinpath(*rest)
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _imported_names(path: Path, package: Path) -> Iterator[str]:
    """Yield the full names that a file imports; of `from a import b` both `a` and `a.b`, since `b` may be a module."""
    inside = [package.name, *path.relative_to(package).parent.parts]
    with _PARSING:
        tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = inside[: len(inside) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
