"""Page Map: where teacher, students and epochs put the same images; select some and see them, their neighbours and their maps."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from app.map_chart import map_figure
from app.map_data import Column, RunMap, columns, load_map, rows_of
from app.reports import Run, load_thumbnails
from app.views.groups import short_titles
from app.views.notices import failed_probes, missing, report_or_notice
from app.views.selection import show_selection
from app.views.wording import plain
from diagnose.schema import Report
from probes.result import DiagnosticError

CONFIG = {"displayModeBar": True, "displaylogo": False, "scrollZoom": True, "modeBarButtonsToRemove": ["toImage", "autoScale2d"]}
MOST_IN_ADDRESS = 12


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("Where does it put the images?")
    report = report_or_notice(run)
    if report is None:
        return
    st.markdown(
        "Every point is an image; near points are images that an encoder finds alike. All maps share their axes and hold the same images: "
        "**what moves when you change the encoder or the epoch has moved between them.** Circle a few points to see the images."
    )
    failed_probes(report, "map", run)
    try:
        data = load_map(run, report)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("There is no map to show.", run, error)
        return
    _page(run, report, data)


@st.fragment
def _page(run: Run, report: Report, data: RunMap) -> None:
    """Draw the part that a choice or a selection draws again; the rest of the page stays."""
    titles = short_titles(report) | {report.teacher.name: "the teacher"}
    subject, epoch = _choose(data, titles)
    number = data.number(subject, epoch)
    known = columns(run, report, data, subject)
    labels = list(known)
    label = st.selectbox("Colour", labels, key="map-colour", bind="query-params") or labels[0]
    place = f"map-chosen/{run.name}"
    chosen = _chosen(place, data)
    sentence = kept_sentence(data, number, titles.get(subject, subject), epoch)
    figure, cells = map_figure(data, number, known[label])
    st.plotly_chart(
        figure,
        config=CONFIG,
        alt=f"Map of {len(data)} images for {titles.get(subject, subject)}, coloured by {label.lower()}. {sentence}",
        key="map-chart",
        on_select=partial(_take, place, data, cells),
        selection_mode=("points", "box", "lasso"),
    )
    if cells is not None:
        st.info(
            f"{len(data):,} images are too many to draw one by one, so each square stands for all images at its place: the darker, "
            "the fewer; the colour is their mean or share where numbers are coloured. Selecting squares selects all their images.",
            icon=":material/grid_on:",
        )
    st.caption(f"Circle: real image, diamond: synthetic image. {sentence}")
    _show(run, report, data, number, known, chosen, titles)


def _choose(data: RunMap, titles: dict[str, str]) -> tuple[str, int | None]:
    with st.container(horizontal=True, gap="medium"):
        subject = st.selectbox(
            "Seen by", data.subjects, index=min(1, len(data.subjects) - 1), format_func=lambda name: titles.get(name, name), key="map-by",
            bind="query-params",
        )  # fmt: skip
        subject = subject or data.subjects[0]
        epochs = data.epochs(subject)
        if len(epochs) < 2:
            return subject, epochs[0]
        words = [f"epoch {epoch}" if epoch is not None else "trained" for epoch in epochs]
        picked = st.select_slider("While it was trained", words, value=words[-1], key=f"map-epoch-{data.subjects.index(subject)}")
    return subject, epochs[words.index(picked)]


def kept_sentence(data: RunMap, number: int, who: str, epoch: int | None) -> str:
    """Say how far a map can be trusted."""
    score, count = data.kept[number], data.near[number].shape[1]
    when = "" if epoch is None else f" at epoch {epoch}"
    if score is None:
        return f"How many neighbours this map keeps is not stored (n = {len(data):,} images)."
    chance = "" if score.chance is None else f"; by chance it would be {100 * score.chance:.0f} %"
    return (
        f"A flat map cannot keep everything: of an image's {count} nearest images in the embedding of {plain(who)}{when}, this one keeps "
        f"{100 * score.value:.0f} % near (95 % interval {100 * score.low:.0f} to {100 * score.high:.0f}; n = {len(data):,} images{chance}). "
        "Sizes of clusters and distances between them mean nothing."
    )


def _take(place: str, data: RunMap, cells: np.ndarray | None) -> None:
    """Keep what the reader selected on the chart, as ids, so that it survives another map."""
    picked = rows_of(st.session_state.get("map-chart"), len(data) if cells is None else int(cells.max(initial=0)) + 1)
    rows = picked if cells is None else np.flatnonzero(np.isin(cells, picked)).tolist()
    ids = data.ids[rows].tolist()
    st.session_state[place] = ids
    if 0 < len(ids) <= MOST_IN_ADDRESS:
        st.query_params["image"] = ids
    else:
        st.query_params.pop("image", None)


def _chosen(place: str, data: RunMap) -> list[int]:
    """Give the rows that are selected: those of this visit, or those in the address."""
    if place not in st.session_state:
        st.session_state[place] = st.query_params.get_all("image")[:MOST_IN_ADDRESS]
    found = pd.Index(data.ids).get_indexer(pd.Index(list(dict.fromkeys(st.session_state[place])), dtype=object))
    return [int(row) for row in found if row >= 0]


def _show(run: Run, report: Report, data: RunMap, number: int, known: dict[str, Column], rows: list[int], titles: dict[str, str]) -> None:
    try:
        thumbnails = load_thumbnails(run)
    except (FileNotFoundError, DiagnosticError) as error:
        thumbnails = None
        missing("The pictures behind the points are not stored; ids can still be exported.", run, error)
    if not rows:
        st.markdown("**Nothing is selected.** Draw around points with the lasso or a box (the buttons above the map), or click one.")
        return
    show_selection(run, report, data, number, known, rows, thumbnails, titles)
