"""Columns as a source has them to the columns of a `Split`: ids, labels, class names, domain, caption, generator."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from distill.data.vocabulary import (
    CLASS_COLUMNS,
    FLAGS,
    OTHER_CLASS_COLUMNS,
    base_of,
    check_domain,
    check_pairs,
    class_column_of,
    domain_word,
    named_integers,
    names_of_keys,
)

logger = logging.getLogger(__name__)

OURS = ("id", "image", "label", "domain", "caption", "generator")
IMAGE_TYPE = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_SYNONYMS = {"caption": ("text", "txt"), "label": ("cls",), "class_name": ("classname",), "image": ("img",)}
FILE = "__file__"
"""Column in which readers of several files note where a row is from."""


@dataclass(frozen=True)
class Source:
    """What a reader hands over.

    Args:
        table: `image` as a struct of bytes and path; further columns under the source's own names. A column `key` holds names to
            make ids from where there is no `id`.
        name: what errors call the data.
        class_names: names of integer labels, where the source has them.
        column_names: column -> names of its integers, of the Hugging Face type `ClassLabel`.
        names_beside: names in a file beside the source, for integer labels and folders called by numbers or keys.
        from_folders: whether folders name the classes.
    """

    table: pa.Table
    name: str
    class_names: tuple[str, ...] | None = None
    column_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names_beside: tuple[str, ...] | None = None
    from_folders: bool = False


def assemble(
    source: Source, *, domain: str | None, class_names: Sequence[str] | None, columns: Mapping[str, str] | None
) -> tuple[datasets.Dataset, tuple[str, ...]]:
    """Turn a source into the rows of a `Split`.

    Args:
        source: as read.
        domain: `real` or `synthetic`: the domain of all images where the source does not say; where it does, the one to keep.
        class_names: the classes and their order, or None for the source's own.
        columns: our column name -> the source's, for sources with other words; `class` for one of names or integers, `group` for groups of
            any kind, `domain` with the words for 0 and 1 behind it where it holds numbers: `kind=real,synthetic`.

    Returns:
        Rows with the columns of `OURS`, `group` and the source's other text columns, and the class names.

    Raises:
        ValueError: for anything missing, contradictory or doubled.
    """
    chosen = dict(columns or {})
    table = _with_groups(source, chosen.pop("group", None))
    table, domain_words = _domain_column(table, source, chosen.pop("domain", None))
    table, source = _class_column(table, source, chosen.pop("class", None), chosen)
    table = _rename(table, source.name, chosen)
    table, domains = _domains(table, source.name, domain, domain_words)
    labels, names = _labels(table, source, class_names)
    ids = _ids(table, source.name, domains)
    count = table.num_rows
    columns_of_split = {
        "id": pa.chunked_array([pa.array(ids, pa.string())]),
        "image": table.column("image"),
        "label": pa.chunked_array([pa.array(labels, pa.int64())]),
        "domain": pa.chunked_array([pa.array(domains, pa.string())]),
    }
    for name in ("caption", "generator"):
        columns_of_split[name] = _text(table, name) if name in table.column_names else pa.chunked_array([pa.nulls(count, pa.string())])
    for name in table.column_names:
        if name not in columns_of_split and name not in ("class_name", "key") and _is_text(table.schema.field(name).type):
            columns_of_split[name] = _text(table, name)
    return as_dataset(pa.table(columns_of_split)), names


def as_dataset(table: pa.Table) -> datasets.Dataset:
    """Wrap rows in a `datasets.Dataset` whose `image` column stays encoded."""
    types = {name: datasets.Value("int64" if name == "label" else "string") for name in table.column_names if name != "image"}
    features = datasets.Features({name: datasets.Image(decode=False) if name == "image" else types[name] for name in table.column_names})
    info = datasets.DatasetInfo(features=features)
    # Its own fingerprint would hash every image at once and names cache files of `map`, which we never write.
    return datasets.Dataset(table.replace_schema_metadata(None), info=info, fingerprint=uuid.uuid4().hex)


def _with_groups(source: Source, wanted: str | None) -> pa.Table:
    """Bring the column of groups to text, called `group`; the source's own column stays beside it."""
    table = source.table
    name = wanted or "group"
    if name not in table.column_names:
        if wanted is not None:
            logger.warning("`%s` has no column %r for groups, only %s: its images have none.", source.name, wanted, table.column_names)
        return table
    values = table.column(name).to_pylist()
    if wanted is None and any(value is None or value == "" for value in values):
        return table  # one of the source's attributes, with gaps
    if any(value is None or value == "" for value in values):
        row = next(row for row, value in enumerate(values) if value is None or value == "")
        raise ValueError(f"column {name!r} of `{source.name}` must be filled, got nothing in row {row}; every image needs its group.")
    texts = named_integers(values, source.column_names.get(name))
    column = pa.chunked_array([pa.array([str(value) for value in texts], pa.string())])
    rest = table.drop_columns(["group"]) if "group" in table.column_names else table
    return rest.append_column("group", column)


def _domain_column(table: pa.Table, source: Source, wanted: str | None) -> tuple[pa.Table, Sequence[str] | None]:
    """Find the column of domains and call it `domain`; and give the words that its integers stand for."""
    wanted, _, words = (wanted or "").partition("=")
    words_given = tuple(word.strip() for word in words.split(",")) if words else None
    lower = {name.lower(): name for name in reversed(table.column_names)}
    if wanted and wanted not in table.column_names:
        if source.from_folders:
            return table, None
        raise ValueError(f"`--domain-column` must be a column of `{source.name}`, got {wanted!r}; choose from {table.column_names}.")
    flag = next((lower[name] for name in FLAGS if name in lower and _is_flag(table.schema.field(lower[name]).type)), "")
    name = wanted or lower.get("domain") or flag
    if not name:
        return table, None
    words_of_label = source.column_names.get(name)
    words_of_flag = FLAGS.get(name.lower()) if _is_flag(table.schema.field(name).type) else None
    renamed = table.drop_columns(["domain"]) if name != "domain" and "domain" in table.column_names else table
    return renamed.rename_columns(
        ["domain" if column == name else column for column in renamed.column_names]
    ), words_given or words_of_label or words_of_flag


def _is_flag(kind: pa.DataType) -> bool:
    return pa.types.is_boolean(kind) or pa.types.is_integer(kind)


def _class_column(table: pa.Table, source: Source, wanted: str | None, columns: dict[str, str]) -> tuple[pa.Table, Source]:
    """Find the column of classes, and call it `label` or `class_name` by its type."""
    if "label" in columns or "class_name" in columns:
        return table, _with_names_of(source, columns.get("label"))
    name = class_column_of(table.column_names, wanted)
    if wanted is not None and name is None:
        if source.from_folders:
            logger.warning("`--class-column` %r is not used for `%s`: its folders name the classes.", wanted, source.name)
            return table, source
        raise ValueError(f"`--class-column` must be a column of `{source.name}`, got {wanted!r}; choose from {table.column_names}.")
    if name is None or (wanted is None and name.lower() in CLASS_COLUMNS):
        return _lowered(table), _with_names_of(source, name)
    if wanted is None:
        _refuse_two_class_columns(table, source.name, name)
    others = [column for column in ("label", "class_name", "cls", "classname") if column in table.column_names and column != name]
    ours = "class_name" if _is_text(table.schema.field(name).type) else "label"
    table = table.drop_columns(others)
    return table.rename_columns([ours if column == name else column for column in table.column_names]), _with_names_of(source, name)


def _with_names_of(source: Source, column: str | None) -> Source:
    """Take the names of the integers in the class column, where the source has them."""
    names = source.column_names.get(column or "")
    return replace(source, class_names=source.class_names or names)


def _lowered(table: pa.Table) -> pa.Table:
    """Write the names of class columns in small letters, where no two become the same."""
    lower = [name.lower() if name.lower() in CLASS_COLUMNS else name for name in table.column_names]
    return table.rename_columns(lower) if len(set(lower)) == len(lower) else table


def _refuse_two_class_columns(table: pa.Table, source: str, name: str) -> None:
    """Refuse two columns that may name the class and put the images into other classes."""
    lower = [column for column in table.column_names if column.lower() in OTHER_CLASS_COLUMNS]
    if len(lower) > 1:
        values = {column: table.column(column).to_pylist() for column in lower}
        for other in lower:
            pairs = set(zip(map(str, values[name]), map(str, values[other]), strict=True))
            if not len(pairs) == len({first for first, _ in pairs}) == len({second for _, second in pairs}):
                raise ValueError(f"one column of `{source}` must name the class, got {lower}; choose one with `--class-column {name}`.")


def _rename(table: pa.Table, source: str, columns: Mapping[str, str]) -> pa.Table:
    names = list(table.column_names)
    for ours, theirs in columns.items():
        if theirs not in names:
            raise ValueError(f"`columns` must name columns of `{source}`, got {theirs!r} for {ours!r}; choose from {names}.")
    renames = {theirs: ours for ours, theirs in columns.items()}
    for ours, words in _SYNONYMS.items():
        synonym = next((word for word in words if word in names), None)
        if synonym and ours not in names and ours not in columns and synonym not in renames:
            renames[synonym] = ours
    dropped = [name for name in names if name in columns and name not in renames]  # ours by name, but another one was asked for
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


def _domains(table: pa.Table, source: str, wanted: str | None, words: Sequence[str] | None) -> tuple[pa.Table, list[str]]:
    wanted = check_domain(wanted)
    if "domain" not in table.column_names:
        if wanted is None:
            raise ValueError(
                f"the domain of `{source}` must be known, got neither a `domain` column nor folders real/ and synthetic/; "
                "give `domain='real'` or `domain='synthetic'` (`--domain real` or `--domain-column NAME`)."
            )
        return table, [wanted] * table.num_rows
    values = table.column("domain").to_pylist()
    domains = [domain_word(str(value)) for value in named_integers([int(v) if isinstance(v, bool) else v for v in values], words)]
    if None in domains:
        row = domains.index(None)
        numbers = isinstance(values[row], int) and words is None
        raise ValueError(
            f"column `domain` of `{source}` must hold 'real' or 'synthetic', got {values[row]!r} in row {row}; "
            + ("say what 0 and 1 are, as in `--domain-column domain=real,synthetic`." if numbers else "correct it.")
        )
    if wanted is None or set(domains) == {wanted}:
        return table, domains  # type: ignore[return-value]
    keep = np.array([value == wanted for value in domains])
    if not keep.any():
        raise ValueError(f"`{source}` must hold {wanted} images, got only {domains[0]} ones; give the other `domain` or another source.")
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
        else:
            numbers = _whole_numbers(table, source.name, kind)
    if texts is None:
        return _numbered(numbers, source, wanted)
    if numbers is not None:
        check_pairs(numbers, texts, source.name)
    elif (keys := names_of_keys(texts, wanted or source.names_beside or ())) is not None:  # folders 0, 1, 2 or n01440764
        texts = [keys[text] for text in texts]
        wanted = [name for name in keys.values() if name in set(texts)]
    if wanted is not None:
        names = tuple(wanted)
    elif source.class_names is not None:
        names = source.class_names
    elif numbers is not None:
        names = tuple(dict(sorted(zip(numbers, texts, strict=True))).values())
    else:
        names = tuple(sorted(set(texts)))
    _refuse_domains_as_classes(names, source, wanted)
    return encode(texts, names, source.name), names


def _refuse_domains_as_classes(names: Sequence[str], source: Source, wanted: Sequence[str] | None) -> None:
    """Refuse classes called real and fake: data sets for detectors have the domain where others have the class."""
    if wanted is None and len(names) > 1 and all(domain_word(name) is not None for name in names):
        column = next((name for name in ("label", *OTHER_CLASS_COLUMNS) if name in source.table.column_names), "label")
        raise ValueError(
            f"classes of `{source.name}` must be what the images show, got {list(names)}, which are domains; name both columns, as in "
            f"`--domain-column {column} --class-column NAME`, or give the class names with `--class-names` where these are the classes."
        )


def _whole_numbers(table: pa.Table, source: str, kind: pa.DataType) -> list[int]:
    values = _filled(table, "label", source)
    if pa.types.is_integer(kind):
        return values
    if pa.types.is_floating(kind) and all(float(value).is_integer() for value in values):
        return [int(value) for value in values]
    if pa.types.is_list(kind) and all(len(value) == 1 and isinstance(value[0], int) for value in values):
        return [value[0] for value in values]
    raise ValueError(
        f"column `label` of `{source}` must hold integers or class names, got {kind}; convert it, or choose one with `--class-column`."
    )


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


def _numbered(numbers: list[int] | None, source: Source, wanted: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Name integer labels: those of names without images stay where the user gave the list, and are closed up where the source did."""
    if numbers is None:
        raise ValueError(
            f"`{source.name}` must have a column `label` or `class_name`, got {source.table.column_names}; name it with `--class-column` (`columns`)."
        )
    names = source.class_names or wanted or source.names_beside
    better = wanted or source.names_beside
    if source.class_names is not None and better is not None and (keys := names_of_keys(source.class_names, better)) is not None:
        names = tuple(keys[name] for name in source.class_names)  # a ClassLabel of which only the number of classes is known
        source = replace(source, class_names=names)
    if names is None:
        raise ValueError(
            f"class names of `{source.name}` must be known, got integer labels only; give `class_names` in the order of the labels "
            "(`--class-names FILE`, one a line, or a `classes.txt` beside the data)."
        )
    base = base_of(numbers, len(names))
    if base is None:
        wrong = min(numbers) if min(numbers) < 0 else max(numbers)
        raise ValueError(f"labels of `{source.name}` must be in 0..{len(names) - 1}, got {wrong}; give one class name for each label.")
    check_unique(names, f"class names of {source.name}")
    labels = np.array(numbers, np.int64) - base
    if source.class_names is not None and wanted is not None:  # ours in the user's order
        return encode([source.class_names[label] for label in labels], wanted, source.name), tuple(wanted)
    _refuse_domains_as_classes(names, source, wanted)
    present = np.unique(labels)
    if len(present) == len(names):
        return labels, tuple(names)
    absent = [name for place, name in enumerate(names) if place not in set(present.tolist())]
    logger.warning("%d of %d classes of `%s` have no images, such as %r.", len(absent), len(names), source.name, absent[0])
    if wanted is not None:
        return labels, tuple(names)
    return np.searchsorted(present, labels), tuple(names[place] for place in present)
