"""On what a diagnosis was made, for whoever wants the same numbers again."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def environment(seed: int) -> dict[str, str]:
    """Return Python, platform, seed and the versions of the packages that decide the numbers."""
    versions = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}", "seed": str(seed)}
    for package in ("synthgap", "torch", "open_clip_torch", "scikit-learn", "numpy", "scipy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
