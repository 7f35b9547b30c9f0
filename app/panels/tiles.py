"""Pictures with maps over them, side by side, on any page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from app.panels.notices import missing
from app.panels.report_view import ReportView
from app.panels.wording import escape
from app.run_store.maps_on_demand import Answer, able, ask
from app.run_store.overlays import decode, overlay, png
from app.run_store.reports import Run
from app.run_store.stored_maps import CAPTUM_METHODS, METHODS, NUMBERS, Eyes, method_title
from probes.result import DiagnosticError

WIDTH = 104
"""Pixels a tile is shown at; three fit a phone's width."""

LEGEND = "Orange speaks for it, blue against it, uncoloured pixels do not matter; each map is scaled by its own largest value."


@dataclass(frozen=True, eq=False)
class Tile:
    """A map of one picture: who looks, at what, and why it is not to be believed (empty: it is)."""

    who: str
    number: str
    values: np.ndarray
    doubt: str = ""


def stored_tiles(encoders: Sequence[tuple[str, Eyes]], image: str, method: str, numbers: Sequence[str]) -> list[Tile]:
    """Collect the stored maps of an image, encoder after encoder.

    Args:
        encoders: name for people and stored maps of each encoder.
        image: id of the picture.
        method: attribution method, a key of `METHODS`.
        numbers: what the maps explain, keys of `NUMBERS`.
    """
    tiles = []
    for title, eyes in encoders:
        for number in numbers:
            values = eyes.map_of(image, method, number)
            if values is not None:
                tiles.append(Tile(title, number, values, eyes.believed(method, number)))
    return tiles


def show_tiles(content: bytes, tiles: Sequence[Tile], strength: float, words: str) -> None:
    """Show a picture and its maps, a row for each number that is explained; rows wrap.

    Args:
        content: the picture.
        tiles: its maps.
        strength: of the overlay, 0 to 1.
        words: what the picture is, for those who cannot see it.
    """
    for number, meaning in NUMBERS.items():
        of_number = [tile for tile in tiles if tile.number == number]
        if not of_number:
            continue
        with st.container(horizontal=True, gap="small"):
            st.image(png(decode(content)), width=WIDTH, caption=f"→ {meaning}", alt=words)
            for tile in of_number:
                caption = escape(tile.who) + (" (uninformative)" if tile.doubt else "")
                alt = f"Map of {meaning} for {tile.who} over {words}" + (", uninformative" if tile.doubt else "")
                st.image(overlay(content, tile.values, strength), width=WIDTH, caption=caption, alt=alt)


def strength_slider(key: str) -> float:
    """Let the reader set how much of the map covers the picture; 0 to 1."""
    return st.slider("Overlay", 0, 100, 70, step=5, format="%d %%", key=key, bind="query-params") / 100


def on_demand(run: Run, view: ReportView, content: bytes, label: int | None, *, key: str, titles: dict[str, str], strength: float) -> None:
    """Offer to explain a picture with the run's own encoders, and show what they say.

    Args:
        run: the run.
        view: its report, with what pages read from it.
        content: the picture.
        label: its class, or None where it is not known: then each encoder explains the class it predicts.
        key: tells this offer from others.
        titles: student -> its name for people.
        strength: of the overlay.
    """
    names, lacking = able(run, list(titles))
    if not names:
        missing(lacking, run)
        return
    asked = st.multiselect(
        "Encoders", ["teacher", *names], default=["teacher", *names[:2]], key=f"{key}-who", format_func=lambda n: titles.get(n, n)
    )
    method = st.selectbox(
        "Method",
        [*METHODS, *CAPTUM_METHODS],
        format_func=method_title,
        key=f"{key}-method",
        accept_new_options=True,
        help="Any attribution method of captum may be typed, such as captum:DeepLift, or captum:NoiseTunnel:DeepLift with noise averaged away.",
    )
    place = f"{key}-answers"
    if st.button("Compute its maps", key=f"{key}-go", disabled=not asked, icon=":material/visibility:"):
        with st.spinner("A child process loads the encoders and computes the maps; some seconds an encoder."):
            try:
                st.session_state[place] = (content, method, ask(run, content, asked, method=method, label=label))
            except DiagnosticError as error:
                st.session_state.pop(place, None)
                st.error(f"**The maps could not be computed.** {escape(str(error))}")
    stored = st.session_state.get(place)
    if stored is not None and stored[0] == content:
        _show_answers(content, stored[2], titles, view, strength)


def _show_answers(content: bytes, answers: Sequence[Answer], titles: dict[str, str], view: ReportView, strength: float) -> None:
    square = _square(content)
    tiles = [Tile(titles.get(a.encoder, a.encoder), number, values) for a in answers for number, values in a.maps.items()]
    show_tiles(square, tiles, strength, "the chosen picture")
    names = view.report.class_names
    parts = []
    for answer in answers:
        at = int(answer.numbers.get("predicted", -1))
        if 0 <= at < len(names):
            parts.append(f"**{escape(titles.get(answer.encoder, answer.encoder))}** takes it for {escape(names[at])}")
    st.markdown("; ".join(parts) + "." if parts else "")
    st.caption(f"{LEGEND} One picture proves nothing; how far these maps can be believed stands on page Attribution.")


def _square(content: bytes) -> bytes:
    """Cut the middle square, as the child does."""
    import io

    from PIL import Image

    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
        whole = image.convert("RGB")
    side = min(whole.size)
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    pixels = np.asarray(whole.crop((left, top, left + side, top + side)).resize((min(side, 224),) * 2))
    return png(pixels)
