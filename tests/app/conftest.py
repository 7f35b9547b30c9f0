"""Fixtures of the app's tests: their stored runs. The builder is no test and no package, so it is loaded by its path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _builder(name: str = "stored_reports") -> ModuleType:
    if name == "stored_reports":
        for imported in ("stored_probes", "stored_explained"):
            _builder(imported)
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{name}.py must lie beside conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def stored() -> ModuleType:
    """Return the module that builds runs."""
    return _builder()


@pytest.fixture(scope="session")
def runs(stored: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store one run of every kind in a runs folder; tests only read it."""
    root = tmp_path_factory.mktemp("runs")
    stored.store_complete(root)
    stored.store_partial(root)
    stored.store_broken(root)
    stored.store_other_schema(root)
    stored.store_going(root)
    return root
