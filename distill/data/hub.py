"""Data sets of the Hugging Face hub, `hf:NAME[:CONFIG][@SPLIT]`: the only source that uses the network."""

from __future__ import annotations

from pathlib import Path

import datasets

from distill.data.columns import Source
from distill.errors import DistillError
from distill.system.hub_access import first_line, why_unreachable


def parse(spec: str) -> tuple[str, str | None, str | None]:
    """Take `hf:NAME[:CONFIG][@SPLIT]` apart.

    Example:
        >>> parse("hf:uoft-cs/cifar10:plain_text@test")
        ('uoft-cs/cifar10', 'plain_text', 'test')
    """
    rest, _, split = spec.removeprefix("hf:").partition("@")
    name, _, config = rest.partition(":")
    return name, config or None, split or None


def read_hub(spec: str, *, split: str | None = None) -> Source:
    """Load a hub data set, or a local copy of a hub repository, through `datasets`.

    Without the network, a data set that `datasets` has in its cache still loads.

    Args:
        spec: `hf:NAME[:CONFIG][@SPLIT]`; NAME may be a local folder.
        split: used where the spec names none.

    Raises:
        FileNotFoundError: when the hub knows no such data set.
        ValueError: for an unknown split, or when several splits are there and none is named.
        DistillError: when the hub cannot be reached and the data set is not in the cache.
    """
    name, config, named = parse(spec)
    if not name:
        raise ValueError(
            f"a hub source must be hf:NAME[:CONFIG][@SPLIT], got {spec!r}; give the name as on the hub, such as uoft-cs/cifar10."
        )
    loaded = _load(name, config)
    chosen = named or split or (next(iter(loaded)) if len(loaded) == 1 else None)
    if chosen not in loaded:
        raise ValueError(
            f"`split` of hub data set `{name}` must be one of {list(loaded)}, got {chosen!r}; write hf:{name}@{next(iter(loaded))}."
        )
    rows = loaded[chosen]
    images = [column for column, feature in rows.features.items() if isinstance(feature, datasets.Image)]
    labels = [column for column, feature in rows.features.items() if isinstance(feature, datasets.ClassLabel)]
    class_names = tuple(rows.features[labels[0]].names) if len(labels) == 1 else None
    table = rows.data.table  # fresh from `load_dataset`: no indices lie over it
    renames = {images[0]: "image"} if len(images) == 1 and "image" not in rows.features else {}
    if len(labels) == 1 and "label" not in rows.features:
        renames[labels[0]] = "label"
    table = table.rename_columns([renames.get(column, column) for column in table.column_names])
    return Source(table, f"{name}@{chosen}", class_names)


def _load(name: str, config: str | None) -> datasets.DatasetDict:
    offline = "" if Path(name).is_dir() else why_unreachable("data set", name)
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or bool(offline)  # then `datasets` looks into its cache only, at once
    try:
        return datasets.load_dataset(name, config)
    except Exception as error:  # likewise: many kinds, one meaning
        if offline:
            raise DistillError(f"hub `{name}` cannot be reached ({offline}); download it first or give a local folder.") from error
        raise DistillError(
            f"hub data set `{name}` cannot be loaded ({first_line(error)}); check the name and configuration or give a local folder."
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = before
