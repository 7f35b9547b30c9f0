"""Columns as a source has them to the columns of a `Split`: ids, labels, class names, domain, caption, generator."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

DOMAINS = {"real": "real", "synthetic": "synthetic", "fake": "synthetic", "generated": "synthetic"}
"""Words a source may use for a domain, in any case -> our word."""

OURS = ("id", "image", "label", "domain", "caption", "generator")
IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_SYNONYMS = {"caption": ("text", "txt"), "label": ("cls",), "class_name": ("classname",), "image": ("img",)}


@dataclass(frozen=True)
class Source:
    """What a reader hands over.

    Args:
        table: `image` as a struct of bytes and path; further columns under the source's own names. A column `key` holds names to
            make ids from where there is no `id`.
        name: what errors call the data.
        class_names: names of integer labels, where the source has them.
    """

    table: pa.Table
    name: str
    class_names: tuple[str, ...] | None = None


def assemble(
    source: Source, *, domain: str | None, class_names: Sequence[str] | None, columns: Mapping[str, str] | None
) -> tuple[datasets.Dataset, tuple[str, ...]]:
    """Turn a source into the rows of a `Split`.

    Args:
        source: as read.
        domain: `real` or `synthetic`: the domain of all images where the source does not say; where it does, the one to keep.
        class_names: the classes and their order, or None for the source's own.
        columns: our column name -> the source's, for sources with other words.

    Returns:
        Rows with the columns of `OURS` and the source's other text columns, and the class names.

    Raises:
        ValueError: for anything missing, contradictory or doubled.
    """
    table = _rename(source, columns or {})
    table, domains = _domains(table, source.name, domain)
    labels, names = _labels(table, source, class_names)
    ids = _ids(table, source.name, domains)
    count = table.num_rows
    made = {
        "id": pa.chunked_array([pa.array(ids, pa.string())]),
        "image": table.column("image"),
        "label": pa.chunked_array([pa.array(labels, pa.int64())]),
        "domain": pa.chunked_array([pa.array(domains, pa.string())]),
    }
    for name in ("caption", "generator"):
        made[name] = _text(table, name) if name in table.column_names else pa.chunked_array([pa.nulls(count, pa.string())])
    for name in table.column_names:
        if name not in made and name not in ("class_name", "key") and _is_text(table.schema.field(name).type):
            made[name] = _text(table, name)
    return as_dataset(pa.table(made)), names


def as_dataset(table: pa.Table) -> datasets.Dataset:
    """Wrap rows in a `datasets.Dataset` whose `image` column stays encoded."""
    types = {name: datasets.Value("int64" if name == "label" else "string") for name in table.column_names if name != "image"}
    features = datasets.Features({name: datasets.Image(decode=False) if name == "image" else types[name] for name in table.column_names})
    info = datasets.DatasetInfo(features=features)
    # Its own fingerprint would hash every image at once and names cache files of `map`, which we never write.
    return datasets.Dataset(table.replace_schema_metadata(None), info=info, fingerprint=uuid.uuid4().hex)


def _rename(source: Source, columns: Mapping[str, str]) -> pa.Table:
    table, found = source.table, list(source.table.column_names)
    for ours, theirs in columns.items():
        if theirs not in found:
            raise ValueError(f"`columns` must name columns of `{source.name}`, got {theirs!r} for {ours!r}; choose from {found}.")
    renames = {theirs: ours for ours, theirs in columns.items()}
    for ours, words in _SYNONYMS.items():
        synonym = next((word for word in words if word in found), None)
        if synonym and ours not in found and ours not in columns and synonym not in renames:
            renames[synonym] = ours
    dropped = [name for name in found if name in columns and name not in renames]  # ours by name, but another one was asked for
    table = table.drop_columns(dropped) if dropped else table
    return table.rename_columns([renames.get(name, name) for name in table.column_names])


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _text(table: pa.Table, name: str) -> pa.ChunkedArray:
    try:
        return table.column(name).cast(pa.string())
    except pa.ArrowException as error:
        raise ValueError(f"column `{name}` must hold text, got {table.schema.field(name).type}; convert or drop it.") from error


def check_domain(domain: str | None) -> str | None:
    """Translate `domain` to `real` or `synthetic`; None stays None.

    Raises:
        ValueError: for any other word.
    """
    if domain is None:
        return None
    if domain.lower() not in DOMAINS:
        raise ValueError(f"`domain` must be 'real' or 'synthetic', got {domain!r}; name the one these images are of.")
    return DOMAINS[domain.lower()]


def _domains(table: pa.Table, source: str, wanted: str | None) -> tuple[pa.Table, list[str]]:
    wanted = check_domain(wanted)
    if "domain" not in table.column_names:
        if wanted is None:
            raise ValueError(
                f"the domain of `{source}` must be known, got neither a `domain` column nor folders real/ and synthetic/; "
                "give `domain='real'` or `domain='synthetic'`."
            )
        return table, [wanted] * table.num_rows
    found = [DOMAINS.get(str(value).lower()) for value in table.column("domain").to_pylist()]
    if None in found:
        value = table.column("domain")[found.index(None)].as_py()
        raise ValueError(
            f"column `domain` of `{source}` must hold 'real' or 'synthetic', got {value!r} in row {found.index(None)}; correct it."
        )
    if wanted is None or set(found) == {wanted}:
        return table, found  # type: ignore[return-value]
    keep = np.array([value == wanted for value in found])
    if not keep.any():
        raise ValueError(f"`{source}` must hold {wanted} images, got only {found[0]} ones; give the other `domain` or another source.")
    return table.filter(pa.array(keep)), [wanted] * int(keep.sum())


def _ids(table: pa.Table, source: str, domains: list[str]) -> list[str]:
    if "id" in table.column_names:
        ids = [None if value is None else str(value) for value in table.column("id").to_pylist()]
        if None in ids or "" in ids:
            raise ValueError(
                f"column `id` of `{source}` must be filled, got nothing in row {[not value for value in ids].index(True)}; fill or drop it."
            )
    else:
        keys = table.column("key").to_pylist()
        ids = [f"{domain}/{key}" for domain, key in zip(domains, keys, strict=True)]
    check_unique(ids, source)  # type: ignore[arg-type]
    return ids  # type: ignore[return-value]


def check_unique(ids: Sequence[str], source: str) -> None:
    """Refuse ids that occur twice.

    Raises:
        ValueError: naming the first five and how many there are.
    """
    double = [value for value, count in Counter(ids).items() if count > 1]
    if double:
        more = f" and {len(double) - 5} more" if len(double) > 5 else ""
        raise ValueError(
            f"ids of `{source}` must be unique, got {', '.join(map(repr, double[:5]))}{more} more than once; rename or remove the doubles."
        )


def _labels(table: pa.Table, source: Source, wanted: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Join integer labels and class names, whichever of them there are, to labels 0..C-1 and C names."""
    texts: list[str] | None = None
    numbers: list[int] | None = None
    if "class_name" in table.column_names:
        texts = [str(value) for value in _filled(table, "class_name", source.name)]
    if "label" in table.column_names:
        kind = table.schema.field("label").type
        if _is_text(kind):
            texts = texts or _filled(table, "label", source.name)
        elif pa.types.is_integer(kind):
            numbers = _filled(table, "label", source.name)
        else:
            raise ValueError(f"column `label` of `{source.name}` must hold integers or class names, got {kind}; convert it.")
    if texts is None:
        texts = _named(numbers, source, wanted)
    elif numbers is not None:
        _check_pairs(numbers, texts, source.name)
    if wanted is not None:
        names = tuple(wanted)
    elif source.class_names is not None:
        names = source.class_names
    elif numbers is not None:
        names = tuple(dict(sorted(zip(numbers, texts, strict=True))).values())
    else:
        names = tuple(sorted(set(texts)))
    return encode(texts, names, source.name), names


def _filled(table: pa.Table, name: str, source: str) -> list[Any]:
    values = table.column(name).to_pylist()
    gap = next((row for row, value in enumerate(values) if value is None or value in ("", -1)), None)  # -1: unlabelled, as on the hub
    if gap is not None:
        raise ValueError(f"column `{name}` of `{source}` must be filled, got {values[gap]!r} in row {gap}; every image needs its class.")
    return values


def encode(texts: Sequence[str], names: Sequence[str], source: str) -> np.ndarray:
    """Number class names 0..C-1 by their place in `names`.

    Returns:
        Labels (N,), int64.

    Raises:
        ValueError: for a name that `names` lacks, a name twice in `names`, or one without an image.
    """
    check_unique(names, f"class names of {source}")
    place = {name: index for index, name in enumerate(names)}
    present = set(texts)
    if extra := sorted(present - set(names)):
        raise ValueError(f"classes of `{source}` must be among {list(names)}, got {extra[:5]} too; correct `class_names` or the data.")
    if missing := [name for name in names if name not in present]:
        raise ValueError(
            f"every class of `{source}` must have images, got none for {missing[:5]}; add images or leave the class out of `class_names`."
        )
    return np.array([place[text] for text in texts], np.int64)


def _named(numbers: list[int] | None, source: Source, wanted: Sequence[str] | None) -> list[str]:
    if numbers is None:
        raise ValueError(
            f"`{source.name}` must have a column `label` or `class_name`, got {source.table.column_names}; name it with `columns`."
        )
    names = source.class_names or wanted
    if names is None:
        raise ValueError(
            f"class names of `{source.name}` must be known, got integer labels only; give `class_names` in the order of the labels."
        )
    if max(numbers) >= len(names) or min(numbers) < 0:
        raise ValueError(
            f"labels of `{source.name}` must be in 0..{len(names) - 1}, got {max(numbers)}; give one class name for each label."
        )
    return [names[number] for number in numbers]


def _check_pairs(numbers: list[int], texts: list[str], source: str) -> None:
    pairs = sorted(set(zip(numbers, texts, strict=True)))
    for (label, name), (other_label, other_name) in pairwise(pairs):
        if label == other_label:
            raise ValueError(
                f"`label` and `class_name` of `{source}` must agree, got {name!r} and {other_name!r} for label {label}; correct one."
            )
    if len({name for _, name in pairs}) < len(pairs):
        name, _ = Counter(name for _, name in pairs).most_common(1)[0]
        labels = [label for label, other in pairs if other == name]
        raise ValueError(f"`label` and `class_name` of `{source}` must agree, got labels {labels} for {name!r}; correct one.")
