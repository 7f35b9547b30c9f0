"""Open images by the name that a command gives: any source of `load_split`, or a part of the embedded pack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from distill.data.split import Split, load_split


def open_images(
    spec: str,
    *,
    domain: str | None = "real",
    class_names: Sequence[str] | None = None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    layout: str | None = None,
    skip_bad: bool = False,
    lazy: bool = False,
) -> Split:
    """Load `pocket:PART[:TASK]` or any source of `load_split`.

    Args:
        spec: the source.
        domain: `real` or `synthetic`; None: as the source says.
        class_names: the classes and their order.
        split: where the source holds several.
        columns: our column name -> the source's; of the pocket, `group` alone.
        layout: what each level of folders says.
        skip_bad: leave out images that cannot be read.
        lazy: leave images in their shards.

    Args:
        spec: the source.
        domain: of images that do not name theirs.

    Raises:
        FileNotFoundError, ValueError: for a source that cannot be read.
    """
    if not spec.startswith("pocket:"):
        return load_split(
            spec, domain=domain, class_names=class_names, split=split, columns=columns, layout=layout, skip_bad=skip_bad, lazy=lazy
        )
    from distill.packs import pocket

    part, _, task = spec.removeprefix("pocket:").partition(":")
    images = pocket.pocket_split(part, task or "digit")
    group = (columns or {}).get("group")
    images = images if group is None else images.with_groups(group)
    return images if class_names is None else images.with_class_order(class_names)


def first_per_class(split: Split, count: int) -> Split:
    """Keep the first images of each class, in the split's order.

    Args:
        split: labelled images.
        count: of each class, at least 1; a class that has fewer keeps all.

    Raises:
        ValueError: for a count below 1.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1 image of each class, got {count}; give more.")
    labels = split.labels
    return split.select(np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)])))
