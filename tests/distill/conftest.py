"""Let the tests of this folder use what they share: modules and fixtures that are no tests and lie beside this file."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_pipelines import dit, stable_diffusion, stable_diffusion_xl  # noqa: F401 - fixtures


@pytest.fixture(scope="module", autouse=True)
def little_garbage() -> None:
    """Take what torch and its kin have made at import out of the collector's sight: it runs after each student, for longer than a tiny one trains."""
    gc.freeze()
