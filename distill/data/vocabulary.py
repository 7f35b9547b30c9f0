"""Words that public data sets use: for domains, for the column of the class, and lists of class names in files."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from distill.system.untrusted_text import parse_json, read_text

logger = logging.getLogger(__name__)

DOMAINS = {
    "real": "real",
    "0_real": "real",
    "synthetic": "synthetic",
    "fake": "synthetic",
    "generated": "synthetic",
    "1_fake": "synthetic",
}
"""Words a source may use for a domain, in any case -> our word."""

LOOSE_DOMAINS = {
    **dict.fromkeys(("reals", "real_images", "nature", "natural", "authentic"), "real"),
    **dict.fromkeys(("ai", "ai_generated", "aigc", "syn", "synth", "artificial", "fakes", "fake_images"), "synthetic"),
    **dict.fromkeys(("synthetic_images", "generated_images", "ai_images"), "synthetic"),
}
"""Further words, which may mean something else where they stand among other names."""

FLAGS = {
    **dict.fromkeys(("is_fake", "is_synthetic", "is_generated", "is_ai", "fake", "synthetic", "generated"), ("real", "synthetic")),
    **dict.fromkeys(("is_real", "real"), ("synthetic", "real")),
}
"""Columns of 0 and 1 that tell the domain by their name -> the domains of 0 and 1."""

CLASS_COLUMNS = ("label", "class_name", "cls", "classname")
"""Columns that name the class wherever they are."""

OTHER_CLASS_COLUMNS = ("fine_label", "labels", "class", "target", "targets", "category", "class_label", "label_name", "class_id", "y")
"""Columns that name it where none of `CLASS_COLUMNS` is there."""


def domain_word(word: str) -> str | None:
    """Translate a word for a domain, such as `Fake`, `0_real` or `ai-generated`, to `real` or `synthetic`; None for other words."""
    plain = re.sub(r"[\s-]+", "_", word.strip().lower())
    plain = re.sub(r"^\d+_", "", plain)
    return DOMAINS.get(plain) or LOOSE_DOMAINS.get(plain)


def class_column_of(names: Sequence[str], wanted: str | None) -> str | None:
    """Choose the column that names the class; None where there is none.

    Args:
        names: of the columns there are.
        wanted: what the user named, several joined by commas; None: what such columns are called.

    Raises:
        ValueError: for several columns that may, and no one chosen.
    """
    lower = {name.lower(): name for name in reversed(names)}
    if wanted is not None:
        return next((name for name in (word.strip() for word in wanted.split(",")) if name in names), None)
    if any(name in lower for name in CLASS_COLUMNS):
        return next(lower[name] for name in CLASS_COLUMNS if name in lower)
    return next((lower[name] for name in OTHER_CLASS_COLUMNS if name in lower), None)


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


def named_integers(values: Sequence[object], names: Sequence[str] | None) -> list[object]:
    """Put names in the place of the integers of a `ClassLabel`; without names all values stay."""
    if names is None:
        return list(values)
    return [names[value] if isinstance(value, int) and 0 <= value < len(names) else value for value in values]


NAME_FILES = ("classnames.txt", "classes.txt", "class_names.txt")
"""Files beside a source that list its classes, one a line."""

MOST_PATH = 255
"""Longest text that is looked up as a file: a hundred names in a row are too long for a path, and asking would raise."""


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names from a file: one a line (`#` begins a comment, numbers that count the lines are dropped), or JSON.

    Args:
        path: text, or a JSON list, or a JSON object number -> name (or -> [key, name], as the index of ImageNet).

    Raises:
        FileNotFoundError: when it is not there.
        ValueError: for an empty file, or JSON of another shape.
    """
    text = read_text(path, "`--class-names`")
    if path.suffix.lower() == ".json":
        names = _names_in_json(parse_json(text, str(path)), path)
    else:
        lines = [line.strip() for line in text.splitlines()]
        names = _without_numbers([line for line in lines if line and not line.startswith("#")])
    if not names:
        raise ValueError(f"`--class-names` must name classes, got none in {path}; write one a line, in the order of the labels.")
    return tuple(names)


def listed_class_names(listed: str) -> tuple[str, ...]:
    """Read class names from a file, or from `a,b,c`.

    Raises:
        FileNotFoundError, ValueError: for a file that is not there or names nothing.
    """
    if "," in listed and (len(listed) > MOST_PATH or not Path(listed).is_file()):
        return tuple(name.strip() for name in listed.split(",") if name.strip())
    return read_class_names(Path(listed).expanduser())


def _names_in_json(value: object, path: Path) -> list[str]:
    if isinstance(value, dict) and all(str(key).isdigit() for key in value):
        entries = [value[key] for key in sorted(value, key=int)]
        value = [entry[-1] if isinstance(entry, list) and entry else entry for entry in entries]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(
            f"{path} must be a JSON list of names, or an object of numbers and names, got {json.dumps(value)[:80]}; correct it."
        )
    return value


def _without_numbers(lines: list[str]) -> list[str]:
    """Drop the number in front of each line where they count 0, 1, 2 ... or 1, 2, 3 ... in any order, and sort by it."""
    matches = [re.fullmatch(r"(\d+)[\s,:]+(\S.*)", line) for line in lines]
    if not lines or None in matches:
        return lines
    numbered = sorted((int(match[1]), match[2]) for match in matches if match)
    first = numbered[0][0]
    if first > 1 or [number for number, _ in numbered] != list(range(first, first + len(lines))):
        return lines
    return [name for _, name in numbered]


def find_class_names(folder: Path) -> tuple[str, ...] | None:
    """Read the list of classes that lies in a folder or one folder up, where CLIP_benchmark puts it; None where there is none."""
    for place in (folder, folder.parent):
        for name in NAME_FILES:
            if (place / name).is_file():
                return read_class_names(place / name)
    return None


def names_of_keys(keys: Sequence[str], names: Sequence[str]) -> dict[str, str] | None:
    """Name classes that a source calls by numbers or keys.

    Args:
        keys: what the source calls its classes: `0`, `1`, ... or keys such as `n01440764`.
        names: class names in the order of the numbers, or lines of a key and a name.

    Returns:
        Key -> name; None where the names say nothing of these keys.
    """
    distinct = set(keys)
    if distinct <= set(names):
        return None
    pairs = [re.split(r"[\s,:]+", name, maxsplit=1) for name in names]
    table = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
    if len(table) == len(names) and distinct <= set(table):
        return {key: table[key].split(",")[0].strip() for key in table}
    if all(key.isdecimal() for key in distinct):
        numbers = {key: int(key) for key in distinct}
        base = base_of(list(numbers.values()), len(names))
        if base is not None:
            return {key: names[numbers[key] - base] for key in sorted(numbers, key=numbers.__getitem__)}
    return None


def base_of(numbers: Sequence[int], count: int) -> int | None:
    """Tell whether labels count from 0 or, as in Matlab, from 1: the highest is then the number of names. None when they fit neither."""
    low, high = min(numbers), max(numbers)
    if low < 0 or high > count or (high == count and low < 1):
        return None
    return 1 if high == count else 0


def check_pairs(numbers: Sequence[int], texts: Sequence[str], source: str) -> None:
    """Refuse labels and class names that do not go together one to one.

    Raises:
        ValueError: naming the first contradiction.
    """
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
