"""Page Map: where teacher, students and epochs put the same images; select some and see them, their neighbours and their maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from app.map.address import packed, unpacked
from app.map.animate import CHART, move_points
from app.map.chart import map_figure, moved_places
from app.map.data import MOST_POINTS, Column, RunMap, columns, load_map, rows_of
from app.map.selection import show_selection
from app.panels.notices import failed_probes, missing, view_or_notice
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.reports import Run, load_thumbnails
from diagnose.wording.numbers import in_percent
from probes.result import DiagnosticError

CONFIG = {"displayModeBar": True, "displaylogo": False, "scrollZoom": True, "modeBarButtonsToRemove": ["toImage", "autoScale2d"]}
MOST_IN_ADDRESS = 12

NAMED = "map-named"
"""Key of the field in which images are named."""

SAME_FOR_ALL = ("Class", "Real or synthetic")
"""Columns that do not depend on the encoder, so that its choice moves the points and changes nothing else."""


def show(run: Run) -> None:
    """Show the page of one run."""
    st.title("Where does it put the images?")
    view = view_or_notice(run)
    if view is None:
        return
    st.markdown(
        "Every point is an image; near points are images that an encoder finds alike. All maps share their axes and hold the same images: "
        "**what moves when you change the encoder or the epoch has moved between them.** Circle a few points to see the images."
    )
    failed_probes(view, "map", run)
    try:
        data = load_map(run, view.report)
    except (FileNotFoundError, DiagnosticError) as error:
        missing("There is no map to show.", run, error)
        return
    _page(run, view, data, {})


@dataclass
class Drawn:
    """The chart that is on the page.

    Args:
        of: the report, the column and the encoder that decide its colours.
        number: the map it was sent with.
        moved: whether its points have been moved since.
        stuck: whether the browser has said that it cannot move points.
    """

    of: tuple[str, ...] = ()
    number: int = 0
    moved: bool = False
    stuck: bool = False


@st.fragment
def _page(run: Run, view: ReportView, data: RunMap, seen: dict[str, dict[str, Column]]) -> None:
    """Draw the part that a choice or a selection draws again; the rest of the page stays.

    Args:
        run: the run.
        view: its report, with what pages read from it.
        data: its map.
        seen: encoder -> what is known of each image, kept from one choice to the next.
    """
    titles = view.short_titles | {view.report.teacher.name: "the teacher"}
    subject, epoch = _choose(data, view, titles)
    number = data.number(subject, epoch)
    if subject not in seen:
        seen[subject] = columns(run, view.report, data, subject)
    known = seen[subject]
    labels = list(known)
    label = st.selectbox("Colour", labels, key="map-colour", bind="query-params") or labels[0]
    place = f"map-chosen/{run.name}"
    chosen = _chosen(place, data)
    sentence = kept_sentence(data, number, titles.get(subject, subject), epoch)
    drawn = _drawn(run, (view.report.created, label, "" if label in SAME_FOR_ALL else subject), number, len(data))
    figure, cells = map_figure(data, drawn.number, known[label])
    st.plotly_chart(
        figure,
        config=CONFIG,
        alt=f"Map of {len(data)} images, coloured by {label.lower()}. Whose map it is stands above it, how far it can be trusted below it.",
        key=CHART,
        on_select=partial(_take, place, data, cells),
        selection_mode=("points", "box", "lasso"),
    )
    drawn.moved = drawn.moved or number != drawn.number
    drawn.stuck = not move_points(moved_places(data, number, known[label]) if drawn.moved else [])
    if drawn.stuck and drawn.moved:
        st.rerun(scope="fragment")
    if cells is not None:
        st.info(
            f"{len(data):,} images are too many to draw one by one, so each square stands for all images at its place: the darker, "
            "the fewer; the colour is their mean or share where numbers are coloured. Selecting squares selects all their images.",
            icon=":material/grid_on:",
        )
    st.caption(f"Circle: real image, diamond: synthetic image. {sentence}")
    named = st.text_input(
        "Or name the images", max_chars=2000, placeholder="a class, or ids with commas between them", key=NAMED,
        on_change=partial(_name, place, data, view),
    )  # fmt: skip
    if named and not named_rows(named, data, view.report.class_names):
        st.caption("No image on this map, and no class, is called so.")
    _show(run, view, data, number, known, chosen, titles)


def _drawn(run: Run, of: tuple[str, ...], number: int, count: int) -> Drawn:
    """Return the chart on the page; one that cannot become the wanted one by moving its points is drawn anew."""
    drawn: Drawn = st.session_state.setdefault(f"map-drawn/{run.name}", Drawn())
    if drawn.of != of or drawn.stuck or count > MOST_POINTS:
        drawn.of, drawn.number, drawn.moved = of, number, False
    return drawn


def _choose(data: RunMap, view: ReportView, titles: dict[str, str]) -> tuple[str, int | None]:
    first = view.widest_gap(data.subjects)
    with st.container(horizontal=True, gap="medium"):
        subject = st.selectbox(
            "Seen by", data.subjects, index=data.subjects.index(first) if first else 0, format_func=lambda name: titles.get(name, name), key="map-by",
            bind="query-params",
        )  # fmt: skip
        subject = subject or data.subjects[0]
        epochs = data.epochs(subject)
        if len(epochs) < 2:
            return subject, epochs[0]
        words = [f"epoch {epoch}" if epoch is not None else "trained" for epoch in epochs]
        key = f"map-epoch-{data.subjects.index(subject)}"
        picked = st.select_slider("While it was trained", words, value=words[-1], key=key, bind="query-params")
    return subject, epochs[words.index(picked)]


def kept_sentence(data: RunMap, number: int, who: str, epoch: int | None) -> str:
    """Say how far a map can be trusted.

    Args:
        data: the run's map.
        number: which of its maps.
        who: name of the encoder for people.
        epoch: its epoch, or None for its end.
    """
    score, count = data.kept[number], data.near[number].shape[1]
    when = "" if epoch is None else f" at epoch {epoch}"
    if score is None:
        return f"How many neighbours this map keeps is not stored (n = {len(data):,} images)."
    chance = "" if score.chance is None else f"; by chance it would be {in_percent(score.chance, 0)} %"
    return (
        f"A flat map cannot keep everything: of an image's {count} nearest images in the embedding of {escape(who)}{when}, this one keeps "
        f"{in_percent(score.value, 0)} % near (95 % interval {in_percent(score.low, 0)} to {in_percent(score.high, 0)}; n = {len(data):,} images{chance}). "
        "Sizes of clusters and distances between them mean nothing."
    )


def _take(place: str, data: RunMap, cells: np.ndarray | None) -> None:
    """Keep what the reader selected on the chart, as ids, so that it survives another map."""
    picked = rows_of(st.session_state.get(CHART), len(data) if cells is None else int(cells.max(initial=0)) + 1)
    rows = picked if cells is None else np.flatnonzero(np.isin(cells, picked)).tolist()
    _keep(place, data, rows)


def _keep(place: str, data: RunMap, rows: list[int]) -> None:
    """Keep a selection by its ids, and in the address: a few as they are, many as one short text."""
    ids = data.ids[rows].tolist()
    st.session_state[place] = ids
    fits = len(ids) <= MOST_IN_ADDRESS
    for name, value in (("image", ids if fits else []), ("selected", "" if fits else packed(rows, data.ids))):
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)


def _name(place: str, data: RunMap, view: ReportView) -> None:
    """Select what the reader has named, without a mouse."""
    rows = named_rows(st.session_state[NAMED], data, view.report.class_names)
    if rows:
        _keep(place, data, rows)


def named_rows(text: str, data: RunMap, names: Sequence[str]) -> list[int]:
    """Find the images that a text names: those of a class, or single ones by their ids with commas between them; others are passed over.

    Args:
        text: what the reader wrote.
        data: the run's map.
        names: C class names.
    """
    asked = text.strip()
    if asked in names:
        return np.flatnonzero(data.labels == list(names).index(asked)).tolist()
    rows = pd.Index(data.ids).get_indexer(pd.Index(list(dict.fromkeys(part.strip() for part in asked.split(","))), dtype=object))
    return [int(row) for row in rows if row >= 0]


def _chosen(place: str, data: RunMap) -> list[int]:
    """Return the rows that are selected: those of this visit, or those in the address."""
    if place not in st.session_state:
        many = data.ids[unpacked(st.query_params.get("selected", ""), data.ids)].tolist()
        st.session_state[place] = many or st.query_params.get_all("image")[:MOST_IN_ADDRESS]
    rows = pd.Index(data.ids).get_indexer(pd.Index(list(dict.fromkeys(st.session_state[place])), dtype=object))
    return [int(row) for row in rows if row >= 0]


def _show(run: Run, view: ReportView, data: RunMap, number: int, known: dict[str, Column], rows: list[int], titles: dict[str, str]) -> None:
    try:
        thumbnails = load_thumbnails(run)
    except (FileNotFoundError, DiagnosticError) as error:
        thumbnails = None
        missing("The pictures behind the points are not stored; ids can still be exported.", run, error)
    if not rows:
        st.markdown(
            "**Nothing is selected.** Draw around points with the lasso or a box (the buttons above the map), click one, or name some."
        )
        return
    show_selection(run, view, data, number, known, rows, thumbnails, titles)
