"""What is behind a selection of images: the pictures, their neighbours for each encoder, their maps, and ways to take them elsewhere."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import streamlit as st

from app.map.data import Column, RunMap, class_names
from app.map.export import as_csv, as_json, as_parquet, as_zip, selection_table, shared
from app.panels.images import by_id, strip
from app.panels.report_view import ReportView
from app.panels.tiles import LEGEND, on_demand, show_tiles, stored_tiles, strength_slider
from app.panels.wording import escape
from app.run_store.reports import Run
from app.run_store.stored_maps import NUMBERS, load_eyes, method_title, stored_methods
from diagnose.wording.numbers import in_percent
from diagnose.wording.words import joined

SHOWN = 24
"""Pictures of a selection that are shown; all can be exported."""

NAMED = 200
"""Images of a selection that can be picked by name."""


def show_selection(
    run: Run,
    view: ReportView,
    data: RunMap,
    number: int,
    known: dict[str, Column],
    rows: list[int],
    thumbnails: pd.DataFrame | None,
    titles: dict[str, str],
) -> None:
    """Show what is selected.

    Args:
        run: the run.
        view: its report, with what pages read from it.
        data: its map.
        number: the map that is shown.
        known: what is known of each image, for the encoder that is shown.
        rows: rows of the map, at least one.
        thumbnails: stored pictures by id, or None.
        titles: encoder -> its name for people.
    """
    ids = data.ids[rows].tolist()
    st.header("What you selected")
    st.markdown(selection_sentence(data, rows, known, view))
    if thumbnails is not None:
        pictures = by_id(thumbnails, ids, SHOWN)
        more = f" The first {len(pictures)} of {len(ids):,}." if len(ids) > len(pictures) else ""
        strip(pictures, f"The pictures, in the order of the selection.{more}")
    _exports(run, data, number, known, rows, thumbnails)
    if thumbnails is not None:
        _focus(run, view, data, number, rows, thumbnails, titles)


def selection_sentence(data: RunMap, rows: list[int], known: dict[str, Column], view: ReportView) -> str:
    """Say in words what a selection is made of, beside the whole map.

    Args:
        data: the run's map.
        rows: rows of the map that are selected, at least one.
        known: name -> what is known of each image.
        view: the report, with what pages read from it.
    """
    chosen = np.array(rows)
    synthetic = int((data.domain[chosen] == "synthetic").sum())
    overall = float((data.domain == "synthetic").mean())
    classes = Counter(class_names(data.labels[chosen], view.report.class_names).tolist()).most_common(3)
    parts = [f"{escape(name)} ({count:,})" for name, count in classes]
    text = (
        f"**{len(rows):,} of {len(data):,} images**: {len(rows) - synthetic:,} real and {synthetic:,} synthetic "
        f"({in_percent(synthetic / len(rows), 0)} % synthetic; {in_percent(overall, 0)} % on the whole map). Commonest classes: {joined(parts)}."
    )
    errors = known.get("Right or wrong")
    if errors is not None:
        judged = errors.values[chosen]
        right, wrong = int((judged == "right").sum()), int((judged == "wrong").sum())
        all_right, all_wrong = int((errors.values == "right").sum()), int((errors.values == "wrong").sum())
        if right + wrong and all_right + all_wrong:
            text += (
                f" The encoder shown is wrong on {in_percent(wrong / (right + wrong), 0)} % of them, on "
                f"{in_percent(all_wrong / (all_right + all_wrong), 0)} % of all."
            )
    return text


def _exports(run: Run, data: RunMap, number: int, known: dict[str, Column], rows: list[int], thumbnails: pd.DataFrame | None) -> None:
    ids, whose = data.ids[rows].tolist(), data.whose[number]
    st.caption("Take the selection elsewhere; the ids are those of the data.")
    with st.container(horizontal=True, gap="small"):
        st.download_button("Ids (CSV)", as_csv(ids), "selection.csv", "text/csv", key="map-csv", on_click="ignore")
        st.download_button(
            "Ids (JSON)", as_json(ids, run.name, whose.subject, whose.epoch), "selection.json", "application/json", key="map-json",
            on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "Table (parquet)", lambda: as_parquet(selection_table(data, rows, known, number)), "selection.parquet", key="map-parquet",
            on_click="ignore",
        )  # fmt: skip
        if thumbnails is not None:
            stored = sum(name in thumbnails.index for name in ids)
            st.download_button(
                f"{stored:,} pictures (zip)", lambda: as_zip(ids, thumbnails), "selection.zip", "application/zip", key="map-zip",
                disabled=not stored, on_click="ignore",
            )  # fmt: skip


def _focus(
    run: Run, view: ReportView, data: RunMap, number: int, rows: list[int], thumbnails: pd.DataFrame, titles: dict[str, str]
) -> None:
    with_picture = [row for row in rows if data.ids[row] in thumbnails.index][:NAMED]
    if not with_picture:
        st.caption("No picture of these images is stored, so that single ones cannot be looked at.")
        return
    names = class_names(data.labels, view.report.class_names)
    st.header("One of them, closely")
    row = st.selectbox("Image", with_picture, format_func=lambda r: f"{names[r]}, {data.domain[r]}: {data.ids[r]}", key="map-focus")
    row = with_picture[0] if row not in with_picture else row
    image, words = str(data.ids[row]), f"{data.domain[row]} image of class {names[row]}"
    whose = data.whose[number]
    for at in dict.fromkeys((0, number)):
        who = data.whose[at]
        title = titles.get(who.subject, who.subject) + ("" if who.epoch is None else f" at epoch {who.epoch}")
        near = by_id(thumbnails, data.ids[data.near[at][row]].tolist(), 8)
        strip(near, f"Nearest to it in the embedding of {escape(title)} (not on the map), nearest first")
    if number:
        same, count = shared(data.near[0][row], data.near[number][row]), data.near[number].shape[1]
        st.markdown(f"{escape(titles.get(whose.subject, whose.subject))} and the teacher share **{same} of its {count}** nearest images.")
    _maps(run, view, image, words, int(data.labels[row]), bytes(thumbnails.at[image, "image"]), whose.subject, titles)


def _maps(run: Run, view: ReportView, image: str, words: str, label: int, content: bytes, subject: str, titles: dict[str, str]) -> None:
    eyes, _ = load_eyes(run, view.report)
    wanted = [name for name in dict.fromkeys((view.report.teacher.name, subject)) if name in eyes]
    methods = stored_methods(eyes[who] for who in wanted)
    tiles = stored_tiles([(titles.get(name, name), eyes[name]) for name in wanted], image, methods[0], list(NUMBERS)) if methods else []
    st.subheader("What they look at in it")
    strength = strength_slider("map-overlay")
    if tiles:
        show_tiles(content, tiles, strength, words)
        st.caption(f"{method_title(methods[0])}. {LEGEND}")
        return
    st.markdown("No maps of this image are stored: attribution keeps those of a few images. They can be computed now:")
    students = {name: title for name, title in titles.items() if name != view.report.teacher.name}
    ordered = {name: students[name] for name in sorted(students, key=lambda name: name != subject)}
    on_demand(run, view, content, label, key="map-ask", titles=ordered, strength=strength)
