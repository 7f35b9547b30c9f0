"""Let the tests of this folder use what they share: modules and fixtures that are no tests and lie beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tiny_pipelines import dit, stable_diffusion, stable_diffusion_xl  # noqa: F401 - fixtures
