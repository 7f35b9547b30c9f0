"""Put stored images on a page, with words for those who cannot see them."""

from __future__ import annotations

from itertools import islice

import pandas as pd
import streamlit as st

SIDE = 72
"""Pixels a thumbnail is shown at; four fit a phone's width."""


def strip(thumbnails: pd.DataFrame, caption: str) -> None:
    """Show a row of thumbnails that wraps.

    Args:
        thumbnails: rows with `image` and `class_name`, indexed by id.
        caption: one line of ours for the whole row.
    """
    if thumbnails.empty:
        return
    st.caption(caption)
    alt = [f"{row.domain} image of class {row.class_name}" for row in thumbnails.itertuples()]
    with st.container(horizontal=True, gap="small"):
        for image, words in zip(thumbnails["image"], alt, strict=True):
            st.image(image, width=SIDE, alt=words)


def by_id(thumbnails: pd.DataFrame, ids: list[str], count: int) -> pd.DataFrame:
    """Pick the first `count` of the ids of which an image is stored, in the given order.

    Args:
        thumbnails: stored pictures, indexed by id.
        ids: in the order in which pictures are wanted.
        count: pictures at most.
    """
    return thumbnails.loc[list(islice((name for name in ids if name in thumbnails.index), count))]
