"""Data sets of the Hugging Face hub, `hf:NAME[:CONFIG][@SPLIT]`: the only source that uses the network."""

from __future__ import annotations

from pathlib import Path

import datasets

from distill.data.columns import Source
from distill.data.vocabulary import class_column_of, domain_word
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
    return _source(loaded[chosen], f"{name}@{chosen}")


def column_names_of(features: datasets.Features) -> dict[str, tuple[str, ...]]:
    """List the columns of the type `ClassLabel` with the names of their integers."""
    labels = {column: feature for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)}
    return {column: tuple(feature.names) for column, feature in labels.items() if feature.names}


def _source(rows: datasets.Dataset, name: str) -> Source:
    """Take the table of a data set, with the names of its integers; its only image column is called `image`, its only class `label`."""
    images = [column for column, feature in rows.features.items() if isinstance(feature, datasets.Image)]
    labels = [column for column, feature in rows.features.items() if isinstance(feature, datasets.ClassLabel)]
    table = rows.data.table if rows._indices is None else rows.flatten_indices().data.table
    renames = {images[0]: "image"} if len(images) == 1 and "image" not in rows.features else {}
    only = [column for column in labels if domain_word(str((rows.features[column].names or [""])[0])) is None]
    if len(only) == 1 and class_column_of(rows.column_names, None) is None:
        renames[only[0]] = "label"
    names = {renames.get(column, column): words for column, words in column_names_of(rows.features).items()}
    return Source(table.rename_columns([renames.get(column, column) for column in table.column_names]), name, column_names=names)


def is_saved(folder: Path) -> bool:
    """Tell whether `datasets.save_to_disk` has written a folder."""
    return (folder / "dataset_dict.json").is_file() or ((folder / "state.json").is_file() and (folder / "dataset_info.json").is_file())


def read_saved(folder: Path, *, split: str | None = None) -> Source:
    """Load what `datasets.save_to_disk` has written, one data set or a dictionary of splits.

    Raises:
        ValueError: for a folder that is damaged, or several splits of which none is chosen.
    """
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # Arrow and `datasets` raise many kinds for a damaged folder
        raise ValueError(f"`{folder}` must be what `save_to_disk` has written, got {first_line(error)}; save it again.") from error
    if isinstance(loaded, datasets.Dataset):
        return _source(loaded, folder.name)
    names = list(loaded)
    if (split is None and len(names) != 1) or split not in (None, *names):
        raise ValueError(
            f"`split` of `{folder}` must be one of {names}, got {split!r}; give it (`--split {names[0]}`) or the folder `{folder / names[0]}`."
        )
    chosen = split or names[0]
    return _source(loaded[chosen], f"{folder.name}@{chosen}")


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
