"""Let the tests of this folder use what they share: modules that are no tests and lie beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
