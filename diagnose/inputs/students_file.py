"""Students described in a TOML file: one table a student, with its model, its weights and what it was trained for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnose.inputs.trained_as import TrainedAs, read_trained_as
from distill.system.untrusted_text import read_toml

SOURCES = ("model", "weights", "class_weights")
"""Keys of a student that say where it comes from."""

TOP: dict[str, tuple[type, ...]] = {
    "teacher": (str,),
    "real": (str,),
    "synthetic": (str,),
    "class_weights": (str,),
    "templates": (list, str),
    "image_size": (int,),
    "name": (str,),
    "about": (str,),
}
"""Keys above the students, and the kinds of their values."""


@dataclass(frozen=True)
class StudentEntry:
    """One student to load.

    Args:
        model: any form of a student.
        weights: state dict for it, or None.
        name: what reports call it; None: the last part of the model or the weights.
        class_weights: `.npy` (D, C) of its own text space, or None.
        trained: what is told of its training.
    """

    model: str
    weights: str | None = None
    name: str | None = None
    class_weights: str | None = None
    trained: TrainedAs = TrainedAs()  # noqa: RUF009  # frozen, so that one instance serves all


@dataclass(frozen=True)
class StudentsFile:
    """What a file of students holds; None where it says nothing."""

    students: tuple[StudentEntry, ...]
    teacher: str | None = None
    real: str | None = None
    synthetic: str | None = None
    class_weights: Path | None = None
    templates: tuple[str, ...] | None = None
    image_size: int | None = None
    name: str = ""
    about: str = ""


def read_students_file(path: Path) -> StudentsFile:
    """Read a file of students; paths in it may be relative to its own folder.

    Args:
        path: TOML with `teacher`, `real`, `synthetic` and one table `[students.NAME]` (or `[[students]]` with `name`) a student.

    Raises:
        FileNotFoundError: for a file that is not there, or weights that are not.
        ValueError: for what is no TOML, an unknown key (with the nearest one), a value of another kind, two students of one name, or none.
    """
    data = read_toml(path, "the file of students")
    tables = data.pop("students", None)
    for key, value in data.items():
        _check_top(key, value, path)
    base = path.resolve().parent
    entries = tuple(_entry(name, table, base) for name, table in _named_tables(tables, path))
    if not entries:
        raise ValueError(f"{path} must describe at least one student, got none; add a table [students.NAME] with `model`.")
    names = [entry.name for entry in entries]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"`name` of the students in {path} must be unique, got {twice[0]!r} {names.count(twice[0])} times; rename one.")
    templates = data.get("templates")
    return StudentsFile(
        students=entries,
        **{key: _located(data[key], base) if key in data else None for key in ("teacher", "real", "synthetic")},
        class_weights=Path(_located(data["class_weights"], base)) if "class_weights" in data else None,
        templates=None if templates is None else (templates,) if isinstance(templates, str) else tuple(map(str, templates)),
        image_size=data.get("image_size"),
        name=data.get("name", path.stem),
        about=data.get("about", ""),
    )


def _check_top(key: str, value: object, path: Path) -> None:
    if key not in TOP:
        near = difflib.get_close_matches(key, [*TOP, "students"], n=2, cutoff=0.5) or [*TOP, "students"]
        raise ValueError(
            f"unknown key `{key}` in {path}; did you mean {' or '.join(near)}? What a student was trained for stands in its own table."
        )
    if not isinstance(value, TOP[key]) or isinstance(value, bool):
        raise ValueError(f"`{key}` in {path} must be {' or '.join(kind.__name__ for kind in TOP[key])}, got {value!r}; change it.")


def _named_tables(tables: object, path: Path) -> list[tuple[str | None, Mapping[str, Any]]]:
    """List the students' tables with their names, from `[students.NAME]` or from `[[students]]`."""
    if tables is None:
        return []
    if isinstance(tables, Mapping):
        named: list[tuple[str | None, Any]] = list(tables.items())
    elif isinstance(tables, list):
        named = [(table.get("name") if isinstance(table, Mapping) else None, table) for table in tables]
    else:
        named = [(None, tables)]
    for name, table in named:
        if not isinstance(table, Mapping):
            raise ValueError(
                f"`students` in {path} must be tables, got {name or 'students'} = {table!r}; write [students.NAME] above a student's keys."
            )
    return named


def _entry(name: str | None, table: Mapping[str, Any], base: Path) -> StudentEntry:
    where = f"student {name!r}" if name else "a student"
    sources = {key: table.get(key) for key in SOURCES}
    for key, value in sources.items():
        if value is not None and (not isinstance(value, str) or not value):
            raise ValueError(f"`{key}` of {where} must be a text, got {value!r}; write it in quotes.")
    training = {key: value for key, value in table.items() if key not in (*SOURCES, "name")}
    trained = read_trained_as(training, where, beside=(*SOURCES, "name"))  # first, so that a slip of `model` is named as one
    if sources["model"] is None:
        raise ValueError(
            f"`model` of {where} must be given, got {sorted(table)}; name timm:, open_clip:, hf:, a checkpoint or file.py:function."
        )
    located = {key: None if value is None else _located(value, base) for key, value in sources.items()}
    for key in ("weights", "class_weights"):
        file = located[key]
        if file is not None and not Path(file).exists() and not Path(file.rpartition("#")[0] or file).exists():
            raise FileNotFoundError(f"`{key}` of {where} must be a file that exists, got {sources[key]}; paths are relative to {base}.")
    return StudentEntry(str(located["model"]), located["weights"], name, located["class_weights"], trained)


def _located(value: str, base: Path) -> str:
    """Return a path relative to the file's folder as one that can be opened from here; names that are no paths stay."""
    form, sign, rest = value.partition(":")
    for prefix, path in (("", value), (f"{form}:", rest) if sign else ("", "")):
        file, colon, function = path.rpartition(":") if ".py:" in path else (path, "", "")
        stem, hash_sign, key = file.partition("#")
        if stem and not Path(stem).is_absolute() and (base / stem).exists():
            return f"{prefix}{base / stem}{hash_sign}{key}{colon}{function}"
    return value
