"""Links from one page to another that keep the run and say what is to be open there."""

from __future__ import annotations

import streamlit as st

from app.run_store.reports import Run


def _elsewhere() -> None:
    """Stand for a page that is drawn when the link is followed."""


def page_link(label: str, page: str, run: Run, **opened: str) -> None:
    """Put a link on the page.

    Args:
        label: our own words.
        page: key in `app.dashboard.PAGES`, not the first page.
        run: the run that stays open.
        opened: what is chosen there, e.g. `edit="hue"`; the names are the keys of that page's widgets.
    """
    target = st.Page(_elsewhere, title=label, url_path=page)
    st.page_link(target, label=label, icon=":material/arrow_forward:", query_params={"run": run.name, **opened})
