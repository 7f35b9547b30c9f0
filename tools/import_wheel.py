"""Import every module of the four packages from an installed wheel: `python -P tools/import_wheel.py`, outside the repository's environment.

The names are those of the source tree, so that a module or folder which packaging leaves out (by an ignore pattern, say) is noticed.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("distill", "probes", "diagnose", "app")
RUN_WHEN_IMPORTED = {"app.dashboard", "probes.__main__"}
"""Streamlit's entry script, and the one behind `python -m probes`."""

KEPT_OUT = ("tools", "tests", "benchmarks")


def module_names(root: Path = ROOT) -> list[str]:
    """List the modules of the four packages, as the files of the source tree name them.

    Args:
        root: of the repository.
    """
    files = [path.relative_to(root) for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    names = [".".join(file.parts[:-1] if file.stem == "__init__" else file.with_suffix("").parts) for file in files]
    return [name for name in names if name not in RUN_WHEN_IMPORTED]


def main() -> None:
    """Import the modules; exit with the name of the first that is missing or comes from elsewhere."""
    installed_under = Path(sys.prefix).resolve()
    names = module_names()
    for name in names:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            sys.exit(f"the wheel must hold {name}, which cannot be imported: {error}")
        if not Path(str(module.__file__)).resolve().is_relative_to(installed_under):
            sys.exit(f"{name} must come from the wheel, got {module.__file__}")
    site = Path(str(sys.modules["distill"].__file__)).parents[1]
    if surplus := [name for name in KEPT_OUT if (site / name).exists()]:
        sys.exit(f"the wheel must hold the four packages alone, got {surplus[0]} too")
    from distill.packs import pocket

    if not pocket.teacher_folder().is_dir():
        sys.exit("the wheel must hold the pocket's teacher, got none")
    sys.stdout.write(f"the wheel holds all {len(names)} modules of its four packages, and the pocket\n")


if __name__ == "__main__":
    main()
