"""What a new run is made of: an experiment to start from, what is changed in it, a name below the runs folder, and the command."""

from __future__ import annotations

import copy
import itertools
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

import app
from app.run_store import jobs
from distill.system.atomic_files import write_then_rename

Config = dict[str, Any]
"""An experiment as its TOML file says it; `synthgap train` checks it."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_CONFIG_BYTES = 2**20
OURS = {"config.toml", jobs.STATE, jobs.LOG, ".lock"}
"""What a run folder holds whose first start came to nothing; such a name may be taken again."""


@dataclass(frozen=True)
class Changes:
    """What a reader chose in place of what the experiment says.

    Args:
        teacher: model, or empty for the experiment's.
        folder: data folder, or empty.
        train: name of a training set -> its data.
        test: domain -> its data.
        students: losses to keep, at least one; None for all.
        seeds: distinct, at least 0; the experiment's where empty.
        epochs: at least 1, or None.
        limit: images of each training set, at least 2, or None for the experiment's.
    """

    teacher: str = ""
    folder: str = ""
    train: Mapping[str, str] = field(default_factory=dict)
    test: Mapping[str, str] = field(default_factory=dict)
    students: Sequence[str] | None = None
    seeds: Sequence[int] = ()
    epochs: int | None = None
    limit: int | None = None


def experiments(folders: Sequence[Path] | None = None) -> dict[str, Path]:
    """List the experiments to start from: the pocket's, and those in `configs/` here and beside the package.

    Returns:
        name -> file, the pocket first; files that are no experiments are left out.
    """
    package = Path(app.__file__).resolve().parents[1]
    files = {"pocket": package / "distill" / "packs" / "pocket" / "pocket.toml"}
    for folder in folders if folders is not None else (Path.cwd() / "configs", package / "configs"):
        for path in sorted([*folder.glob("*.toml"), *folder.glob("*/*.toml")]):
            name = str(path.relative_to(folder).with_suffix(""))
            if name not in files and _is_experiment(path):
                files[name] = path
    return files


def _is_experiment(path: Path) -> bool:
    try:
        read_config(path)
    except ValueError:
        return False
    return True


def read_config(path: Path) -> Config:
    """Read an experiment's file as plain values; `synthgap train` checks them.

    Raises:
        ValueError: when it is no TOML, too large, or lacks a part that every experiment has.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"{path.name} must be at most {MAX_CONFIG_BYTES} bytes, got more; choose another.")
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path.name} must be TOML, got an error: {error}; mend it.") from error
    tables = (data.get("data"), data.get("students"), data.get("teacher"))
    if not all(isinstance(table, dict) for table in tables) or not all(
        isinstance(data["data"].get(part), dict) for part in ("train", "test")
    ):
        raise ValueError(f"{path.name} must be an experiment with data, teacher and students, got other parts; see configs/.")
    return data


def changed(config: Config, changes: Changes) -> Config:
    """Return an experiment with a reader's choices put in.

    Args:
        config: the experiment.
        changes: what the reader chose.

    Raises:
        ValueError: for a choice that cannot be, naming it.
    """
    experiment = copy.deepcopy(config)
    if changes.teacher:
        experiment["teacher"]["model"] = _line("teacher", changes.teacher)
    if changes.folder:
        experiment["data"]["folder"] = _line("data folder", changes.folder)
    for part, chosen in (("train", changes.train), ("test", changes.test)):
        for name, spec in chosen.items():
            experiment["data"][part][name] = _line(f"{part} {name}", spec)
    if changes.students is not None:
        if not changes.students or set(changes.students) - set(experiment["students"]):
            raise ValueError(
                f"`losses` must be some of {', '.join(experiment['students'])}, got {', '.join(changes.students) or 'none'}; choose."
            )
        experiment["students"] = {name: cell for name, cell in experiment["students"].items() if name in changes.students}
    if changes.seeds:
        experiment["seeds"] = list(changes.seeds)
    if changes.epochs is not None:
        experiment.setdefault("training", {})["epochs"] = _least("epochs", changes.epochs, 1)
    if changes.limit is not None:
        experiment["data"]["limit"] = _least("images", changes.limit, 2)
    return experiment


def _line(what: str, text: str) -> str:
    text = text.strip()
    if not text or not text.isprintable():
        raise ValueError(f"`{what}` must be one line of text, got {text[:40]!r}; fill it in.")
    return text


def _least(what: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"`{what}` must be at least {least}, got {value}; raise it.")
    return int(value)


def read_seeds(text: str) -> list[int]:
    """Read seeds such as `0, 1, 2`.

    Raises:
        ValueError: when they are not distinct whole numbers from 0 to 2^32 - 1.
    """
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isascii() and part.isdigit() for part in parts) or len({int(part) for part in parts}) < len(parts):
        raise ValueError(f"`seeds` must be distinct whole numbers such as 0, 1, 2, got {text[:40]!r}; change them.")
    if max(int(part) for part in parts) >= 2**32:
        raise ValueError(f"`seeds` must be below 2^32, got {text[:40]!r}; take smaller ones.")
    return [int(part) for part in parts]


def new_folder(root: Path, name: str) -> Path:
    """Return the folder of a new run, directly below the runs folder.

    Args:
        root: the runs folder.
        name: of the run.

    Raises:
        ValueError: when the name is not a plain folder name, or taken.
    """
    if not NAME.fullmatch(name) or name.endswith("."):
        raise ValueError(f"`name` must be up to 64 letters, digits, - _ and ., the first a letter or digit, got {name[:80]!r}; change it.")
    folder = root.resolve() / name
    if _is_taken(folder):
        raise ValueError(f"`name` must be a new one, got {name}, which is there already; choose another, or open that run and resume it.")
    return folder


def _is_taken(folder: Path) -> bool:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return True
    return folder.exists() and (bool({path.name for path in folder.iterdir()} - OURS) or jobs.is_alive(jobs.read_job(folder)))


def write_config(folder: Path, config: Config) -> None:
    """Write the experiment into its run folder, from where it is trained and resumed.

    Args:
        folder: run folder.
        config: the experiment.

    Raises:
        DistillError: when the folder cannot be written.
    """
    write_then_rename(folder / "config.toml", lambda file: file.write(tomli_w.dumps(config).encode()))


def command(folder: Path, *, at_once: int = 1, probes: Sequence[str] = ()) -> list[str]:
    """Return the words that train a run folder's experiment, go on where it was interrupted, and judge what came out.

    Args:
        folder: run folder with `config.toml`.
        at_once: students trained at once.
        probes: only these; all where empty.
    """
    chosen = [word for probe in probes for word in ("--probe", probe)]
    train = ["train", str(folder / "config.toml"), "--out", str(folder), "--resume", "--jobs", str(at_once), "--diagnose", *chosen]
    # -P: a folder `app` or `distill` in the working directory must not hide the installed packages
    return [sys.executable, "-P", "-m", "app.cli", *train]


def command_again(folder: Path, before: Sequence[str]) -> list[str]:
    """Return the words that go on with a run as it was started before.

    Only the number of students at once and the probes are taken from `before`, which is read from a file that may come from elsewhere.

    Args:
        folder: run folder with `config.toml`.
        before: the words it was started with.
    """
    after = list(itertools.pairwise(before))
    at_once = next((int(value) for word, value in after if word == "--jobs" and value.isascii() and value.isdigit()), 1)
    probes = [value for word, value in after if word == "--probe" and re.fullmatch(r"[a-z_]+", value)]
    return command(folder, at_once=max(at_once, 1), probes=probes)


def expected(config: Config) -> tuple[int, int]:
    """Count the students an experiment trains, and the epochs of each; 0 where the file does not say."""
    cells = config.get("students", {}).values()
    sets = sum(len(cell.get("trained_on", ["synthetic"])) for cell in cells if isinstance(cell, dict))
    return sets * len(config.get("seeds", [0])), int(config.get("training", {}).get("epochs", 0))


def students_of(config: Config) -> dict[str, tuple[str, str]]:
    """List an experiment's students: name -> (its loss's name, what it is trained on); empty where the file does not say."""
    cells = {name: cell for name, cell in config.get("students", {}).items() if isinstance(cell, dict)}
    return {
        f"{name}-{trained_on}-s{seed}": (name, trained_on)
        for name, cell in cells.items()
        for trained_on in cell.get("trained_on", ["synthetic"])
        for seed in config.get("seeds", [0])
    }
