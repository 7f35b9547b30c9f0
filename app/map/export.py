"""Take a selection elsewhere: ids, a table, or the stored pictures."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile

import numpy as np
import pandas as pd

from app.map.data import Column, RunMap


def selection_table(data: RunMap, rows: list[int], known: dict[str, Column], number: int) -> pd.DataFrame:
    """Return one row an image: id, domain, place on the map that is shown, and all that is known of it.

    Args:
        data: the run's map.
        rows: rows of the map that are selected.
        known: name -> what is known of each image.
        number: the map that is shown.
    """
    table = {"id": data.ids[rows], "domain": data.domain[rows], "label": data.labels[rows]}
    table |= {"x": data.places[number][rows, 0], "y": data.places[number][rows, 1]}
    table |= {label: column.values[rows] for label, column in known.items() if label != "Real or synthetic"}
    return pd.DataFrame(table)


def as_csv(ids: list[str]) -> bytes:
    """Write ids as CSV with the heading `id`."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerows([["id"], *([name] for name in ids)])
    return file.getvalue().encode()


def as_json(ids: list[str], run: str, subject: str, epoch: int | None) -> bytes:
    """Write ids as JSON, with where they were chosen.

    Args:
        ids: ids of images.
        run: name of the run.
        subject: the encoder whose map was shown.
        epoch: its epoch, or None for its end.
    """
    return json.dumps({"run": run, "encoder": subject, "epoch": epoch, "ids": ids}, indent=1).encode()


def as_parquet(table: pd.DataFrame) -> bytes:
    """Write the table of a selection as parquet."""
    file = io.BytesIO()
    table.astype({name: str for name in table.columns if table[name].dtype.kind == "O"}).to_parquet(file, index=False)
    return file.getvalue()


def as_zip(ids: list[str], thumbnails: pd.DataFrame) -> bytes:
    """Pack the stored pictures of a selection with `ids.csv`, which says which file is which image.

    File names are made of numbers and harmless letters, so that unpacking writes nowhere else.

    Args:
        ids: ids of images.
        thumbnails: stored pictures, indexed by id.
    """
    stored = [name for name in ids if name in thumbnails.index]
    files = {name: f"images/{number:05d}-{_harmless(name)}{_ending(thumbnails.at[name, 'image'])}" for number, name in enumerate(stored)}
    listing = io.StringIO()
    writer = csv.writer(listing)
    writer.writerow(["id", "domain", "class_name", "file"])
    for name in ids:
        about = [thumbnails.at[name, "domain"], thumbnails.at[name, "class_name"]] if name in files else ["", ""]
        writer.writerow([name, *about, files.get(name, "")])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ids.csv", listing.getvalue())
        for name, path in files.items():
            archive.writestr(path, thumbnails.at[name, "image"])
    return buffer.getvalue()


def _harmless(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[-40:] or "image"


def _ending(content: bytes) -> str:
    return ".jpg" if content[:2] == b"\xff\xd8" else ".png"


def shared(first: np.ndarray, second: np.ndarray) -> int:
    """Count the neighbours that two encoders agree on.

    Args:
        first: (k,) rows of the nearest images for one encoder.
        second: (k,) rows for another.
    """
    return len(np.intersect1d(first, second))
