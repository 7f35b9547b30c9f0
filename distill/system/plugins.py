"""Losses and students of other installed packages, found by their entry points."""

from __future__ import annotations

import importlib.metadata
from typing import Any, Literal

Group = Literal["synthgap.losses", "synthgap.students"]


def plugin_names(group: Group) -> list[str]:
    """List the names that installed packages give in a group, sorted."""
    return sorted({entry.name for entry in importlib.metadata.entry_points(group=group)})


def load_plugin(group: Group, name: str) -> Any:
    """Load the object that an installed package registers under a name, or None where no package does.

    Args:
        group: `synthgap.losses` or `synthgap.students`.
        name: on the left of `=` in the package's entry points.

    Raises:
        ValueError: when two packages offer the name, or the package cannot be imported.
    """
    entry_points = list(importlib.metadata.entry_points(group=group, name=name))
    if not entry_points:
        return None
    owners = sorted({entry.dist.name if entry.dist else entry.value for entry in entry_points})
    if len(owners) > 1:
        raise ValueError(f"`{name}` must be offered by one package in {group}, got {' and '.join(owners)}; uninstall one of them.")
    try:
        return entry_points[0].load()
    except (Exception, SystemExit) as error:  # somebody else's code: whatever its import raises
        raise ValueError(
            f"`{name}` of the package {owners[0]} must import, got {type(error).__name__}: {error}; mend or uninstall it."
        ) from error
