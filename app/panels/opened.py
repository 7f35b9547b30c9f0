"""Parts of a page that are made when the reader opens them: what nobody looks at keeps nobody waiting."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st


@st.fragment
def when_opened(label: str, key: str, show: Callable[[], None]) -> None:
    """Put an expander on the page; what is in it is made once it is opened, without drawing the page again.

    Args:
        label: our own words.
        key: tells it from others.
        show: puts the inside on the page.
    """
    box = st.expander(label, key=key, on_change="rerun")
    if box.open:
        with box:
            show()
