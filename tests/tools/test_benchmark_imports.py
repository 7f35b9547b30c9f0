"""Benchmarks and tools are run by hand: what they import must exist all the same."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("app", "diagnose", "distill", "probes", "tools")
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for folder in ("benchmarks", "tools") for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> list[tuple[str, str]]:
    """Module and name of every `from ... import` of ours, also inside functions."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    return [(node.module, alias.name) for node in nodes if (node.module or "").split(".")[0] in OURS for alias in node.names]


def exists(module: str, name: str) -> bool:
    if hasattr(importlib.import_module(module), name):
        return True
    try:
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_a_script_imports_exists(script: str) -> None:
    assert [f"{module}.{name}" for module, name in imported(ROOT / script) if not exists(module, name)] == []


def test_an_absent_name_is_noticed() -> None:
    assert exists("distill.training", "teach")
    assert exists("distill.training.teach", "build_clip")
    assert not exists("distill.training.teach", "no_such_function")
